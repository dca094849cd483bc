"""A Gardener seed and a Shoot of real parts, on this machine, with nodes or without.

Two API servers over one etcd, Gardener's definitions in the seed, a kube-controller-manager on the Shoot, and
Gardener's resource manager between the two. Without nodes: no containers, no network but loopback, no root.

    with Cluster(directory, nodes=True) as cluster:
        node = cluster.add_node(kind="containerd2", labels={"worker.gardener.cloud/pool": "a"})
        node.load_image(archive)
        cluster.kubectl("apply", "--filename=-", stdin=text)

Nodes (:mod:`orchestrator.lab.cluster_nodes`) join and leave while it runs, and may be the seed's too.
:mod:`orchestrator.lab.background` keeps a cluster that outlives its command.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from orchestrator.lab import gardener
from orchestrator.lab.api_server import ApiServer
from orchestrator.lab.cluster_nodes import ClusterNodes
from orchestrator.lab.control_plane import BUILD, program
from orchestrator.lab.controller_manager import ControllerManager
from orchestrator.lab.etcd_server import EtcdServer
from orchestrator.lab.kinds import DEFAULT_KIND
from orchestrator.lab.kubernetes import node_programs
from orchestrator.lab.process import Startable
from orchestrator.lab.program import Progress, call, silent
from orchestrator.lab.resource_manager import ResourceManager
from orchestrator.lab.scheduler import Scheduler

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from orchestrator.lab.cluster_node import ClusterNode


class Cluster(Startable):
    """Use it in a ``with`` block: everything runs inside it.

    Args:
        directory: a directory of its own: an empty one, or that of a Cluster, which this one then is.
        tokens: bearer tokens and the users they stand for, in both API servers; what those may do is RBAC's.
        nodes: whether there may be nodes. Then root and podman are needed, the API servers listen where nodes reach
            them, and the Shoot has a scheduler and all controllers. The directory of a Cluster that had nodes does.
        name: part of the names of the nodes, for people; who had nodes before keeps theirs.
        audited: the users whose requests the API server of the seed writes down.

    Attributes:
        seed: the API server of the seed; it knows Gardener's kinds.
        shoot: the API server of the Shoot.
        controller_manager: what works on the Shoot's.

    Raises:
        MissingComponentError: when it is started: a program is not built.
        GvisorNodesError: one of them does not start; the last lines of its log are in it.
    """

    def __init__(
        self,
        directory: Path,
        tokens: Mapping[str, str] | None = None,
        *,
        nodes: bool = False,
        name: str = "cluster",
        audited: Collection[str] = (),
    ) -> None:
        self._directory = directory
        self._store = EtcdServer(directory)
        self.seed = ApiServer(directory / "seed", tokens, store=self._store, prefix="/seed", audited=audited)
        self.shoot = ApiServer(directory / "shoot", tokens, store=self._store, prefix="/shoot")
        self.controller_manager = ControllerManager(directory / "controller-manager", self.shoot)
        self.scheduler = Scheduler(directory / "scheduler", self.shoot)
        self._seed_components = (
            ControllerManager(directory / "seed-controller-manager", self.seed),
            Scheduler(directory / "seed-scheduler", self.seed),
        )
        self._seed_lock = threading.Lock()
        self._resource_managers: list[ResourceManager] = []
        self._servers = {"seed": self.seed, "shoot": self.shoot}
        self._nodes = ClusterNodes(directory / "nodes", name, self._servers)
        self.takes_nodes = nodes or self._nodes.are_there

    def resource_manager(self, namespaces: Sequence[str] = ()) -> ResourceManager:
        """A resource manager for these namespaces of the seed (none: for all); it is not started yet."""
        directory = self._directory / f"resource-manager-{len(self._resource_managers) + 1}"
        made = ResourceManager(directory, self.seed, self.shoot, namespaces)
        self._resource_managers.append(made)
        return made

    def add_node(
        self,
        *,
        kind: str = DEFAULT_KIND,
        server: ApiServer | None = None,
        labels: Mapping[str, str] | None = None,
        taints: Sequence[str] = (),
        number: int | None = None,
        progress: Progress = silent,
    ) -> ClusterNode:
        """Let a new node join, and wait until it is Ready. Several threads may do that at once.

        Args:
            kind: a name of :data:`orchestrator.lab.kinds.KINDS`, or an alias.
            server: the API server that it is registered with; the Shoot's by default.
            labels: of its Node. Those that a kubelet may not give itself are given by the administrator, a moment after
                it is Ready.
            taints: with which it is registered, as ``key=value:effect``.
            number: part of its name, by default the lowest that is free. Who adds the number of a node that was removed
                gets another node of the same name.
            progress: told what begins.

        Raises:
            InvalidInputError: no such kind, or the number is taken.
            RefusedError: this machine has not enough inotify instances left.
            GvisorNodesError: it does not become Ready; the last lines of the kubelet's log are in it.
        """
        server = server or self.shoot
        if server is self.seed:
            self._start_seed_components()
        name = next(name for name, one in self._servers.items() if one is server)
        return self._nodes.add(kind=kind, server=name, labels=labels, taints=taints, number=number, progress=progress)

    def remove_node(self, node: ClusterNode) -> None:
        """Let a node leave: its container goes, with all pods in it, then its Node."""
        self._nodes.remove(node.number)

    def nodes(self, progress: Progress = silent) -> list[ClusterNode]:
        """Make sure that every node that was added, and not removed, runs and is Ready; return them by number."""
        return [node for node, _ in self._join_all(progress)]

    def mend_nodes(self, progress: Progress = silent) -> bool:
        """The same; tell whether any had to be started."""
        return any(started for _, started in self._join_all(progress))

    def node_kinds(self) -> dict[int, str]:
        """The kind of each node that was added, and not removed, by number."""
        return {each.number: each.kind for each in self._nodes.wanted()}

    def _join_all(self, progress: Progress) -> list[tuple[ClusterNode, bool]]:
        wanted = self._nodes.wanted()
        if any(self._servers[each.server] is self.seed for each in wanted):
            self._start_seed_components()
        with ThreadPoolExecutor(max_workers=8, thread_name_prefix="node") as pool:
            return list(pool.map(lambda each: self._nodes.join(each, progress), wanted))

    def kubectl(
        self, *arguments: str, server: ApiServer | None = None, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as the administrator of an API server, by default the Shoot's.

        Raises:
            GvisorNodesError: it exited with another code than 0, and ``check``.
        """
        path = program(node_programs(), "kubectl")
        kubeconfig = f"--kubeconfig={(server or self.shoot).kubeconfig_file}"
        return call(
            [str(path), kubeconfig, *arguments], what=f"kubectl {' '.join(arguments)}", stdin=stdin, check=check
        )

    def _start_seed_components(self) -> None:
        with self._seed_lock:
            for component in self._seed_components:
                component.start()

    def start(self, progress: Progress = silent) -> bool:
        """Start what does not run, resource managers excepted, and wait until all of it is ready.

        Returns:
            Whether anything had to be started.
        """
        # A second to import, which nobody needs who stops a cluster.
        from orchestrator.lab.seed_objects import define  # noqa: PLC0415

        definitions = gardener.definitions().find(BUILD)
        started = []
        if self.takes_nodes:
            self._nodes.start(progress)
        if self._store.start():
            progress("etcd is ready")
            started.append(self._store.process)
        started += [server.process for server in (self.seed, self.shoot) if server.launch()]
        self.shoot.await_ready(self.seed.process)
        components = [self.controller_manager, *([self.scheduler] if self.takes_nodes else [])]
        started += [component.process for component in components if component.launch()]
        self.seed.await_ready()
        progress(f"the API servers of seed and shoot are ready: {self.seed.url}, {self.shoot.url}")
        define(self.seed.kubeconfig_file, definitions)
        for component in components:
            component.await_ready()
        progress("the seed knows Gardener's kinds, and the shoot has its controllers")
        return bool(started)

    def stop(self) -> bool:
        """Stop everything, what others need last; tell whether anything ran."""
        stopped = []
        try:
            stopped.append(self._nodes.stop())
        finally:  # processes end also where the container engine does not do what it shall
            stopped += [manager.stop() for manager in self._resource_managers]
            components = (*self._seed_components, self.scheduler, self.controller_manager)
            stopped += [component.stop() for component in components]
            stopped += [server.stop() for server in (self.seed, self.shoot)]
            stopped.append(self._store.stop())
        return any(stopped)
