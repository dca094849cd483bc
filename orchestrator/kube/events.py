"""Events: what happened to an object, for people who describe it. Never more important than the work they tell of.

What is recorded goes through a bounded queue and is written by a thread of its own; a server that is slow, refuses or
is away costs a line in the log. The same again within ten minutes counts the first one up, and a message that comes all
the time about one object is held back, as kubernetes/client-go v0.37 ``tools/record/events_cache.go`` does.

They are core/v1 Events: the upstream extension's roles grant no others.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from orchestrator.api.timestamp import rfc3339
from orchestrator.errors import GvisorNodesError
from orchestrator.kube.api_error import AbsentError
from orchestrator.kube.resource import Resource, name_of, namespace_of, uid_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.api.view import RawObject
    from orchestrator.kube.client import Client

_log = logging.getLogger(__name__)

EVENTS: Final = Resource("", "v1", "events", "Event")

type EventType = Literal["Normal", "Warning"]

_MESSAGE: Final = 1024  # characters, the API server's limit
_WAITING: Final = 1000  # events
_SAME: Final = 600.0  # seconds
_BURST: Final = 25  # events of one object at once …
_REFILL: Final = 300.0  # … and seconds until there may be another


@dataclass(frozen=True, slots=True)
class Event:
    """What happened: everything that makes two of them the same."""

    namespace: str
    api_version: str
    kind: str
    name: str
    uid: str
    type: EventType
    reason: str
    message: str

    @classmethod
    def of(cls, regarding: RawObject, kind: EventType, reason: str, message: str) -> Event:
        """What happened to an object."""
        return cls(
            namespace=namespace_of(regarding),
            api_version=str(regarding.get("apiVersion") or ""),
            kind=str(regarding.get("kind") or ""),
            name=name_of(regarding),
            uid=uid_of(regarding),
            type=kind,
            reason=reason,
            message=message if len(message) <= _MESSAGE else message[: _MESSAGE - 1] + "…",
        )

    @property
    def place(self) -> str:
        """The namespace of its Event; those of what belongs to the whole cluster are in ``default``."""
        return self.namespace or "default"


@dataclass(slots=True)
class _Written:
    """An Event that is there: its name, how often it happened, and when last (seconds)."""

    name: str
    count: int
    at: float


class EventSeries:
    """Decides whether an event is written, and as which object. Pure: clock and moment are arguments."""

    def __init__(self, component: str) -> None:
        self._component = component
        self._written: dict[Event, _Written] = {}
        self._tokens: dict[str, tuple[float, float]] = {}

    def admit(self, event: Event, now: float) -> bool:
        """Whether an object may have another event now; a burst first, then one for every five minutes."""
        key = event.uid or f"{event.kind}/{event.namespace}/{event.name}"
        tokens, at = self._tokens.get(key, (float(_BURST), now))
        tokens = min(tokens + (now - at) / _REFILL, float(_BURST))
        self._tokens = {one: known for one, known in self._tokens.items() if now - known[1] < _BURST * _REFILL}
        self._tokens[key] = (max(tokens - 1, 0.0) if tokens >= 1 else tokens, now)
        return tokens >= 1

    def count_up(self, event: Event, now: float, moment: datetime) -> tuple[str, dict[str, Any]] | None:
        """The name and the patch of the one that is there already, or None if there is none."""
        self._written = {one: there for one, there in self._written.items() if now - there.at < _SAME}
        there = self._written.get(event)
        if there is None:
            return None
        there.count += 1
        there.at = now
        return there.name, {"count": there.count, "lastTimestamp": rfc3339(moment)}

    def forget(self, event: Event) -> None:
        """It is not there any more: API servers forget Events after an hour."""
        self._written.pop(event, None)

    def begin(self, event: Event, now: float, moment: datetime) -> dict[str, Any]:
        """The object of a first one."""
        digest = hashlib.sha256(f"{event!r}{moment.isoformat()}".encode()).hexdigest()[:16]
        name = f"{event.name[:230]}.{digest}"
        self._written[event] = _Written(name, 1, now)
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"namespace": event.place, "name": name},
            "involvedObject": {
                "apiVersion": event.api_version,
                "kind": event.kind,
                "namespace": event.namespace,
                "name": event.name,
                "uid": event.uid,
            },
            "type": event.type,
            "reason": event.reason,
            "message": event.message,
            "count": 1,
            "firstTimestamp": rfc3339(moment),
            "lastTimestamp": rfc3339(moment),
            "source": {"component": self._component},
            "reportingComponent": self._component,
        }


class EventRecorder:
    """Safe for threads. :meth:`run` it in a thread of its own.

    Args:
        client: of the cluster in which the objects are.
        component: who tells, as people see it.
        clock: seconds that only grow.
        now: the moment.
    """

    def __init__(
        self,
        client: Client,
        component: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._series = EventSeries(component)
        self._clock = clock
        self._now = now
        self._waiting: queue.Queue[Event | None] = queue.Queue(_WAITING)

    def record(self, regarding: RawObject, kind: EventType, reason: str, message: str) -> None:
        """Tell that something happened to an object. Returns at once and never fails.

        Args:
            regarding: the object, with apiVersion, kind, name and uid.
            kind: ``Warning`` if somebody should look.
            reason: one word in CamelCase.
            message: a sentence; what is longer than 1,024 characters is cut.
        """
        try:
            self._waiting.put_nowait(Event.of(regarding, kind, reason, message))
        except queue.Full:
            _log.warning("an event is dropped, because %d wait: %s: %s", _WAITING, reason, message)

    def run(self) -> None:
        """Write what is recorded until :meth:`stop`, and what was recorded before that."""
        while (event := self._waiting.get()) is not None:
            self._write(event)

    def stop(self) -> None:
        """Let :meth:`run` return when it has written what was recorded until now."""
        self._waiting.put(None)

    def _write(self, event: Event) -> None:
        now, moment = self._clock(), self._now()
        try:
            if not self._series.admit(event, now):
                return
            if (again := self._series.count_up(event, now, moment)) is not None:
                name, patch = again
                try:
                    self._client.patch(EVENTS, name, patch, event.place)
                except AbsentError:
                    self._series.forget(event)
                else:
                    return
            self._client.create(EVENTS, self._series.begin(event, now, moment))
        except GvisorNodesError as error:
            self._series.forget(event)
            _log.warning("an event is lost, %s: %s: %s", event.reason, event.message, error.line)
