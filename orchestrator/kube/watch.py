"""One watch request: a stream of lines, each an event of one object, until the server ends it or somebody stops it."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import urllib3

from orchestrator.kube import api_error
from orchestrator.kube.resource import version_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from orchestrator.api.view import RawObject

ADDED: Final = "ADDED"
MODIFIED: Final = "MODIFIED"
DELETED: Final = "DELETED"
BOOKMARK: Final = "BOOKMARK"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """What happened, and the object after it; of a bookmark only the resourceVersion means something."""

    type: str
    raw: RawObject

    @property
    def resource_version(self) -> str:
        """From where a later watch goes on."""
        return version_of(self.raw)


class Watch:
    """Iterate in one thread; :meth:`stop` may come from any, and ends the iteration at once.

    Args:
        response: of the request, with nothing read.
        what: what is watched, for errors.
    """

    def __init__(self, response: urllib3.BaseHTTPResponse, what: str) -> None:
        self._response = response
        self._what = what
        self._lock = threading.Lock()
        self._stopped = False
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._closed = True
            self._response.close()  # not given back to the pool: what the server still sends belongs to nobody

    def __iter__(self) -> Iterator[WatchEvent]:
        """Yield events as they come.

        Raises:
            ExpiredError: the server has forgotten what happened since the resourceVersion.
            SilentError: not even a bookmark came for too long.
            UnavailableError: the connection broke.
        """
        try:
            yield from events(self._response.stream(), self._what)
        except api_error.ApiError:
            if self._stopped:  # the last line is what had come of it when the connection was shut
                return
            raise
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            if self._stopped:
                return
            if isinstance(error, urllib3.exceptions.ReadTimeoutError):
                raise api_error.silent(self._what) from error
            raise api_error.unreachable(self._what, str(error)) from error

    def stop(self) -> None:
        """End the iteration, also one that waits for the server."""
        with self._lock:
            self._stopped = True
            if not self._closed:
                try:
                    self._response.shutdown()
                except (OSError, ValueError, RuntimeError):
                    return  # the server has ended it already


def events(chunks: Iterable[bytes], what: str) -> Iterator[WatchEvent]:
    """Decode a stream. Pure.

    Args:
        chunks: the bytes as they come, cut anywhere.
        what: what is watched, for errors.

    Raises:
        ApiError: the server sent a Status instead of an object.
        UnavailableError: a line is no event; nothing can be trusted after that.
    """
    for line in _lines(chunks):
        event = _decoded(line)
        if event is None:
            raise api_error.unreachable(what, f"{line[:80]!r} is no event of a watch")
        if event.type == "ERROR":
            raise api_error.from_status(what, event.raw)
        yield event


def _lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    pending: list[bytes] = []
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        pending.append(first)
        for part in others:
            if line := b"".join(pending).strip():
                yield line
            pending = [part]
    # What follows the last newline is half an event of a connection that broke, and comes again.


def _decoded(line: bytes) -> WatchEvent | None:
    try:
        content: Any = json.loads(line)
    except ValueError:
        return None
    if not isinstance(content, Mapping) or not isinstance(content.get("object"), Mapping):
        return None
    return WatchEvent(str(content.get("type")), content["object"])
