"""One node of a cluster: a lab's node, whose name is also that of its Node, and on which a kubelet runs."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from orchestrator.errors import GvisorNodesError
from orchestrator.kube.resource import Resource
from orchestrator.lab.node import LabNode

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.api.view import RawObject
    from orchestrator.kube.client import Client
    from orchestrator.lab.api_server import ApiServer

NODES: Final = Resource("", "v1", "nodes", "Node", namespaced=False)

_POLL_SECONDS: Final = 0.2
_IMPORT_SECONDS: Final = 120.0
_SHOWN_LINES: Final = 12
_NOT_READY: Final = "node.kubernetes.io/not-ready"
_RESTARTS: Final = 5  # it is started before its API server may answer, but waits for that by itself
# The machine's id; when systemd started the kubelet, as seconds of the epoch; how often it did so again.
_SHOW: Final = "systemctl show kubelet --timestamp=unix --value --property"
_LOOK: Final = f"cat /etc/machine-id; {_SHOW}=ExecMainStartTimestamp; {_SHOW}=NRestarts"
_MANAGED: Final = "io.cri-containerd.image=managed"


class _Kubelet(NamedTuple):
    machine: str
    started: float
    restarts: int


@dataclass(frozen=True, slots=True)
class ClusterNode(LabNode):
    """A node of a cluster; everything that a :class:`LabNode` can, pods by the CRI and snapshots included.

    ``server`` is the API server that it is registered with, ``number`` says its addresses
    (:mod:`orchestrator.lab.kubelet`).
    """

    server: ApiServer = field(kw_only=True, repr=False)
    number: int = field(kw_only=True)

    def load_image(self, archive: Path) -> list[str]:
        """Put the images of an archive (of ``docker save``'s format) where the kubelet finds them; return their names.

        Pods that use them have ``imagePullPolicy: Never``, or ``IfNotPresent``.

        Raises:
            GvisorNodesError: containerd does not take it.
        """
        names = image_names(archive)
        argv = self.engine.execute_arguments(self.name, ["ctr", "--namespace", "k8s.io", "images", "import", "-"])
        with archive.open("rb") as content:
            done = subprocess.run(
                argv,
                stdin=content,
                env={**os.environ, **self.engine.environment},
                capture_output=True,
                text=True,
                timeout=_IMPORT_SECONDS,
                check=False,
            )
        if done.returncode != 0:
            raise GvisorNodesError(
                f"{self.name} does not take the images of {archive}", why=done.stderr.strip(), host=self.name
            )
        self._await_images(names)
        return names

    def kubelet_log(self, lines: int = _SHOWN_LINES) -> str:
        """The last lines of the kubelet's log."""
        argv = f"journalctl --no-pager --output=cat --unit=kubelet --lines={lines}"
        return self.run(argv, check=False, timeout=20).stdout.strip()

    def await_node(self, client: Client, seconds: float) -> RawObject:
        """Wait until the kubelet that runs now has told that this very container is a node that takes pods.

        Args:
            client: an administrator of its API server.
            seconds: how long at most.

        Returns:
            The Node.

        Raises:
            GvisorNodesError: it has not; the last lines of the kubelet's log are in it.
        """
        deadline = time.monotonic() + seconds
        while True:
            kubelet = self._kubelet()
            raw = client.find(NODES, self.name)
            if raw is not None and is_ready(raw, kubelet.machine, kubelet.started):
                return raw
            if kubelet.restarts > _RESTARTS:
                raise self._not_joined(f"its kubelet was started {kubelet.restarts} times and does not stay")
            if time.monotonic() > deadline:
                why = "no kubelet has registered it" if raw is None else "its Node is not Ready"
                raise self._not_joined(f"{why} after {seconds:.0f} s")
            time.sleep(_POLL_SECONDS)

    def _kubelet(self) -> _Kubelet:
        machine, started, restarts = self.run(_LOOK).stdout.split()
        return _Kubelet(machine, float(started.lstrip("@")), int(restarts))

    def _not_joined(self, why: str) -> GvisorNodesError:
        return GvisorNodesError(
            f"The node {self.name} did not become Ready",
            why=f"{why}\n{self.kubelet_log()}",
            remedy="these are the last lines of the kubelet's log",
            host=self.name,
        )

    def _await_images(self, names: list[str]) -> None:
        """The CRI, which the kubelet asks, hears of an image by an event, a moment after the import."""
        deadline = time.monotonic() + _IMPORT_SECONDS
        while True:
            listed = self.run("ctr --namespace k8s.io images list").stdout.splitlines()
            known = {line.split()[0] for line in listed if _MANAGED in line}
            if known.issuperset(names):
                return
            if time.monotonic() > deadline:
                raise GvisorNodesError("the CRI does not see an image that was imported", host=self.name)
            time.sleep(_POLL_SECONDS)


def is_ready(node: RawObject, machine: str, since: float) -> bool:
    """Tell whether a Node is Ready, and is not kept free of pods for not being it. Pure.

    Args:
        node: as the API server has it.
        machine: the machine's id; the Node may be that of one which had the same name.
        since: when the kubelet was started, in seconds of the epoch; what was told before does not count.
    """
    conditions = node.get("status", {}).get("conditions", [])
    ready = any(
        each["type"] == "Ready"
        and each["status"] == "True"
        and datetime.fromisoformat(each["lastHeartbeatTime"]).timestamp() >= int(since)
        for each in conditions
    )
    kept_free = any(taint["key"] == _NOT_READY for taint in node["spec"].get("taints", []))
    return ready and not kept_free and node["status"]["nodeInfo"]["machineID"] == machine


def image_names(archive: Path) -> list[str]:
    """The names of the images in an archive of ``docker save``'s format."""
    with tarfile.open(archive) as tar:
        member = tar.extractfile("manifest.json")
        manifest = json.load(member) if member else []
    return [name for image in manifest for name in image["RepoTags"] or ()]
