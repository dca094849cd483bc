"""A wish to stop, that reaches whatever is waiting at the moment.

The program's main thread hears SIGTERM while its worker waits for a process or a call. Whoever waits says how to be
woken; what must not be interrupted, the removal of a sandbox, simply says nothing.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from orchestrator.cri.faults import AccessError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Stop:
    """Not wished for until `request` is called."""

    def __init__(self) -> None:
        self._requested = threading.Event()
        self._wake: Callable[[], object] | None = None

    def request(self) -> None:
        """Wish to stop, and wake who waits. Safe in a signal handler: it takes no lock that a waiter holds."""
        self._requested.set()
        wake = self._wake
        if wake is not None:
            wake()

    @contextlib.contextmanager
    def by(self, wake: Callable[[], object]) -> Iterator[None]:
        """While in this context, `wake` is how to interrupt.

        Raises:
            AccessError: code stopped, when stopping is or was wished for; the interrupted error is its cause.
        """
        self._wake = wake
        try:
            if self._requested.is_set():
                wake()
            yield
        except Exception as error:
            if self._requested.is_set():
                raise AccessError("stopped", "stopped on request") from error
            raise
        finally:
            self._wake = None
        if self._requested.is_set():
            raise AccessError("stopped", "stopped on request")
