"""A Gardener seed and a Shoot without nodes, of real parts, on this machine.

Two API servers over one etcd, Gardener's definitions in the seed, a kube-controller-manager on the Shoot, and
Gardener's resource manager between the two.

No containers, no network but loopback, no root. :mod:`orchestrator.lab.background` keeps one that outlives its command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.lab import gardener
from orchestrator.lab.api_server import ApiServer
from orchestrator.lab.control_plane import BUILD
from orchestrator.lab.controller_manager import ControllerManager
from orchestrator.lab.etcd_server import EtcdServer
from orchestrator.lab.process import Startable
from orchestrator.lab.program import Progress, silent
from orchestrator.lab.resource_manager import ResourceManager

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path


class Cluster(Startable):
    """Use it in a ``with`` block: everything runs inside it.

    Args:
        directory: a directory of its own: an empty one, or that of a Cluster, which this one then is.
        tokens: bearer tokens and the users they stand for, in both API servers; what those may do is RBAC's.
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
        self, directory: Path, tokens: Mapping[str, str] | None = None, *, audited: Collection[str] = ()
    ) -> None:
        self._directory = directory
        self._store = EtcdServer(directory)
        self.seed = ApiServer(directory / "seed", tokens, store=self._store, prefix="/seed", audited=audited)
        self.shoot = ApiServer(directory / "shoot", tokens, store=self._store, prefix="/shoot")
        self.controller_manager = ControllerManager(directory / "controller-manager", self.shoot)
        self._resource_managers: list[ResourceManager] = []

    def resource_manager(self, namespaces: Sequence[str] = ()) -> ResourceManager:
        """A resource manager for these namespaces of the seed (none: for all); it is not started yet."""
        directory = self._directory / f"resource-manager-{len(self._resource_managers) + 1}"
        made = ResourceManager(directory, self.seed, self.shoot, namespaces)
        self._resource_managers.append(made)
        return made

    def start(self, progress: Progress = silent) -> bool:
        """Start what does not run, resource managers excepted, and wait until all of it is ready.

        Returns:
            Whether anything had to be started.
        """
        # A second to import, which nobody needs who stops a cluster.
        from orchestrator.lab.seed_objects import define  # noqa: PLC0415

        definitions = gardener.definitions().find(BUILD)
        started = []
        if self._store.start():
            progress("etcd is ready")
            started.append(self._store.process)
        started += [server.process for server in (self.seed, self.shoot) if server.launch()]
        self.shoot.await_ready()
        if self.controller_manager.launch():
            started.append(self.controller_manager.process)
        self.seed.await_ready()
        progress(f"the API servers of seed and shoot are ready: {self.seed.url}, {self.shoot.url}")
        define(self.seed.kubeconfig_file, definitions)
        self.controller_manager.await_ready()
        progress("the seed knows Gardener's kinds, and the shoot has its controllers")
        return bool(started)

    def stop(self) -> bool:
        """Stop everything, what others need last; tell whether anything ran."""
        stopped = [manager.stop() for manager in self._resource_managers]
        stopped.append(self.controller_manager.stop())
        stopped += [server.stop() for server in (self.seed, self.shoot)]
        stopped.append(self._store.stop())
        return any(stopped)
