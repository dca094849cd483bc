"""Keeps a store what an API server says there is: a list, then a watch from there, for as long as it runs.

Modelled on kubernetes/client-go v0.37 ``tools/cache/reflector.go``. Pages go into the store one by one, so that a long
list never lies in memory twice. A watch that ends as it was asked to, or whose connection breaks, goes on from the last
event; the list is read again when the server has forgotten that (410), says that something is wrong, or fell silent.
"""

from __future__ import annotations

import logging
import random as _random
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from orchestrator.errors import GvisorNodesError
from orchestrator.kube import api_error
from orchestrator.kube.backoff import Backoff
from orchestrator.kube.client import EVERYTHING
from orchestrator.kube.store import Store, key_of
from orchestrator.kube.watch import ADDED, BOOKMARK, DELETED, MODIFIED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.api.view import RawObject
    from orchestrator.kube.client import Client, Selection
    from orchestrator.kube.resource import Resource
    from orchestrator.kube.store import Handler, Key
    from orchestrator.kube.watch import Watch, WatchEvent

_log = logging.getLogger(__name__)

# Seconds. client-go asks for five to ten minutes. A server that died without a word is noticed when this is over, and
# Gardener gives up on a ContainerRuntime after three minutes; a new watch costs one request and sends nothing twice.
_WATCH: Final = 60

_TRANSIENT: Final = frozenset(
    {
        0,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)


class Reflector:
    """One kind of object of one cluster. :meth:`run` it in a thread of its own.

    Args:
        client: of the cluster.
        resource: what is watched.
        selection: which of them.
        handlers: told of changes, see :class:`~orchestrator.kube.store.Handler`.
        trim: what is kept of an object; it must keep the metadata and raise nothing.
        watch_seconds: the shortest time of a watch; jitter makes it up to twice as long.
        backoff: the pauses between tries that fail.
        random: draws from [0, 1).
        restarted: told why each list or watch was begun, in one word: ``start``, ``ended``, ``broken``, ``expired``,
            ``silent``, ``refused``.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        *,
        selection: Selection = EVERYTHING,
        handlers: Sequence[Handler] = (),
        trim: Callable[[RawObject], RawObject] | None = None,
        watch_seconds: int = _WATCH,
        backoff: Backoff | None = None,
        random: Callable[[], float] = _random.random,
        restarted: Callable[[str], None] | None = None,
    ) -> None:
        self.store = Store(handlers)
        self._client = client
        self._resource = resource
        self._selection = selection
        self._trim = trim
        self._watch_seconds = watch_seconds
        self._backoff = backoff or Backoff()
        self._random = random
        self._restarted = restarted
        self._synced = threading.Event()
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._watch: Watch | None = None

    @property
    def synced(self) -> bool:
        """Whether the store has held, at one moment at least, everything that there was."""
        return self._synced.is_set()

    def wait_synced(self, timeout: float) -> bool:
        """Wait until it is synced; tell whether that came before ``timeout`` (seconds)."""
        return self._synced.wait(timeout)

    def run(self) -> None:
        """List and watch until :meth:`stop`. What the server refuses is tried again; a handler's error ends it."""
        self._tell("start")
        while not self._stopping.is_set():
            try:
                self._follow(self._list())
            except GvisorNodesError as error:
                self._tell(reason(error))
                self._pause(error)

    def stop(self) -> None:
        """Let :meth:`run` return soon, also if it waits for the server; from any thread, any number of times."""
        self._stopping.set()
        with self._lock:
            if self._watch is not None:
                self._watch.stop()

    def _list(self) -> str:
        """Bring the store to what the list says; return the resourceVersion of the list."""
        seen: set[Key] = set()
        version = ""
        for page in self._client.pages(self._resource, self._selection):
            seen.update(self.store.put(self._kept(raw)) for raw in page.items)
            version = page.resource_version
            if self._stopping.is_set():
                return version
        self.store.keep_only(seen)
        self._synced.set()
        return version

    def _follow(self, version: str) -> None:
        """Watch until it stops.

        Raises:
            GvisorNodesError: the list has to be read again.
        """
        while not self._stopping.is_set():
            timeout = jittered(self._watch_seconds, self._random())
            try:
                with self._client.watch(self._resource, version, timeout, self._selection) as watch:
                    self._current(watch)
                    for event in watch:
                        self._apply(event)
                        version = event.resource_version or version
                self._tell("ended")
            except GvisorNodesError as error:
                if not goes_on(error):
                    raise
                self._tell(reason(error))
                self._pause(error)
            finally:
                self._current(None)

    def _current(self, watch: Watch | None) -> None:
        with self._lock:
            self._watch = watch
            if watch is not None and self._stopping.is_set():
                watch.stop()

    def _apply(self, event: WatchEvent) -> None:
        if event.type in {ADDED, MODIFIED}:
            self.store.put(self._kept(event.raw))
        elif event.type == DELETED:
            self.store.remove(key_of(event.raw))
        elif event.type != BOOKMARK:
            _log.warning("an event of an unknown type is passed over: %s", event.type)

    def _kept(self, raw: RawObject) -> RawObject:
        raw = without_managed_fields(raw)
        return self._trim(raw) if self._trim is not None else raw

    def _pause(self, error: GvisorNodesError) -> None:
        seconds = self._backoff.next()
        _log.warning("%s; again in %.1f s", error.line, seconds)
        self._stopping.wait(seconds)

    def _tell(self, why: str) -> None:
        if self._restarted is not None and not self._stopping.is_set():
            self._restarted(why)


def jittered(seconds: int, draw: float) -> int:
    """One to two times as many seconds, so that not all watches of a server end at once. Pure."""
    return int(seconds * (1 + draw))


def goes_on(error: GvisorNodesError) -> bool:
    """Whether a watch goes on from its last event after this error; else the list is to be read again. Pure."""
    return (
        isinstance(error, api_error.UnavailableError)
        and not isinstance(error, api_error.SilentError)
        and error.status in _TRANSIENT
    )


def reason(error: GvisorNodesError) -> str:
    """The word for metrics. Pure."""
    if isinstance(error, api_error.ExpiredError):
        return "expired"
    if isinstance(error, api_error.SilentError):
        return "silent"
    return "broken" if isinstance(error, api_error.UnavailableError) else "refused"


def without_managed_fields(raw: RawObject) -> RawObject:
    """The object without the record of who wrote which field, which is half of its size and nobody reads. Pure.

    A merge patch that is made from two such objects does not touch that record.
    """
    metadata = raw.get("metadata") or {}
    if "managedFields" not in metadata:
        return raw
    return {**raw, "metadata": {name: value for name, value in metadata.items() if name != "managedFields"}}
