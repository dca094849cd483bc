"""Loopback ports for servers of the lab, the same ones when such a server is started again."""

from __future__ import annotations

import secrets
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.errors import GvisorNodesError
from orchestrator.lab.paths import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK: Final = "127.0.0.1"
_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST: Final = 10_000
_TRIES: Final = 1000
_ARRIVES_SECONDS: Final = 2.0


def kept_ports(path: Path, count: int) -> list[int]:
    """The ports that are written in this file, or if there is none: free ones, which are written there.

    Raises:
        GvisorNodesError: there are no free ports.
    """
    try:
        ports = [int(port) for port in path.read_text(encoding="ascii").split()]
    except (FileNotFoundError, ValueError):
        ports = []
    if len(ports) != count:
        ports = free_ports(count)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, " ".join(map(str, ports)) + "\n")
    return ports


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens, outside the range from which the kernel takes those of outgoing connections.

    From that range another's connection could take one before its server listens, and a client that tries to reach a
    stopped server could even be connected to itself. Nor does another process that asks here get one of them while this
    one lives: between the answer and the moment when a server listens there may be seconds. And what is sent there
    arrives there: of a container that was killed while it was made, podman leaves the rule for its port in the
    firewall, and a server at that port would wait for ever.

    Raises:
        GvisorNodesError: there are none.
    """
    sockets: list[socket.socket] = []
    try:
        for port in _candidates():
            try:
                sockets.append(socket.create_server((LOOPBACK, port)))
            except OSError:
                continue
            if not _arrives(sockets[-1]) or not _give(sockets[-1].getsockname()[1]):
                sockets.pop().close()
                continue
            if len(sockets) == count:
                return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
    raise GvisorNodesError(
        "There are no free ports", why=f"{_TRIES} were tried on {LOOPBACK}", remedy="look at them with: ss -ltn"
    )


def _arrives(server: socket.socket) -> bool:
    """Tell whether a connection to where a server listens is a connection to this server."""
    try:
        with socket.create_connection(server.getsockname(), timeout=_ARRIVES_SECONDS) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # nothing of it stays
            server.settimeout(_ARRIVES_SECONDS)
            accepted, peer = server.accept()
            accepted.close()
            return bool(peer == client.getsockname())
    except OSError:
        return False


def _give(port: int) -> bool:
    """Let no other process that asks for ports get this one; tell whether none has.

    The name is in Linux' abstract namespace, which is one for each network, as ports are; the kernel frees it with the
    process.
    """
    mine = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        mine.bind(f"\0gvisor-nodes-port-{port}")
    except OSError:
        mine.close()
        return False
    mine.detach()  # open until the process ends
    return True


def _candidates() -> Iterator[int]:
    lowest_of_clients = int(_RANGE.read_text(encoding="ascii").split()[0])
    room = lowest_of_clients - _LOWEST
    for _ in range(_TRIES):
        # Where clients have everything, any that is free now has to do.
        yield _LOWEST + secrets.randbelow(room) if room >= _TRIES else 0
