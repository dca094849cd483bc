"""A node's Job as its pod: the product's image, privileged, with the host's processes and / at /host, and a message."""

from __future__ import annotations

import json
import shlex
import subprocess
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.execution.job_result import JobResult, parse
from orchestrator.lab.pod_calls import HostAccess

if TYPE_CHECKING:
    from orchestrator.lab.node import LabNode
    from orchestrator.lab.pods import Container, Pod, Pods
    from orchestrator.lab.product_image import ProductImage

VARIABLES = "/etc/gvisor-nodes/variables.json"
MESSAGE = "/dev/termination-log"


@dataclass(frozen=True, slots=True)
class Ended:
    """What a Job ended with: its exit code, its message, and its pod's log."""

    rc: int
    result: JobResult
    log: str


@dataclass(slots=True)
class JobPod:
    """One Job's pod, started; ``end`` waits for it and takes it away."""

    node: LabNode
    pod: Pod
    container: Container
    files: str
    seconds: float = field(default=240.0)

    def log(self) -> str:
        return self.pod.log(self.container)

    def kill(self) -> None:
        """As the kernel would for want of memory: nothing in the pod gets to say a word."""
        self.pod.stop_container(self.container)

    def end(self) -> Ended:
        rc = self.pod.wait(self.container, seconds=self.seconds)
        ended = Ended(rc, parse(self.node.read(f"{self.files}/message")), self.log())
        self.remove()
        return ended

    def remove(self) -> None:
        self.pod.remove()
        self.node.run(f"rm -r {self.files}")


def import_image(node: LabNode, image: ProductImage) -> None:
    """Bring the image to a node, and let its mounts be seen by pods, as a node of Kubernetes has them."""
    argv = node.engine.execute_arguments(node.name, ["ctr", "--namespace=k8s.io", "images", "import", "-"])
    with image.archive.open("rb") as archive:
        subprocess.run(argv, stdin=archive, check=True, capture_output=True, env=None)
    node.run("mount --make-rshared /")


def start(pods: Pods, image: ProductImage, verb: str, wish: dict[str, object], **access: object) -> JobPod:
    """Start a Job's pod.

    Args:
        pods: of the node.
        image: the product's, which the node has.
        verb: apply or remove.
        wish: the variables of the node's pool.
        access: what its pod has otherwise than a Job's, see `HostAccess`.
    """
    node = pods.node
    files = f"/run/job-{uuid.uuid4().hex[:8]}"
    script = f"mkdir {files} && : > {files}/message && cat > {files}/variables.json"
    node.run(script, stdin=json.dumps(wish))
    mounts = {VARIABLES: f"{files}/variables.json", MESSAGE: f"{files}/message"}
    pod = pods.run("", f"gvisor-nodes-{verb}", namespace="kube-system", access=HostAccess(mounts=mounts, **access))
    command = ["gvisor-nodes", "job", verb, "--variables", VARIABLES, "--message", MESSAGE]
    container = pod.start_container("job", command, environment={"NODE_NAME": node.name}, image=image.name)
    return JobPod(node, pod, container, shlex.quote(files))
