"""What the process answers over HTTP: metrics for Prometheus on one address, probes for the kubelet on another.

Plain HTTP, as upstream has it: nothing here is secret, and NetworkPolicies say who may ask. Every connection has a
thread and a deadline of its own. Somebody who sends or reads slowly holds up nobody else, and is cut off when the
deadline is over or the process ends.
"""

from __future__ import annotations

import logging
import socket
import socketserver
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Final, Self

from orchestrator.controller.bind_address import BindAddress
from orchestrator.errors import GvisorNodesError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

_log = logging.getLogger(__name__)

_TEXT: Final = "text/plain; charset=utf-8"
_DEADLINE: Final = 10.0  # seconds, Prometheus' own default for a scrape
_POLL: Final = 0.25  # seconds between looks at deadlines and at the end

type Probe = Callable[[], str]
"""Returns nothing if all is well, else the reason. Called by many threads; must not block."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a page says."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = _TEXT


type Page = Callable[[], Answer]


def probe_page(probe: Probe) -> Page:
    """The page of a probe: 200 ``ok``, or 503 with the reason."""

    def page() -> Answer:
        reason = probe()
        return Answer(reason.encode(), HTTPStatus.SERVICE_UNAVAILABLE) if reason else Answer(b"ok")

    return page


def metrics_page(exposition: Callable[[], bytes], content_type: str) -> Page:
    """The page of the metrics."""
    return lambda: Answer(exposition(), content_type=content_type)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Pages on one address.

    Attributes:
        setting: where the address comes from, for whoever has to correct it.
        address: where to listen; None for nowhere.
        pages: by path.
    """

    setting: str
    address: BindAddress | None
    pages: Mapping[str, Page]


class Endpoints:
    """Serves from entering the context until its end.

    Args:
        endpoints: what is served, and where.
        deadline: seconds that a connection may take.

    Raises on entering:
        GvisorNodesError: an address cannot be listened on; nothing is served then.
    """

    def __init__(self, *endpoints: Endpoint, deadline: float = _DEADLINE) -> None:
        self._endpoints = endpoints
        self._deadline = deadline
        self._stack = ExitStack()
        self._bound: dict[str, BindAddress] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for endpoint in self._endpoints:
                if endpoint.address is not None:
                    server = _Server(_listening(endpoint.address, endpoint.setting), endpoint.pages, self._deadline)
                    stack.callback(server.end)
                    server.begin(endpoint.setting)
                    self._bound[endpoint.setting] = server.bound
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def bound(self, setting: str) -> BindAddress:
        """Where the endpoint of a setting really listens: its port is known even if any free one was asked for."""
        return self._bound[setting]


def _listening(address: BindAddress, setting: str) -> socket.socket:
    """A socket that listens, for IPv6 and IPv4 where the address says neither.

    Raises:
        GvisorNodesError: it cannot.
    """
    try:
        if not address.host and socket.has_dualstack_ipv6():
            return socket.create_server(("", address.port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server((address.host, address.port), family=_family(address))
    except OSError as error:
        raise GvisorNodesError(
            f"nothing can be served at {address}",
            # Python adds the address to the system's words; a resolver's have no number of the system.
            why=(error.strerror or str(error)).split(" (while", maxsplit=1)[0],
            remedy=f"end what listens there, or give another address: {setting}",
        ) from error


def _family(address: BindAddress) -> socket.AddressFamily:
    if not address.host:
        return socket.AF_INET
    found = [one[0] for one in socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)]
    # As Go's net.Listen: of a name's addresses IPv4 is preferred.
    return socket.AF_INET if socket.AF_INET in found else found[0]


class _Server(socketserver.ThreadingTCPServer):
    """Serves in threads. http.server's own would look up this machine's name in DNS."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, listening: socket.socket, pages: Mapping[str, Page], deadline: float) -> None:
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.pages = pages
        self._deadline = deadline
        self._open: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def bound(self) -> BindAddress:
        host, port = self.socket.getsockname()[:2]
        return BindAddress(host, port)

    def begin(self, name: str) -> None:
        self._thread = threading.Thread(target=self.serve_forever, args=(_POLL,), name=name, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Stop, and cut off who is connected."""
        if self._thread is not None:
            self.shutdown()
            self._thread.join()
        self.server_close()
        self._cut_off(before=float("inf"))

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, peer = super().get_request()
        with self._lock:
            self._open[connection] = time.monotonic()
        return connection, peer

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        self._cut_off(before=time.monotonic() - self._deadline)

    def handle_error(self, request: Any, client_address: Any) -> None:
        del request
        # Whoever broke off is gone; an error of a page is answered and told where it happens.
        _log.debug("a connection from %s broke", client_address, exc_info=True)

    def _cut_off(self, before: float) -> None:
        with self._lock:
            late = [connection for connection, since in self._open.items() if since < before]
            for connection in late:
                # Wakes its thread up, which closes it.
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """One request a connection, as HTTP/1.0 has it: so a deadline is one of a request."""

    server: _Server

    def version_string(self) -> str:
        return "gvisor-nodes"

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        answer = self._page()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if with_body:
            self.wfile.write(answer.body)

    def _page(self) -> Answer:
        path = self.path.partition("?")[0]
        page = self.server.pages.get(path)
        if page is None:
            return Answer(b"not found", HTTPStatus.NOT_FOUND)
        try:
            return page()
        except Exception:  # noqa: BLE001 - a page must answer, whatever happens to it
            _log.exception("%s cannot be answered", path)
            return Answer(b"an error, see the log", HTTPStatus.INTERNAL_SERVER_ERROR)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        _log.debug(format, *args)
