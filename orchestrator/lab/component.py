"""A program of Kubernetes' control plane that works on an API server, and says on a port whether it is well."""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Final

from orchestrator.lab.health import is_well
from orchestrator.lab.ports import LOOPBACK, kept_ports
from orchestrator.lab.process import Process, Startable, await_ready

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from orchestrator.lab.api_server import ApiServer

_STOP_SECONDS: Final = 5.0


class Component(Startable):
    """Use it in a ``with`` block: it runs inside it.

    Args:
        name: of the program.
        directory: a directory of its own: an empty one, or that of such a component, which this one then is.
        server: the API server that it works on; it must have been ready before this one starts.

    Raises:
        MissingComponentError: when it is started: it is not built.
        GvisorNodesError: it does not start; the last lines of its log are in it.
    """

    def __init__(self, name: str, directory: Path, server: ApiServer) -> None:
        self._directory = directory
        self._server = server
        self.process = Process(name, directory)

    @cached_property
    def _port(self) -> int:
        """A port is taken when it is needed: a component that is never started has none."""
        (port,) = kept_ports(self._directory / f"{self.process.name}.ports", 1)
        return port

    @abstractmethod
    def program(self) -> Path:
        """Where the program is."""

    @abstractmethod
    def arguments(self) -> Sequence[str]:
        """What it is told beside what every component is told."""

    def start(self) -> None:
        """Start it unless it runs, and wait until it is ready."""
        self.launch()
        self.await_ready()

    def launch(self) -> bool:
        """Start it unless it runs, without waiting; tell whether it was started."""
        arguments = [
            f"--kubeconfig={self._server.kubeconfig_file}",
            "--leader-elect=false",
            f"--bind-address={LOOPBACK}",
            f"--secure-port={self._port}",
            f"--cert-dir={self._directory / 'serving'}",
            *self.arguments(),
        ]
        return self.process.start(self.program(), arguments)

    def await_ready(self) -> None:
        """Wait until it is ready."""
        serving = self._directory / "serving" / f"{self.process.name}.crt"
        await_ready(lambda: is_well(self._port, "/healthz", serving), self.process, self._server.process)

    def stop(self) -> bool:
        """Stop it and wait for its end; tell whether it ran."""
        return self.process.stop(_STOP_SECONDS)

    def frozen(self) -> AbstractContextManager[None]:
        """Let it do nothing for as long as the block lasts."""
        return self.process.frozen()
