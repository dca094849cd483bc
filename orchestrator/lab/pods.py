"""Pods on a lab's node, asked of its containerd as the kubelet asks: through the CRI.

    with Pods(node) as pods:
        pod = pods.run("runsc", "web", namespace="shop")
        container = pod.start_container("main", ["sh", "-c", "dmesg; sleep 1000"])
        code, text = pod.exec(container, ["dmesg"])
        pod.log(container)
        pod.stop()
        pod.remove()

A pod has the node's network, so that no CNI is needed, and its logs where the kubelet would put them, taken away with
the pod. One process on the node (through the container engine, not through ssh) carries all calls and survives a
restart of containerd. Every call has a deadline. gRPC keeps threads: a process that uses this may start programs, but
must not fork.
"""

from __future__ import annotations

import base64
import contextlib
import shlex
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from orchestrator.cri.access import reach
from orchestrator.cri.client import ANSWER_SECONDS
from orchestrator.cri.faults import CallError
from orchestrator.cri.request import Access, Request
from orchestrator.cri.stop import Stop
from orchestrator.errors import GvisorNodesError
from orchestrator.lab.box import BOX_IMAGE, box_archive
from orchestrator.lab.pod_calls import PodCalls

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from orchestrator.cri.access import Node
    from orchestrator.lab.node import LabNode
    from orchestrator.lab.pod_calls import HostAccess

LABEL = "gvisor-nodes-lab/pod"
"""Every pod of a lab carries it, so that ``clear`` finds them and nothing else."""

# containerd 1.7 holds RunPodSandbox for 60 s before it tells that a runtime failed.
START_SECONDS = 90.0
# Stopping is 0.3 s with the slowest shim; the rest is for a machine that is busy.
END_SECONDS = 60.0
EXEC_SECONDS = 30

_LOGS = "/var/log/pods"  # the kubelet's
_IMPORT = "base64 -d | ctr --namespace k8s.io images import -"


class Executed(NamedTuple):
    """What a command in a container ended with; ``text`` is its standard output, then its standard error."""

    code: int
    text: str


@dataclass(frozen=True, slots=True)
class Container:
    """A container that was started in a pod."""

    id: str
    name: str
    log_path: str = field(repr=False)
    """The whole path on the node."""


