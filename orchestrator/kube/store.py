"""The objects of one kind as they were last seen, and who is told of changes.

Written by one thread, the reflector's; read by any. What is in it is shared: nobody changes an object (a patch is
applied to a copy). Source of the rules: kubernetes/client-go v0.37 ``tools/cache/store.go``, ``controller.go``.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from orchestrator.kube.resource import name_of, namespace_of, uid_of, version_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orchestrator.api.view import RawObject

type Key = tuple[str, str]
"""Namespace (empty for what belongs to the whole cluster) and name."""


class Handler(Protocol):
    """Told of changes, in their order, in the reflector's thread: it adds keys to a queue and waits for nothing."""

    def added(self, raw: RawObject) -> None:
        """An object is new, or was there when the first list was read."""

    def updated(self, before: RawObject, after: RawObject) -> None:
        """An object has another resourceVersion."""

    def deleted(self, raw: RawObject) -> None:
        """An object is gone; this is the last that was seen of it."""


class Store:
    """Objects by key.

    Args:
        handlers: told of every change.
    """

    def __init__(self, handlers: Sequence[Handler] = ()) -> None:
        self._handlers = handlers
        self._lock = threading.Lock()
        self._objects: dict[str, dict[str, RawObject]] = {}  # by namespace and name

    def get(self, key: Key) -> RawObject | None:
        """The object, or None if it is not there."""
        with self._lock:
            return self._found(key)

    def objects(self, namespace: str = "") -> tuple[RawObject, ...]:
        """All objects, or those of a namespace, in no order."""
        with self._lock:
            places = [self._objects.get(namespace, {})] if namespace else self._objects.values()
            return tuple(raw for place in places for raw in place.values())

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, self._objects.values()))

    def put(self, raw: RawObject) -> Key:
        """Keep an object in place of its former self; the same resourceVersion again is no change."""
        key = key_of(raw)
        with self._lock:
            before = self._found(key)
            if before is not None and version_of(before) == version_of(raw):
                return key
            self._objects.setdefault(key[0], {})[key[1]] = raw
        for handler in self._handlers:
            if before is None:
                handler.added(raw)
            elif uid_of(before) == uid_of(raw):
                handler.updated(before, raw)
            else:  # deleted and made anew while nobody looked
                handler.deleted(before)
                handler.added(raw)
        return key

    def remove(self, key: Key) -> None:
        """Forget an object."""
        with self._lock:
            before = self._objects.get(key[0], {}).pop(key[1], None)
            if not self._objects.get(key[0]):
                self._objects.pop(key[0], None)
        if before is not None:
            for handler in self._handlers:
                handler.deleted(before)

    def keep_only(self, keys: Iterable[Key]) -> None:
        """Forget every object but these: what a list has not shown is gone."""
        kept = frozenset(keys)
        with self._lock:
            there = ((namespace, name) for namespace, place in self._objects.items() for name in place)
            gone = [key for key in there if key not in kept]
        for key in gone:
            self.remove(key)

    def _found(self, key: Key) -> RawObject | None:
        return self._objects.get(key[0], {}).get(key[1])


def key_of(raw: RawObject) -> Key:
    """The key of an object."""
    return namespace_of(raw), name_of(raw)
