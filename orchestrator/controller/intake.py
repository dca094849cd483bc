"""From what is seen to the keys that are worked on. Called by reflectors, in their threads; waits for nothing.

Nothing is taken in while this replica does not lead: its successor looks at everything there is when it begins.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from orchestrator.api.cluster import Cluster
from orchestrator.api.container_runtime import ContainerRuntime
from orchestrator.controller.seed_objects import SHARED, pool_name
from orchestrator.controller.trigger import changed, cluster_changed, seen_first
from orchestrator.controller.verb import TriggerMode, is_ours
from orchestrator.errors import InvalidInputError
from orchestrator.kube.resource import name_of, namespace_of
from orchestrator.kube.store import key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from orchestrator.api.view import RawObject
    from orchestrator.kube.store import Key

_log = logging.getLogger(__name__)


class Intake:
    """Decides which keys are added; the handlers are its attributes.

    Args:
        add: takes a key, such as the queue's ``add``.
        runtimes_in: all ContainerRuntimes of a namespace, or of all for an empty text, as they were last seen.
        classes: the extension classes of this controller.
        mode: what triggers.
        is_news: whether something is to be recorded of an object that nobody asks anything of.

    Attributes:
        runtimes: told of ContainerRuntimes.
        clusters: told of Clusters; what waited for one goes on.
        resources: told of ManagedResources; what waited for the end of one goes on.
    """

    def __init__(
        self,
        add: Callable[[Key], None],
        runtimes_in: Callable[[str], Iterable[RawObject]],
        *,
        classes: Sequence[str] = (),
        mode: TriggerMode = TriggerMode.ANNOTATION,
        is_news: Callable[[ContainerRuntime], bool] = lambda _: False,
    ) -> None:
        self._add = add
        self._runtimes_in = runtimes_in
        self._classes = classes
        self._mode = mode
        self._is_news = is_news
        self._open = threading.Event()
        self.runtimes = _Runtimes(self)
        self.clusters = _Clusters(self)
        self.resources = _Resources(self)

    def open(self) -> None:
        """Begin to take in, with everything there is that is not as it was asked for.

        Where generations trigger that is everything: what was made of it may be other with this controller's settings.
        """
        self._open.set()
        if self._mode is TriggerMode.GENERATION:
            for raw in self._runtimes_in(""):
                if self._read(raw) is not None:
                    self._add(key_of(raw))
        else:
            self.look_at("")

    def close(self) -> None:
        """Take in nothing more."""
        self._open.clear()

    def look_at(self, namespace: str) -> None:
        """Add what is not as it was asked for, in a namespace or in all."""
        for raw in self._runtimes_in(namespace):
            self.first(raw)

    def first(self, raw: RawObject) -> None:
        """An object is there that was not seen before, or may go on now."""
        runtime = self._read(raw)
        if runtime is not None and (seen_first(runtime, self._mode) or self._is_news(runtime)):
            self._add(key_of(raw))

    def update(self, before: RawObject, after: RawObject) -> None:
        """An object has changed."""
        old, new = self._read(before), self._read(after)
        if new is None:
            return
        asks = seen_first(new, self._mode) if old is None else changed(old, new, self._mode)
        if asks or (not seen_first(new, self._mode) and self._is_news(new)):
            self._add(key_of(after))

    def reported(self, resource: str, namespace: str) -> None:
        """A ManagedResource reports something."""
        for raw in self._runtimes_in(namespace):
            runtime = self._read(raw)
            if runtime is not None and resource in {SHARED, pool_name(runtime)} and self._is_news(runtime):
                self._add(key_of(raw))

    def news(self, raw: RawObject) -> None:
        """There is news of an object's nodes.

        It is told where nothing else is to be done; what waits for its back-off, or for its owner, goes on waiting. A
        deletion may go on now.
        """
        runtime = self._read(raw)
        if runtime is None:
            return
        if runtime.deleting or (not seen_first(runtime, self._mode) and self._is_news(runtime)):
            self._add(key_of(raw))

    def _read(self, raw: RawObject) -> ContainerRuntime | None:
        """The view on an object that is this controller's, while it takes in."""
        if not self._open.is_set():
            return None
        try:
            runtime = ContainerRuntime.read(raw)
        except InvalidInputError as error:
            _log.error("an object cannot be read, and is left alone: %s", error.line)
            return None
        return None if is_ours(runtime, self._classes) else runtime


class _Runtimes:
    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def added(self, raw: RawObject) -> None:
        self._intake.first(raw)

    def updated(self, before: RawObject, after: RawObject) -> None:
        self._intake.update(before, after)

    def deleted(self, raw: RawObject) -> None:
        """Nobody asks for anything any more."""


class _Clusters:
    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def added(self, raw: RawObject) -> None:
        self._intake.look_at(name_of(raw))

    def updated(self, before: RawObject, after: RawObject) -> None:
        try:
            worth = cluster_changed(Cluster.read(before), Cluster.read(after))
        except InvalidInputError:
            worth = True
        if worth:
            self.added(after)

    def deleted(self, raw: RawObject) -> None:
        """What is in its namespace cannot go on without it."""


class _Resources:
    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def added(self, raw: RawObject) -> None:
        """Somebody here has made it, and what is made of it is not known yet."""

    def updated(self, before: RawObject, after: RawObject) -> None:  # noqa: ARG002 - the handler's signature
        self._intake.reported(name_of(after), namespace_of(after))

    def deleted(self, raw: RawObject) -> None:
        self._intake.look_at(namespace_of(raw))
