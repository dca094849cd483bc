"""A running etcd on loopback ports. It does not wait for its disk, so nothing in it survives the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.lab.control_plane import program
from orchestrator.lab.etcd import etcd
from orchestrator.lab.health import is_well
from orchestrator.lab.ports import LOOPBACK, kept_ports
from orchestrator.lab.process import Process, await_ready

if TYPE_CHECKING:
    from pathlib import Path

_STOP_SECONDS: Final = 5.0


class EtcdServer:
    """One member, for the API servers that are given it.

    Args:
        directory: where it keeps everything; an EtcdServer of the same directory is the same one.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port, self._peer_port = kept_ports(directory / "etcd.ports", 2)
        self.process = Process("etcd", directory)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{LOOPBACK}:{self._port}"

    def start(self) -> bool:
        """Start it unless it runs, and wait until it is ready; tell whether it was started.

        Raises:
            MissingComponentError: it is not built.
            GvisorNodesError: it does not start; the last lines of its log are in it.
        """
        started = self.process.start(program(etcd()), self._arguments())
        await_ready(lambda: is_well(self._port, "/readyz"), self.process)
        return started

    def stop(self) -> bool:
        """Stop it, and wait for its end; tell whether it ran. API servers end before."""
        return self.process.stop(_STOP_SECONDS)

    def _arguments(self) -> list[str]:
        peer = f"http://{LOOPBACK}:{self._peer_port}"
        return [
            f"--data-dir={self._directory / 'etcd'}",
            f"--listen-client-urls={self.url}",
            f"--advertise-client-urls={self.url}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]
