"""kube-scheduler, which nothing but a cluster with nodes needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.lab.component import Component
from orchestrator.lab.control_plane import program
from orchestrator.lab.kubernetes import node_programs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orchestrator.lab.api_server import ApiServer


class Scheduler(Component):
    """See :class:`orchestrator.lab.component.Component`."""

    def __init__(self, directory: Path, server: ApiServer) -> None:
        super().__init__("kube-scheduler", directory, server)

    def program(self) -> Path:
        """Where it is built."""
        return program(node_programs(), self.process.name)

    def arguments(self) -> Sequence[str]:
        """Nothing of its own."""
        return ()
