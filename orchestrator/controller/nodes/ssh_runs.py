"""The runs of this process: a thread for each, no more than so many at once, and how they ended.

They are here and nowhere else. A controller that was killed has none: its playbooks end with it, whoever comes next
finds none under the name in a node's claim, and begins anew; should one of them not have ended yet, the lease on the
node keeps the new one waiting. That a target is opened anew does not touch them.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from orchestrator.controller.nodes.mark import Action
from orchestrator.controller.nodes.run import Run
from orchestrator.errors import GvisorNodesError, NotReadyError
from orchestrator.execution.job import failed
from orchestrator.execution.runner import private_directory

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orchestrator.controller.nodes.run import Order
    from orchestrator.execution.job import Verb
    from orchestrator.execution.job_result import JobResult

_log = logging.getLogger(__name__)

_KEPT: Final = 3600.0
"""Seconds that the result of a run stays here; it is on its Node long before."""
_LONGEST_END: Final = 25.0
"""Seconds in which a run that is stopped has to have ended: the playbook has ten of its own."""


@dataclass(slots=True)
class _Entry:
    order: Order
    work: Callable[[Order, threading.Event], JobResult]
    ended: Callable[[], None]
    cancel: threading.Event = field(default_factory=threading.Event)
    result: JobResult | None = None
    since: float = 0.0


class SshRuns:
    """Safe for threads.

    Args:
        at_once: how many work at the same time; others wait for their turn.
        clock: seconds that only grow.
    """

    def __init__(self, at_once: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._at_once = at_once
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._waiting: deque[_Entry] = deque()
        self._threads: dict[int, threading.Thread] = {}
        self._active: list[_Entry] = []
        self._closed = False
        self._directory: Path | None = None

    def start(
        self,
        order: Order,
        work: Callable[[Order, threading.Event], JobResult],
        ended: Callable[[], None],
    ) -> None:
        """Let a run begin, or wait for its turn.

        Args:
            order: what it is for; one of a name that is known is passed over.
            work: does it; stopped by the event.
            ended: called when it has ended.
        """
        entry = _Entry(order, work, ended)
        with self._lock:
            if self._closed or order.name in self._entries:
                return
            old = [name for name, one in self._entries.items() if one.result and self._clock() - one.since > _KEPT]
            for name in old:
                del self._entries[name]
            self._entries[order.name] = entry
            self._waiting.append(entry)
            self._begin()

    def runs(self, owner: str) -> tuple[Run, ...]:
        """All runs of an owner that are known; one that was stopped, until it has ended."""
        with self._lock:
            found = [one for one in self._entries.values() if one.order.owner == owner]
        return tuple(_run(one) for one in found)

    def find(self, name: str) -> Run | None:
        """The run of this name, if it is known."""
        with self._lock:
            entry = self._entries.get(name)
        return _run(entry) if entry is not None else None

    def stop(self, name: str) -> None:
        """Stop a run, and forget it when it has ended."""
        with self._lock:
            entry = self._entries.get(name)
            if entry is None:
                return
            entry.cancel.set()
            if entry not in self._active:
                del self._entries[name]
            if entry in self._waiting:
                self._waiting.remove(entry)

    def known_hosts(self, place: str) -> Path:
        """The file with the host keys that nodes of a cluster have shown.

        Raises:
            NotReadyError: nothing begins any more.
        """
        with self._lock:
            if self._closed:
                raise NotReadyError("the run does not begin", why="the controller ends", remedy="another run follows")
            if self._directory is None:
                self._directory = private_directory()
            return self._directory / f"known-{place or 'hosts'}"

    def close(self) -> None:
        """Stop all runs, and return when they have ended; none begins any more."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
            for entry in self._active:
                entry.cancel.set()
            threads = list(self._threads.values())
            directory, self._directory = self._directory, None
        if threads:
            _log.info("%d runs over SSH are stopped", len(threads))
        deadline = self._clock() + _LONGEST_END
        for thread in threads:
            thread.join(max(deadline - self._clock(), 0.0))
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)

    def _begin(self) -> None:
        """Begin as many as there may be; the lock is held."""
        while self._waiting and len(self._active) < self._at_once:
            entry = self._waiting.popleft()
            self._active.append(entry)
            thread = threading.Thread(target=self._work, args=(entry,), name=entry.order.name, daemon=True)
            self._threads[id(entry)] = thread
            thread.start()

    def _work(self, entry: _Entry) -> None:
        result = _result(entry)
        with self._lock:
            if entry.cancel.is_set() and not self._closed:
                del self._entries[entry.order.name]
            entry.result, entry.since = result, self._clock()
            self._active.remove(entry)
            del self._threads[id(entry)]
            if not self._closed:
                self._begin()
        entry.ended()


def verb_of(order: Order) -> Verb:
    """What a run is for, in the words of its result."""
    return "remove" if order.action is Action.REMOVE else "apply"


def _result(entry: _Entry) -> JobResult:
    order, started = entry.order, time.monotonic()
    try:
        return entry.work(order, entry.cancel)
    except GvisorNodesError as error:
        return failed(verb_of(order), error, started)
    except Exception as error:  # noqa: BLE001 - whatever it is, the node's loop has to hear of an end
        _log.exception("node %s: the run %s ended in a way that nobody foresaw", order.node, order.name)
        found = failed(verb_of(order), error, started)
        # Its text could be anything; the log is not for whoever reads Nodes.
        return replace(
            found,
            message="the run ended in a way that nobody foresaw",
            cause=type(error).__name__,
            remedy="look at the controller's log; another run follows",
        )


def _run(entry: _Entry) -> Run:
    return Run(entry.order.name, entry.order.node, entry.order.uid, entry.result)
