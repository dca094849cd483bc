"""Keys that want work: each at most once in the queue and at most once in work, whatever happens to it meanwhile.

A key says that something changed, never what: whoever gets it looks at the state of then. The rules, and the names, are
those of client-go's work queue (kubernetes/client-go v0.37 ``util/workqueue``): ``queue.go``, ``delaying_queue.go``,
``rate_limiting_queue.go``. Delays need no thread of their own: whoever waits for a key waits no longer than for the
next one that becomes due.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

from orchestrator.kube.backoff import ItemBackoff

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


class QueueMetrics(Protocol):
    """What a queue tells of itself. Called with the queue's lock held: it must neither block nor call the queue."""

    def depth(self, keys: int) -> None:
        """So many keys wait now."""

    def added(self) -> None:
        """A key came that neither waited nor was marked to come again."""

    def waited(self, seconds: float) -> None:
        """A key was taken that had waited so long."""

    def worked(self, seconds: float) -> None:
        """Work on a key took so long."""

    def retried(self) -> None:
        """A key failed and comes again."""


class WorkQueue[Key: Hashable]:
    """A queue for any number of threads that add and that work.

    Whoever gets a key calls :meth:`done` after its work, and before that :meth:`forget` or :meth:`add_rate_limited`.

    Args:
        backoff: the delays of keys that failed; the queue's own from now on.
        clock: seconds that only grow.
        metrics: told what happens.
    """

    def __init__(
        self,
        *,
        backoff: ItemBackoff[Key] | None = None,
        clock: Callable[[], float] = time.monotonic,
        metrics: QueueMetrics | None = None,
    ) -> None:
        self._backoff = backoff or ItemBackoff()
        self._clock = clock
        self._metrics = metrics
        self._changed = threading.Condition()
        self._queue: deque[Key] = deque()
        self._dirty: set[Key] = set()
        self._processing: dict[Key, float] = {}
        self._added: dict[Key, float] = {}
        self._due: dict[Key, float] = {}
        # Holds every delay ever asked for; those that _due no longer confirms are passed over. The number keeps the
        # order and saves comparing keys.
        self._delayed: list[tuple[float, int, Key]] = []
        self._number = 0
        self._shutting_down = False

    def add(self, key: Key) -> None:
        """Let a key be worked on: now, or once more when the work that is under way is done."""
        with self._changed:
            self._add(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Add a key when so much time has passed. Of several delays of a key the first that is over counts."""
        with self._changed:
            self._add_after(key, seconds)

    def add_rate_limited(self, key: Key) -> None:
        """Add a key that failed, the later the more often it did."""
        with self._changed:
            if self._metrics is not None:
                self._metrics.retried()
            self._add_after(key, self._backoff.when(key))

    def forget(self, key: Key) -> None:
        """Let the next failure of a key be its first."""
        with self._changed:
            self._backoff.forget(key)

    def retries(self, key: Key) -> int:
        """How often a key failed since it was forgotten."""
        with self._changed:
            return self._backoff.failures(key)

    def get(self, timeout: float | None = None) -> Key | None:
        """Take the next key; wait for one.

        Args:
            timeout: seconds of real time to wait, None without limit.

        Returns:
            The key, or None: the queue is shut down and empty, or ``timeout`` is over.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while True:
                next_due = self._add_due()
                if self._queue:
                    return self._take()
                left = None if deadline is None else deadline - time.monotonic()
                if self._shutting_down or (left is not None and left <= 0):
                    return None
                self._changed.wait(min((one for one in (next_due, left) if one is not None), default=None))

    def done(self, key: Key) -> None:
        """Say that the work on a key is over; if the key came meanwhile, it waits again."""
        with self._changed:
            begun = self._processing.pop(key)
            if self._metrics is not None:
                self._metrics.worked(self._clock() - begun)
            if key in self._dirty:
                self._push(key)
            self._changed.notify_all()

    def shut_down(self) -> None:
        """Take no more keys, drop those that are delayed. Those that wait are still handed out."""
        with self._changed:
            self._shutting_down = True
            self._due.clear()
            self._delayed.clear()
            self._changed.notify_all()

    def drain(self, timeout: float) -> bool:
        """Wait until all work is done; tell whether that came before ``timeout`` (seconds of real time)."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue and not self._processing, timeout)

    @property
    def shutting_down(self) -> bool:
        """Whether it takes no more keys."""
        with self._changed:
            return self._shutting_down

    def __len__(self) -> int:
        with self._changed:
            return len(self._queue)

    def _add(self, key: Key) -> None:
        if self._shutting_down or key in self._dirty:
            return
        if self._metrics is not None:
            self._metrics.added()
        self._dirty.add(key)
        self._added[key] = self._clock()
        if key not in self._processing:
            self._push(key)
            self._changed.notify_all()

    def _push(self, key: Key) -> None:
        self._queue.append(key)
        self._tell_depth()

    def _take(self) -> Key:
        key = self._queue.popleft()
        now = self._clock()
        self._dirty.discard(key)
        self._processing[key] = now
        self._tell_depth()
        added = self._added.pop(key)
        if self._metrics is not None:
            self._metrics.waited(now - added)
        return key

    def _tell_depth(self) -> None:
        if self._metrics is not None:
            self._metrics.depth(len(self._queue))

    def _add_after(self, key: Key, seconds: float) -> None:
        if self._shutting_down:
            return
        if seconds <= 0:
            self._add(key)
            return
        due = self._clock() + seconds
        if due >= self._due.get(key, float("inf")):
            return
        self._due[key] = due
        self._number += 1
        heapq.heappush(self._delayed, (due, self._number, key))
        # All of them: whoever waits has to know of the next delay, also while another has taken a key.
        self._changed.notify_all()

    def _add_due(self) -> float | None:
        """Add what is due; return the seconds until the next is."""
        while self._delayed:
            due, _, key = self._delayed[0]
            left = due - self._clock()
            if self._due.get(key) == due:
                if left > 0:
                    return left
                del self._due[key]
                self._add(key)
            heapq.heappop(self._delayed)
        return None
