"""Whether a server of the lab says of itself that it is well: the paths that Kubernetes' components have for that."""

from __future__ import annotations

import http.client
import ssl
from typing import TYPE_CHECKING

from orchestrator.lab.ports import LOOPBACK

if TYPE_CHECKING:
    from pathlib import Path

_SECONDS = 5.0


def is_well(
    port: int,
    path: str,
    authority: Path | None = None,
    identity: tuple[Path, Path] | None = None,
    address: str = LOOPBACK,
) -> bool:
    """Ask a server on a port of this machine; tell whether it answered with 200.

    Args:
        port: where it listens.
        path: for example ``/readyz``.
        authority: file of the certificates by which the server's is verified; the server may write it at its start.
            Without one it is asked without TLS.
        identity: certificate and key of the client.
        address: at which of the machine's addresses it listens.
    """
    try:
        connection: http.client.HTTPConnection
        if authority is None:
            connection = http.client.HTTPConnection(address, port, timeout=_SECONDS)
        else:
            context = ssl.create_default_context(cadata=authority.read_text(encoding="ascii"))
            if identity is not None:
                context.load_cert_chain(*identity)
            connection = http.client.HTTPSConnection(address, port, context=context, timeout=_SECONDS)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.HTTPStatus.OK
        finally:
            connection.close()
    except (OSError, http.client.HTTPException):  # also: the file is not there yet, or not whole
        return False
