"""kube-controller-manager with the few controllers without which a Shoot's API server is no cluster.

Without the garbage collector what an owner leaves stays for ever, and the resource manager waits for it; without the
DaemonSet controller no DaemonSet is ever observed; namespaces do not go, and have no default ServiceAccount. Where
there are nodes all controllers run that do by default.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.lab.component import Component
from orchestrator.lab.control_plane import program
from orchestrator.lab.kubernetes import controller_manager

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orchestrator.lab.api_server import ApiServer

# Source: kubernetes v1.37 cmd/kube-controller-manager/names/controller_names.go.
_CONTROLLERS: Final = (
    "garbage-collector-controller",
    "daemonset-controller",
    "namespace-controller",
    "serviceaccount-controller",
)


class ControllerManager(Component):
    """See :class:`orchestrator.lab.component.Component`."""

    def __init__(self, directory: Path, server: ApiServer) -> None:
        super().__init__("kube-controller-manager", directory, server)

    def program(self) -> Path:
        """Where it is built."""
        return program(controller_manager())

    def arguments(self) -> Sequence[str]:
        """Which controllers run, and what those of ServiceAccounts need."""
        if not self._server.serves_nodes:
            return [f"--controllers={','.join(_CONTROLLERS)}"]
        return [
            f"--service-account-private-key-file={self._server.account_key}",
            f"--root-ca-file={self._server.authority_file}",
        ]
