"""The node as a proof needs it: an address for gRPC, and somebody there who looks at processes.

Three ways, told apart by the request: direct (this machine is the node), direct from a pod that sees the node below
a root, and through a prefix (`session`, `bridge`). All answer the same questions; nothing above here knows which it is.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol

from orchestrator.cri import node_side
from orchestrator.cri.session import Session, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.cri.request import Request
    from orchestrator.cri.stop import Stop


class Node(Protocol):
    """What both ways offer."""

    @property
    def address(self) -> str:
        """Path of a local unix socket at which the runtime answers."""

    @property
    def fault(self) -> str:
        """Why the socket could not be reached on the node, in the node's words; "" if nothing is known."""

    def ask(self, verb: str, within: float, /, **arguments: Any) -> dict[str, Any]:
        """Put a question to `node_side`.

        Raises:
            AccessError: no answer, or the node could not.
        """


class DirectNode:
    """The machine we run on."""

    fault = ""

    def __init__(self, socket: str) -> None:
        self.address = socket

    def ask(self, verb: str, within: float, /, **arguments: Any) -> dict[str, Any]:  # noqa: ARG002 -- nothing can be late
        """Answer it here."""
        return unpack(verb, node_side.answer({"verb": verb, "arguments": arguments}))


class HostNode:
    """The machine we run on, seen from a pod: its files are below a root, its processes and sockets are ours to see."""

    fault = ""

    def __init__(self, request: Request) -> None:
        self.address = request.root + request.socket
        self._request = request

    def ask(self, verb: str, within: float, /, **arguments: Any) -> dict[str, Any]:  # noqa: ARG002 -- nothing can be late
        """Answer it here, for the node's paths."""
        arguments["root"] = self._request.root
        if verb == "flags":
            arguments["enter"] = list(self._request.enter)
        return unpack(verb, node_side.answer({"verb": verb, "arguments": arguments}))


class RemoteNode:
    """A node behind a prefix."""

    def __init__(self, session: Session, socket: str) -> None:
        from orchestrator.cri.bridge import Bridge  # noqa: PLC0415 -- direct access needs none

        self._session = session
        self.bridge = Bridge(session, socket)
        self.address = self.bridge.path

    @property
    def fault(self) -> str:
        """The node's reason for closing the last connection."""
        return self.bridge.fault

    def ask(self, verb: str, within: float, /, **arguments: Any) -> dict[str, Any]:
        """Ask over the session."""
        return self._session.ask(verb, within, **arguments)


@contextlib.contextmanager
def reach(request: Request, seconds: float, stop: Stop) -> Iterator[Node]:
    """Reach the node of a request; the connection ends with the context.

    Args:
        request: its access, socket and python are used.
        seconds: deadline for getting in.
        stop: ends getting in early.

    Raises:
        AccessError, InvalidInputError, MissingComponentError: as `Session.open`.
    """
    if not request.access.argv:
        yield HostNode(request) if request.root else DirectNode(request.socket)
        return
    session = Session()
    session.open(request.access, request.python, seconds, stop)
    try:
        node = RemoteNode(session, request.socket)
        try:
            yield node
        finally:
            node.bridge.close()
    finally:
        session.close()