@dataclass(slots=True)
class Pod:
    """A pod that was started; made by :meth:`Pods.run`."""

    id: str
    name: str
    namespace: str
    uid: str
    handler: str
    log_directory: str = field(repr=False)
    config: Any = field(repr=False)
    pods: Pods = field(repr=False)
    access: HostAccess | None = None

    def start_container(
        self,
        name: str,
        command: Sequence[str] = ("sleep", "1000000"),
        *,
        environment: dict[str, str] | None = None,
        annotations: dict[str, str] | None = None,
        attempt: int = 0,
        image: str = BOX_IMAGE,
    ) -> Container:
        """Create and start a container, by default of the lab's image (busybox: sh, dmesg, cat, sleep …).

        Args:
            name: its name; the same name may be used again with another ``attempt``, as by a kubelet that restarts it.
            command: what runs in it.
            environment: variables of that.
            annotations: the container's own, as a pod's author sets them.
            attempt: how often it was started before.
            image: one that the node has.

        Raises:
            CallError: containerd or the runtime could not; what was created is removed again.
        """
        log_name = f"{name}_{attempt}.log"
        cri = self.pods.cri
        identity = cri.create_container(
            self.id,
            self.config,
            name=name,
            image=image,
            access=self.access,
            command=command,
            environment=environment or {},
            annotations=annotations or {},
            attempt=attempt,
            log_path=log_name,
            seconds=START_SECONDS,
        )
        try:
            cri.start_container(identity, START_SECONDS)
        except GvisorNodesError:
            cri.remove_container(identity, END_SECONDS)
            raise
        return Container(identity, name, f"{self.log_directory}/{log_name}")

    def exec(self, container: Container, argv: Sequence[str], *, seconds: int = EXEC_SECONDS) -> Executed:
        """Run a command in a container to its end, under a deadline of ``seconds``."""
        return Executed(*self.pods.cri.execute(container.id, argv, seconds))

    def log(self, container: Container) -> str:
        """Return what the container has printed so far, without the CRI's time and stream before each line."""
        lines = self.pods.node.read(container.log_path).splitlines(keepends=True)
        # <time> <stream> <F, or P for a part of a line> <text>
        split = [line.split(" ", 3) for line in lines]
        return "".join(text if part == "F" else text.removesuffix("\n") for _, _, part, text in split)

    def wait(self, container: Container, *, seconds: float = 60.0) -> int:
        """Wait for a container's end and return its exit code.

        Raises:
            GvisorNodesError: it still runs after ``seconds``.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(CallError):  # containerd may be restarted while it is asked
                if (code := self.pods.cri.exit_code(container.id, ANSWER_SECONDS)) is not None:
                    return code
            time.sleep(0.05)  # between two looks; the interface's events exist on containerd 2.x only
        raise GvisorNodesError(f"the container {container.name} did not end within {seconds:.0f} s", host=self.name)

    def stop_container(self, container: Container) -> None:
        """Stop and remove one container; the pod goes on."""
        self.pods.cri.stop_container(container.id, END_SECONDS)
        self.pods.cri.remove_container(container.id, END_SECONDS)

    def containers(self) -> list[str]:
        """Return the ids of its containers, in whatever state."""
        return self.pods.cri.containers(self.id, ANSWER_SECONDS)

    def pid(self) -> int:
        """Return the process id of the sandbox on the node, 0 where containerd does not say it."""
        return self.pods.cri.sandbox_pid(self.id, ANSWER_SECONDS)

    def stop(self) -> None:
        """Stop the pod with its containers; one that is stopped or gone is no error."""
        self.pods.cri.stop_sandbox(self.id, END_SECONDS)

    def remove(self) -> None:
        """Stop and remove it with its containers and logs; one that is gone is no error."""
        self.stop()
        self.pods.cri.remove_stopped_sandbox(self.id, END_SECONDS)
        self.pods.remove_logs(self.log_directory)


class Pods:
    """The pods of one node, while in its context.

    Args:
        node: a running node.
    """

    def __init__(self, node: LabNode) -> None:
        self.node = node
        self._access: AbstractContextManager[Node] | None = None
        self._image_is_there = False
        self.cri: PodCalls

    def __enter__(self) -> Self:
        argv = tuple(self.node.engine.execute_arguments(self.node.name, ["sh", "-c"]))
        request = Request("status", access=Access(argv=argv, env=self.node.engine.environment))
        self._access = reach(request, 60.0, Stop())
        self.cri = PodCalls(self._access.__enter__().address, Stop())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cri.__exit__(kind, error, trace)
        if self._access is not None:
            self._access.__exit__(kind, error, trace)

    def run(
        self,
        handler: str,
        name: str,
        *,
        namespace: str = "default",
        annotations: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
        cgroup_parent: str = "",
        access: HostAccess | None = None,
    ) -> Pod:
        """Start a pod's sandbox.

        Args:
            handler: the runtime handler, "" for containerd's default.
            name: the pod's.
            namespace: the pod's, as in Kubernetes; containerd's own is always k8s.io.
            annotations: as a pod's author sets them.
            labels: added to those that the kubelet sets.
            cgroup_parent: the pod's cgroup, such as ``/kubepods/podx``; containerd's own where empty.
            access: what its containers get of the node, if anything.

        Raises:
            CallError: containerd or the runtime could not.
        """
        self._import_image()
        uid = str(uuid.uuid4())
        log_directory = f"{_LOGS}/{namespace.replace('/', '-')}_{name.replace('/', '-')}_{uid}"
        kubelet = {"name": name, "namespace": namespace, "uid": uid}
        config = self.cri.sandbox_config(
            name=name,
            namespace=namespace,
            uid=uid,
            labels={LABEL: "yes", **{f"io.kubernetes.pod.{key}": value for key, value in kubelet.items()}}
            | (labels or {}),
            annotations=annotations or {},
            log_directory=log_directory,
            cgroup_parent=cgroup_parent,
            access=access,
        )
        try:
            identity = self.cri.run_pod(config, handler, START_SECONDS)
        except GvisorNodesError:
            self.remove_logs(log_directory)
            raise
        return Pod(identity, name, namespace, uid, handler, log_directory, config, self, access)

    def list(self) -> list[str]:
        """Return the ids of the lab's pods on this node, in whatever state."""
        return self.cri.sandboxes({LABEL: "yes"}, ANSWER_SECONDS)

    def clear(self) -> None:
        """Remove every pod of the lab on this node, of whatever process."""
        for sandbox in self.list():
            self.cri.remove_sandbox(sandbox, END_SECONDS)
        self.node.run(f"rm -rf {_LOGS}")

    def remove_logs(self, directory: str) -> None:
        """Remove a pod's logs, and the directory of all pods' where they were the last: the kubelet's are not made."""
        self.node.run(f"rm -rf {shlex.quote(directory)}; rmdir {_LOGS} 2>/dev/null; :")

    def _import_image(self) -> None:
        if self._image_is_there:
            return
        if not self.cri.has_image(BOX_IMAGE, ANSWER_SECONDS):
            self.node.run(_IMPORT, stdin=base64.b64encode(box_archive()).decode("ascii"))
            end = time.monotonic() + ANSWER_SECONDS
            # The CRI hears of an image by an event of containerd, a moment after the import.
            while not self.cri.has_image(BOX_IMAGE, ANSWER_SECONDS):
                if time.monotonic() > end:
                    raise GvisorNodesError("the CRI does not see an image that was imported", host=self.node.name)
                time.sleep(0.05)
        self._image_is_there = True
