"""How long to wait before the next try.

Source: kubernetes/client-go v0.37 ``util/workqueue/default_rate_limiters.go`` (per key) and apimachinery
``wait.NewExponentialBackoffManager``, as ``tools/cache/reflector.go`` uses it.
"""

from __future__ import annotations

import random as _random
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


class ItemBackoff[Key: Hashable]:
    """Doubles with every failure of a key, forgets a key that succeeded. Not safe for threads: the queue's lock is.

    Args:
        base: seconds after the first failure.
        maximum: seconds that no delay exceeds.
    """

    def __init__(self, *, base: float = 0.005, maximum: float = 1000.0) -> None:
        self._base = base
        self._maximum = maximum
        self._failures: dict[Key, int] = {}

    def when(self, key: Key) -> float:
        """Count a failure; return the seconds to wait."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # 2**64 is above every maximum, and larger powers are no floats any more.
        return min(self._base * 2.0 ** min(failures, 64), self._maximum)

    def forget(self, key: Key) -> None:
        """Let the next failure be the first."""
        self._failures.pop(key, None)

    def failures(self, key: Key) -> int:
        """How often a key failed since it was forgotten."""
        return self._failures.get(key, 0)


class Backoff:
    """Doubles from try to try, with up to as much again by chance, so that clients do not come back all at once.

    Args:
        initial: seconds of the first step.
        maximum: seconds of the largest step; jitter comes on top.
        reset: after so many seconds without a try it begins anew.
        clock: seconds that only grow.
        random: draws from [0, 1).
    """

    def __init__(
        self,
        *,
        initial: float = 0.8,
        maximum: float = 30.0,
        reset: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = _random.random,
    ) -> None:
        self._initial = initial
        self._maximum = maximum
        self._reset = reset
        self._clock = clock
        self._random = random
        self._step = initial
        self._last = clock()

    def next(self) -> float:
        """The seconds to wait before the next try."""
        now = self._clock()
        if now - self._last > self._reset:
            self._step = self._initial
        self._last = now
        step = self._step
        self._step = min(step * 2, self._maximum)
        return step * (1 + self._random())
