"""The nodes of a cluster: how they join and leave while it runs, the network in which they are, and how all of it ends.

A node is a lab's node with a kubelet. What makes it one is in :mod:`orchestrator.lab.kubelet`, and is mounted from a
directory of the node's own. What is to be there is written down before it is made, so that what somebody left who was
interrupted, or killed, is completed by whoever starts the same cluster next, and removed by whoever ends it.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.errors import GvisorNodesError, InvalidInputError, RefusedError
from orchestrator.lab import capabilities, control_plane, kubelet, node_parts
from orchestrator.lab.builds import Builds
from orchestrator.lab.engine import CLUSTER_LABEL, KIND_LABEL, NODE_LABEL, STATE_LABEL, Container, find_engine
from orchestrator.lab.kinds import DEFAULT_KIND, kind_named
from orchestrator.lab.kubernetes import node_programs
from orchestrator.lab.paths import replace_file
from orchestrator.lab.program import Progress, silent
from orchestrator.lab.provisioning import make_credentials, prepare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.lab.api_server import ApiServer
    from orchestrator.lab.cluster_node import ClusterNode
    from orchestrator.lab.engine import Engine, Subnet

_READY_SECONDS: Final = 120.0  # ten on an idle machine
_HOLDER: Final = "network"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a node is to be.

    Attributes:
        number: says its name and its addresses.
        kind: a name of :data:`orchestrator.lab.kinds.KINDS`.
        server: the name of the API server that it is registered with.
        labels: of its Node.
        taints: with which it is registered, as ``key=value:effect``.
    """

    number: int
    kind: str
    server: str
    labels: dict[str, str]
    taints: tuple[str, ...]


