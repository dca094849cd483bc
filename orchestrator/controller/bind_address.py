"""Where a server listens, as Go's ``net.Listen`` writes it and controller-runtime's options take it. Pure.

Source: https://pkg.go.dev/net#Listen for the form, and sigs.k8s.io/controller-runtime ``pkg/metrics/server`` for ``0``,
which switches a server off. Names of ports, such as ``:http``, are not taken.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final, NamedTuple

OFF: Final = "0"
FORM: Final = "HOST:PORT, :PORT for every address of this machine, or 0 for off"

_PORT: Final = re.compile(r"[0-9]{1,5}")
_LAST_PORT: Final = 65535
# What DNS calls a name or IPv4 writes as an address; a colon would make it an IPv6 address without its brackets.
_HOST: Final = re.compile(r"[A-Za-z0-9._-]*")


class BindAddress(NamedTuple):
    """A host and a port; no host means every address of this machine, the port 0 any that is free."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def bind_address(text: str) -> BindAddress | None:
    """Read an address, None for off.

    Args:
        text: ``:8080``, ``127.0.0.1:8080``, ``localhost:8080``, ``[::1]:8080`` or ``0``.

    Raises:
        ValueError: it is none; the message says what one is and not what was given.
    """
    if text == OFF:
        return None
    host, colon, port = text.rpartition(":")
    if not colon or not _PORT.fullmatch(port) or int(port) > _LAST_PORT:
        raise ValueError(f"it is no address to listen on: {FORM}")
    if host.startswith("[") and host.endswith("]"):
        return BindAddress(_ipv6(host[1:-1]), int(port))
    if not _HOST.fullmatch(host):
        raise ValueError(f"its host is none; {FORM}, with an IPv6 address in brackets: [::1]:8080")
    return BindAddress(host, int(port))


def _ipv6(host: str) -> str:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        raise ValueError(f"what its brackets hold is no IPv6 address; {FORM}") from None
    return host
