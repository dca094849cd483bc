"""kube-controller-manager with the few controllers without which a Shoot's API server is no cluster.

Without the garbage collector what an owner leaves stays for ever, and the resource manager waits for it; without the
DaemonSet controller no DaemonSet is ever observed; namespaces do not go, and have no default ServiceAccount.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.lab.control_plane import program
from orchestrator.lab.health import is_well
from orchestrator.lab.kubernetes import controller_manager
from orchestrator.lab.ports import LOOPBACK, kept_ports
from orchestrator.lab.process import Process, Startable, await_ready

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from orchestrator.lab.api_server import ApiServer

# Source: kubernetes v1.37 cmd/kube-controller-manager/names/controller_names.go.
_CONTROLLERS: Final = (
    "garbage-collector-controller",
    "daemonset-controller",
    "namespace-controller",
    "serviceaccount-controller",
)
_STOP_SECONDS: Final = 5.0


class ControllerManager(Startable):
    """Use it in a ``with`` block: it runs inside it.

    Args:
        directory: a directory of its own: an empty one, or that of a ControllerManager, which this one then is.
        server: the API server that it works on; it must have been ready before this one starts.

    Raises:
        MissingComponentError: when it is started: it is not built.
        GvisorNodesError: it does not start; the last lines of its log are in it.
    """

    def __init__(self, directory: Path, server: ApiServer) -> None:
        self._directory = directory
        self._server = server
        (self._port,) = kept_ports(directory / "kube-controller-manager.ports", 1)
        self.process = Process("kube-controller-manager", directory)

    def start(self) -> None:
        """Start it unless it runs, and wait until it is ready."""
        self.launch()
        self.await_ready()

    def launch(self) -> bool:
        """Start it unless it runs, without waiting; tell whether it was started."""
        arguments = [
            f"--kubeconfig={self._server.kubeconfig_file}",
            f"--controllers={','.join(_CONTROLLERS)}",
            "--leader-elect=false",
            f"--bind-address={LOOPBACK}",
            f"--secure-port={self._port}",
            f"--cert-dir={self._directory / 'serving'}",
        ]
        return self.process.start(program(controller_manager()), arguments)

    def await_ready(self) -> None:
        """Wait until it is ready."""
        serving = self._directory / "serving" / "kube-controller-manager.crt"
        await_ready(lambda: is_well(self._port, "/healthz", serving), self.process, self._server.process)

    def stop(self) -> bool:
        """Stop it and wait for its end; tell whether it ran."""
        return self.process.stop(_STOP_SECONDS)

    def frozen(self) -> AbstractContextManager[None]:
        """Let it do nothing for as long as the block lasts."""
        return self.process.frozen()
