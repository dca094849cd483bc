"""One lock for each of many things, without keeping a lock for what nobody uses."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator


class KeyedLock[Key: Hashable]:
    """Safe for threads; a thread that holds the lock of a key must not ask for it again."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._users: dict[Key, tuple[threading.Lock, int]] = {}

    @contextmanager
    def held(self, key: Key) -> Iterator[None]:
        """Hold the lock of a key for as long as the block lasts."""
        with self._guard:
            lock, users = self._users.get(key, (threading.Lock(), 0))
            self._users[key] = lock, users + 1
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, users = self._users[key]
                if users == 1:
                    del self._users[key]
                else:
                    self._users[key] = lock, users - 1

    def __len__(self) -> int:
        """How many keys somebody holds or waits for."""
        with self._guard:
            return len(self._users)