class ClusterNodes:
    """The nodes of one cluster; several threads may add and remove nodes at once.

    Args:
        directory: a directory of their own: a new one, or that of ClusterNodes, which these then are.
        name: the cluster's, for people; those of before keep theirs.
        servers: the API servers that a node may be registered with, by name.
    """

    def __init__(self, directory: Path, name: str, servers: Mapping[str, ApiServer]) -> None:
        self._directory = directory
        self._mark_file = directory / "mark"
        # Two clusters of one name have two directories.
        mark = f"{name}-{hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:6]}"
        self._mark = self._mark_file.read_text(encoding="ascii").strip() if self._mark_file.exists() else mark
        self._servers = dict(servers)
        self._lock = threading.Lock()
        self._images: dict[str, str] = {}
        self._subnet: Subnet | None = None

    @property
    def are_there(self) -> bool:
        """Whether there is, or was, anything of them."""
        return self._mark_file.exists()

    @property
    def network(self) -> str:
        """The name of the network in which they are."""
        return f"gvisor-nodes-{self._mark}"

    def start(self, progress: Progress = silent) -> bool:
        """Make the network, and let the API servers listen in it; tell whether it was made now.

        Raises:
            RefusedError: not root, or the container engine is not podman.
            MissingComponentError: a program is missing.
            GvisorNodesError: the image of the nodes cannot be built, or the network not be made.
        """
        engine = _engine()
        self._directory.mkdir(parents=True, exist_ok=True)
        self._directory.chmod(0o700)
        replace_file(self._mark_file, f"{self._mark}\n")
        make_credentials(self._mark, self._directory)
        written = self._directory / "subnet"
        # The certificates of the API servers name an address in it.
        before = written.read_text(encoding="ascii").strip() if written.exists() else ""
        engine.add_network(self.network, self._labels(), [f"--subnet={before}"] if before else [])
        self._subnet = engine.subnet(self.network)
        replace_file(written, f"{self._subnet.addresses}\n")
        holder = f"{self.network}-{_HOLDER}"
        there = {container.name: container for container in engine.containers(self._mark, label=CLUSTER_LABEL)}
        if holder not in there:
            progress(f"make the network {self.network}")
            image = self._image(engine, DEFAULT_KIND, progress)
            engine.hold_network(holder, image, network=self.network, labels=self._labels())
        elif not there[holder].running:
            engine.start_again(holder)
        for server in self._servers.values():
            server.serve_nodes(str(self._subnet.gateway))
        return holder not in there

    def stop(self) -> bool:
        """Remove every container and the network; what the nodes are to be stays. Tell whether there was anything."""
        if not self.are_there:
            return False
        engine = find_engine()
        containers = [container.name for container in engine.containers(self._mark, label=CLUSTER_LABEL)]
        networks = engine.networks(self._mark, label=CLUSTER_LABEL)
        engine.remove_containers(containers)
        for network in networks:
            engine.remove_network(network)
        return bool(containers or networks)

    def wanted(self) -> list[Wanted]:
        """What there is to be, by number."""
        found = []
        for path in self._directory.glob("*/wanted.json"):
            with suppress(FileNotFoundError):  # another thread removes that node
                raw = json.loads(path.read_text(encoding="utf-8"))
                found.append(Wanted(**raw | {"taints": tuple(raw["taints"])}))
        return sorted(found, key=lambda each: each.number)

    def add(
        self,
        *,
        kind: str = DEFAULT_KIND,
        server: str,
        labels: Mapping[str, str] | None = None,
        taints: Sequence[str] = (),
        number: int | None = None,
        progress: Progress = silent,
    ) -> ClusterNode:
        """Let a new node join, and wait until it is Ready; see :meth:`orchestrator.lab.cluster.Cluster.add_node`.

        Nothing of a node that does not become Ready stays.
        """
        name = kind_named(kind).name
        with self._lock:
            taken = {each.number for each in self.wanted()}
            free = (each for each in range(1, kubelet.MOST_NODES + 1) if each not in taken)
            number = next(free, 0) if number is None else number
            if number in taken or not 1 <= number <= kubelet.MOST_NODES:
                raise InvalidInputError(
                    f"There can be no further node {number or ''}".rstrip(),
                    why=f"there are {sorted(taken)}, and numbers from 1 to {kubelet.MOST_NODES}",
                    remedy="remove one first",
                )
            wanted = Wanted(number, name, server, dict(labels or {}), tuple(taints))
            self._home(number).mkdir(exist_ok=True)
            replace_file(self._home(number) / "wanted.json", json.dumps(asdict(wanted), indent=2) + "\n")
        try:
            node, _ = self.join(wanted, progress)
        except BaseException:
            self.remove(number)
            raise
        return node

    def join(self, wanted: Wanted, progress: Progress = silent) -> tuple[ClusterNode, bool]:
        """Make sure that this node runs and is Ready; a running one is left as it is.

        Returns:
            The node, and whether its container had to be started.
        """
        from orchestrator.kube.client import Client  # noqa: PLC0415 - a second, which needs nobody who ends a cluster
        from orchestrator.kube.credentials import from_file  # noqa: PLC0415
        from orchestrator.lab.cluster_node import NODES  # noqa: PLC0415

        engine = _engine()
        name = self.name(wanted.number)
        server = self._servers[wanted.server]
        with Client(from_file(server.kubeconfig_file)) as client:
            container = self._container(engine, name)
            started = container is None or not container.running
            if container is None:
                # Of one whose making was interrupted, podman may know the name alone.
                engine.remove_containers([name])
                client.delete(NODES, name)  # that of a container which is gone: this will be another machine
                progress(f"start {name} ({wanted.kind})")
                container = self._start(engine, wanted, progress)
            elif not container.running:
                progress(f"start {name} again")
                engine.start_again(name)
                container = self._container(engine, name)
            node = self._node(engine, container, wanted)
            replace_file(node.known_hosts, prepare(node, self._directory))
            raw = node.await_node(client, _READY_SECONDS)
            given = raw["metadata"].get("labels", {})
            if missing := {key: value for key, value in wanted.labels.items() if given.get(key) != value}:
                client.patch(NODES, name, {"metadata": {"labels": missing}})
        progress(f"{name} is Ready")
        return node, started

    def remove(self, number: int) -> None:
        """Let a node leave: its container goes, with all pods, and then its Node."""
        from orchestrator.kube.client import Client  # noqa: PLC0415
        from orchestrator.kube.credentials import from_file  # noqa: PLC0415
        from orchestrator.lab.cluster_node import NODES  # noqa: PLC0415

        for wanted in self.wanted():
            if wanted.number == number:
                find_engine().remove_containers([self.name(number)])
                with Client(from_file(self._servers[wanted.server].kubeconfig_file)) as client:
                    client.delete(NODES, self.name(number))
                (self._home(number) / "wanted.json").unlink()
                shutil.rmtree(self._home(number))

    def name(self, number: int) -> str:
        """The name of a node: of its container, its host and its Node."""
        return f"{self.network}-{number}"

    def _start(self, engine: Engine, wanted: Wanted, progress: Progress) -> Container | None:
        capabilities.require_inotify(1, each=capabilities.INOTIFY_OF_A_CLUSTERS_NODE)
        if self._subnet is None:
            raise GvisorNodesError("A node cannot join a cluster that is not started")
        place = kubelet.Place(self.name(wanted.number), wanted.number, self._subnet.addresses)
        parts = node_parts.ensure(kubelet.NFT, progress)
        image = self._image(engine, wanted.kind, progress)
        self._write_files(place, wanted)
        home = self._home(wanted.number)
        mounts = {
            kubelet.CONFIGURATION: home / "kubernetes",
            kubelet.UNITS: home / "units",
            kubelet.CNI_CONFIGURATION: home / "cni",
            kubelet.PROGRAMS: node_programs().find(control_plane.BUILD),
            kubelet.NFT: parts.nft,
            **dict.fromkeys(kubelet.CNI_PROGRAMS, parts.cni),
        }
        engine.start_node(
            place.name,
            image,
            network=self.network,
            labels={**self._labels(), NODE_LABEL: str(wanted.number), KIND_LABEL: wanted.kind},
            options=[
                f"--ip={place.address}",
                "--volume=/var/lib/kubelet",  # as /var/lib/containerd: pods' directories are mounted there
                *(f"--volume={source}:{target}:ro" for target, source in mounts.items()),
            ],
        )
        return self._container(engine, place.name)

    def _write_files(self, place: kubelet.Place, wanted: Wanted) -> None:
        server = self._servers[wanted.server]
        files = kubelet.configuration_files(
            place,
            kubelet=server.kubeconfig_of(place.name, f"system:node:{place.name}", "system:nodes"),
            proxy=server.kubeconfig_of("kube-proxy", "system:kube-proxy", "lab"),
            labels={key: value for key, value in wanted.labels.items() if kubelet.may_set(key)},
            taints=wanted.taints,
        )
        files["ca.crt"] = server.clients.certificate.read_text(encoding="ascii")
        home = self._home(wanted.number)
        for directory, content in (
            ("kubernetes", files),
            ("units", kubelet.unit_files()),
            ("cni", kubelet.cni_files(place)),
        ):
            (home / directory).mkdir(exist_ok=True)
            for name, text in content.items():
                replace_file(home / directory / name, text, mode=0o600 if name.endswith(".conf") else 0o644)
        for name, target in kubelet.unit_links().items():
            link = home / "units" / name
            link.parent.mkdir(exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(target)

    def _node(self, engine: Engine, container: Container | None, wanted: Wanted) -> ClusterNode:
        from orchestrator.lab.cluster_node import ClusterNode  # noqa: PLC0415

        name = self.name(wanted.number)
        if container is None or container.ssh_port is None:
            raise GvisorNodesError(
                f"The node {name} does not run",
                why="its container ended just after it was started",
                remedy=f"{engine.name} logs {name}",
            )
        return ClusterNode(
            name,
            container.ssh_port,
            engine,
            self._directory / "id_ed25519",
            self._home(wanted.number) / "known_hosts",
            wanted.kind,
            server=self._servers[wanted.server],
            number=wanted.number,
        )

    def _container(self, engine: Engine, name: str) -> Container | None:
        """The container of a node; None also for one that has never run, which starts only sometimes."""
        there = engine.containers(self._mark, label=CLUSTER_LABEL)
        return next((container for container in there if container.name == name and container.has_run), None)

    def _image(self, engine: Engine, kind: str, progress: Progress) -> str:
        if kind not in self._images:
            with Builds(engine, capabilities.probe(), progress) as builds:
                self._images[kind] = builds.images([kind])[kind].result()
        return self._images[kind]

    def _labels(self) -> dict[str, str]:
        return {CLUSTER_LABEL: self._mark, STATE_LABEL: str(self._directory)}

    def _home(self, number: int) -> Path:
        return self._directory / str(number)


def remove_orphans(engine: Engine) -> list[str]:
    """Remove the containers of nodes whose cluster's directory is gone, and their networks; return their names."""
    orphans = [
        container
        for container in engine.containers(label=CLUSTER_LABEL)
        if not Path(container.labels[STATE_LABEL]).exists()
    ]
    names = [container.name for container in orphans]
    engine.remove_containers(names)
    for mark in sorted({container.labels[CLUSTER_LABEL] for container in orphans}):
        for network in engine.networks(mark, label=CLUSTER_LABEL):
            engine.remove_network(network)
    return names


def _engine() -> Engine:
    capabilities.require_privileges(capabilities.probe())
    engine = find_engine()
    if engine.name != "podman":
        raise RefusedError(
            f"Nodes of a cluster cannot be containers of {engine.name}",
            why="they have the addresses that their numbers say, which only podman gives to whoever asks",
            remedy="apt-get install --no-install-recommends podman",
        )
    return engine
