"""The node loop: everything that may need a pool's nodes looked at becomes its key, and workers make passes.

It knows of ContainerRuntimes and Clusters what the controller has seen, and opens a target for each Shoot whose nodes
may be touched. Reconciles of ContainerRuntimes never wait for it; a deletion asks it to clear the nodes first, and is
woken when they are cleared or its patience is over.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from orchestrator.api.cluster import Cluster
from orchestrator.api.container_runtime import ContainerRuntime
from orchestrator.controller import log_lines
from orchestrator.controller.message import enumerated
from orchestrator.controller.nodes.idle import idle
from orchestrator.controller.nodes.mark import Action
from orchestrator.controller.nodes.pool_pass import PoolPass
from orchestrator.controller.nodes.report import Seen
from orchestrator.controller.removal import nodes_stay
from orchestrator.errors import GvisorNodesError, InvalidInputError, StillThereError
from orchestrator.kube.api_error import UnauthorizedError, UnavailableError
from orchestrator.kube.backoff import ItemBackoff
from orchestrator.kube.resource import name_of
from orchestrator.kube.store import key_of
from orchestrator.kube.work_queue import WorkQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from orchestrator.api.view import RawObject
    from orchestrator.controller.metrics import Metrics
    from orchestrator.controller.nodes.plan import NodeState, State
    from orchestrator.controller.nodes.pool_pass import NodeSettings
    from orchestrator.controller.nodes.run import Executor
    from orchestrator.controller.nodes.target import Target
    from orchestrator.kube.events import EventType
    from orchestrator.kube.store import Key

_log = logging.getLogger(__name__)

_WORKERS: Final = 5
_LONGEST_BACKOFF: Final = 30.0
_UNSYNCED: Final = 0.2  # seconds until a target that has just been opened is looked at again …
_LONGEST_UNSYNCED: Final = 2.0  # … and until one that does not answer is


@dataclass(frozen=True, slots=True)
class LoopOptions:
    """What the operator decides.

    Attributes:
        settings: what holds for all pools.
        classes: the extension classes of this controller.
        patience: seconds in which a deletion waits for its nodes.
        running_pods: what happens then: ``leave`` goes on without them, ``wait`` waits for as long as it takes.
    """

    settings: NodeSettings
    classes: Sequence[str] = ()
    patience: float = 90.0
    running_pods: Literal["leave", "wait"] = "leave"


@dataclass(slots=True)
class _Release:
    """A deletion that waits for its nodes."""

    uid: str
    since: float
    done: bool = False
    told: bool = False
    """Whether the deletion was told that its patience is over."""
    left: ContainerRuntime | None = None
    """The object, where it goes before its nodes are done: what is under way there is still recorded."""


class NodeLoop:
    """Safe for threads.

    Args:
        runtimes_in: all ContainerRuntimes of a namespace, or of all for an empty text, as they were last seen.
        runtime_of: one of them.
        cluster_of: the Cluster of a namespace, see :class:`~orchestrator.controller.reconciler.Reconciler`.
        site_of: opens the cluster of a namespace's nodes, and says who runs what there; it is told what to call when
            something changes.
        options: what the operator decides.
        wake: called with the key of a ContainerRuntime of whose nodes there is news.
        tell: makes an event of an object: type, reason, message.
        metrics: told what happens.
    """

    def __init__(
        self,
        runtimes_in: Callable[[str], Iterable[RawObject]],
        runtime_of: Callable[[Key], RawObject | None],
        cluster_of: Callable[[str], Cluster | None],
        site_of: Callable[[str, Callable[[], None]], tuple[Target, Executor]],
        options: LoopOptions,
        *,
        wake: Callable[[Key], None],
        tell: Callable[[RawObject, EventType, str, str], None] | None = None,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runtimes_in = runtimes_in
        self._runtime_of = runtime_of
        self._cluster_of = cluster_of
        self._site_of = site_of
        self._options = options
        self._wake = wake
        self._tell = tell
        self._metrics = metrics
        self._clock = clock
        self._lock = threading.Lock()
        self._targets: dict[str, tuple[Target, PoolPass]] = {}
        self._seen: dict[Key, Seen] = {}
        self._releases: dict[Key, _Release] = {}
        self._open = threading.Event()
        self.queue: WorkQueue[Key] = WorkQueue(
            backoff=ItemBackoff(maximum=_LONGEST_BACKOFF), metrics=metrics.queue("nodes") if metrics else None
        )
        self.runtimes = _Runtimes(self)
        self.clusters = _Clusters(self)

    def lead(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set; return when what was under way then is done."""
        workers = [
            threading.Thread(target=self._work, args=(stop,), name=f"nodes-{number}", daemon=True)
            for number in range(_WORKERS)
        ]
        for worker in workers:
            worker.start()
        self._open.set()
        self.look_at("")
        stop.wait()
        self._open.clear()
        self.queue.shut_down()
        for worker in workers:
            worker.join()
        with self._lock:
            targets, self._targets = self._targets, {}
        for target, _ in targets.values():
            target.stop()

    def look_at(self, namespace: str) -> None:
        """Look at all pools of a namespace, or at all there are for an empty text."""
        for raw in self._runtimes_in(namespace):
            self.add(key_of(raw))

    def add(self, key: Key) -> None:
        """Look at a pool."""
        if self._open.is_set():
            self.queue.add(key)

    def seen(self, key: Key) -> Seen | None:
        """How a pool's nodes are; None if nothing is known, or nobody is to be told."""
        with self._lock:
            return self._seen.get(key)

    def states(self, key: Key) -> tuple[NodeState, ...] | None:
        """The same without what is wanted of them."""
        seen = self.seen(key)
        return tuple(seen.states) if seen is not None else None

    def release(self, runtime: ContainerRuntime) -> StillThereError | None:
        """Let gVisor be removed from the pool's nodes; return what has to be gone first, None if nothing is.

        Nodes that are still not done when the patience is over are left as they are, with an event that names them;
        or waited for, where the operator wants that.
        """
        cluster = self._cluster_of(runtime.namespace)
        if cluster is None or nodes_stay(cluster):
            return None
        key = (runtime.namespace, runtime.name)
        with self._lock:
            release = self._releases.get(key)
            if release is None or release.uid != runtime.metadata.uid:
                release = self._releases[key] = _Release(runtime.metadata.uid, self._clock())
            left = release.since + self._options.patience - self._clock()
            seen = self._seen.get(key)
            states = seen.states if seen is not None else ()
        if release.done:
            return None
        if left > 0 or self._options.running_pods == "wait":
            self.add(key)
            return _still_there(runtime, states)
        # From now on they are left alone: what is taken back next is what a removal needs.
        with self._lock:
            release.done = True
            release.left = runtime
        self.add(key)
        named = enumerated([f"{one.node.name} ({_reason(one)})" for one in states], ", ")
        _log.warning("it goes, and gVisor stays on: %s", named or "nodes that nobody could look at")
        if self._tell is not None:
            what = f"these nodes: {named}" if named else "its nodes, which nobody could look at"
            self._tell(runtime.raw, "Warning", "NodesLeft", f"gVisor stays on {what}")
        return None

    def _work(self, stop: threading.Event) -> None:
        while (key := self.queue.get()) is not None:
            try:
                if not stop.is_set():
                    self._look(key)
            finally:
                self.queue.done(key)

    def _look(self, key: Key) -> None:
        with log_lines.reconcile("/".join(key)):
            log_lines.decided("nodes")
            try:
                again = self._pass(key)
            except GvisorNodesError as error:
                _log.warning("its nodes are looked at again: %s", error.line)
                if isinstance(error, UnavailableError | UnauthorizedError):
                    self._reopen(key)
                self.queue.add_rate_limited(key)
                self._mind_patience(key)
                return
            except Exception:  # noqa: BLE001 - whatever it is must not end a worker
                _log.exception("its nodes could not be looked at in a way that nobody foresaw")
                self.queue.add_rate_limited(key)
                self._mind_patience(key)
                return
        self.queue.forget(key)
        if again is not None:
            self.queue.add_after(key, again)
        self._mind_patience(key)

    def _mind_patience(self, key: Key) -> None:
        """Wake the deletion that waits for these nodes when its patience is over, also if nobody can look at them."""
        with self._lock:
            release = self._releases.get(key)
            if release is None or release.done or release.told:
                return
            left = release.since + self._options.patience - self._clock()
            release.told = left <= 0
        if left <= 0:
            self._wake(key)
        else:
            self.queue.add_after(key, left)

    def _pass(self, key: Key) -> float | None:
        raw = self._runtime_of(key)
        runtime = ContainerRuntime.read(raw) if raw is not None else None
        release = self._release(key, runtime)
        why = self._idle(runtime, releasing=release is not None and not release.done)
        if runtime is None or why:
            _log.debug("nothing is done on its nodes: %s", why)
            self._now_known(key, None)
            if release is not None and release.left is not None:
                return self._settle(key, release, release.left)
            self._close_unneeded(key[0])
            return None
        target, passes = self._target(key[0])
        if not target.synced:
            return min(max(target.age / 4, _UNSYNCED), _LONGEST_UNSYNCED)
        if release is not None:
            return self._take_away(key, runtime, release, passes)
        told = passes.keep(runtime)
        self._now_known(key, Seen(told.states, told.fingerprint))
        return told.again

    def _release(self, key: Key, runtime: ContainerRuntime | None) -> _Release | None:
        """The deletion that waits for these nodes, or did."""
        with self._lock:
            release = self._releases.get(key)
            other = release is not None and runtime is not None and runtime.metadata.uid != release.uid
            if release is not None and (other or (runtime is None and release.left is None)):
                del self._releases[key]
                return None
        return release

    def _settle(self, key: Key, release: _Release, left: ContainerRuntime) -> float | None:
        """Record what was under way on the nodes of an object that has gone; then nothing of it is remembered."""
        with self._lock:
            found = self._targets.get(self._place(key[0]))
        if found is not None and (again := found[1].settle(left)) is not None:
            return again
        with self._lock:
            release.left = None
        self.add(key)
        return None

    def _take_away(self, key: Key, runtime: ContainerRuntime, release: _Release, passes: PoolPass) -> float | None:
        told = passes.take_away(runtime)
        self._now_known(key, Seen(told.states, told.fingerprint))
        if not told.states:
            passes.clear(runtime)
            release.done = True
            self._wake(key)
            return None
        return told.again

    def _idle(self, runtime: ContainerRuntime | None, *, releasing: bool) -> str:
        if runtime is None:
            return "it is gone"
        cluster = self._cluster_of(runtime.namespace)
        return idle(runtime, cluster, classes=self._options.classes, releasing=releasing)

    def _now_known(self, key: Key, seen: Seen | None) -> None:
        with self._lock:
            before = self._seen.get(key)
            if seen is None:
                self._seen.pop(key, None)
            else:
                self._seen[key] = seen
            if self._metrics is not None:
                self._metrics.nodes(one.state.value for known in self._seen.values() for one in known.states)
        if _shown(before) != _shown(seen):
            self._wake(key)

    def _target(self, namespace: str) -> tuple[Target, PoolPass]:
        place = self._place(namespace)
        with self._lock:
            found = self._targets.get(place)
        if found is not None:
            return found
        target, executor = self._site_of(namespace, lambda: self.look_at(place))
        passes = PoolPass(
            target,
            executor,
            self._options.settings,
            owns=self._owns,
            ended=self._metrics.run_ended if self._metrics is not None else None,
        )
        with self._lock:
            known = self._targets.setdefault(place, (target, passes))
        if known[0] is not target:  # two pools of one Shoot at once
            target.client.close()
            return known
        target.start()
        return known

    def _place(self, namespace: str) -> str:
        """By what a target is known: without Gardener there is one."""
        return "" if self._options.settings.standalone else namespace

    def _owns(self, owner: str) -> bool:
        namespace, _, name = owner.partition("/")
        raw = self._runtime_of((namespace, name))
        return raw is not None and not (raw.get("metadata") or {}).get("deletionTimestamp")

    def _close_unneeded(self, namespace: str) -> None:
        """Close a Shoot's target when nothing of its pools may be touched any more."""
        if self._options.settings.standalone:
            return
        with self._lock:
            if any(key[0] == namespace and one.left is not None for key, one in self._releases.items()):
                return
        for raw in self._runtimes_in(namespace):
            with self._lock:
                release = self._releases.get(key_of(raw))
            try:
                one = ContainerRuntime.read(raw)
            except InvalidInputError:
                continue
            if not self._idle(one, releasing=release is not None and not release.done):
                return
        self._close(namespace)

    def _reopen(self, key: Key) -> None:
        """The way to a Shoot's API server is read anew: its address or its authority may be another."""
        if not self._options.settings.standalone:
            self._close(key[0])

    def _close(self, namespace: str) -> None:
        with self._lock:
            found = self._targets.pop(namespace, None)
        if found is not None:
            found[0].stop()


def _shown(seen: Seen | None) -> tuple[str, list[tuple[str, State, str]]] | None:
    """What somebody may want to be told of."""
    return None if seen is None else (seen.fingerprint, [(one.node.name, one.state, one.why) for one in seen.states])


def _reason(one: NodeState) -> str:
    """Why gVisor is still on a node: what failed there, also while it is tried again, else what is waited for."""
    failure = one.marks.failure
    if failure is not None and failure.action == Action.REMOVE:
        return failure.message
    return one.why or one.state.value


def _still_there(runtime: ContainerRuntime, states: Sequence[NodeState]) -> StillThereError:
    return StillThereError(
        f"gVisor is still on nodes of the pool {runtime.spec.worker_pool.name}",
        why=enumerated([f"{one.node.name}: {_reason(one)}" for one in states], "; ") or "its nodes are being looked at",
        remedy="delete the pods that use gVisor, or wait",
    )


class _Runtimes:
    """Told of ContainerRuntimes."""

    def __init__(self, loop: NodeLoop) -> None:
        self._loop = loop

    def added(self, raw: RawObject) -> None:
        self._loop.add(key_of(raw))

    def updated(self, before: RawObject, after: RawObject) -> None:
        if _relevant(before) != _relevant(after):
            self._loop.add(key_of(after))

    def deleted(self, raw: RawObject) -> None:
        self._loop.add(key_of(raw))


def _relevant(raw: RawObject) -> tuple[object, ...]:
    """What of a ContainerRuntime decides about its nodes: not our own words in its conditions."""
    metadata, status = raw["metadata"], raw.get("status") or {}
    last = status.get("lastOperation") or {}
    return (
        raw.get("spec"),
        metadata.get("annotations"),
        metadata.get("deletionTimestamp"),
        last.get("type"),
    )


class _Clusters:
    """Told of Clusters."""

    def __init__(self, loop: NodeLoop) -> None:
        self._loop = loop

    def added(self, raw: RawObject) -> None:
        self._loop.look_at(name_of(raw))

    def updated(self, before: RawObject, after: RawObject) -> None:
        if _shoot(before) != _shoot(after):
            self.added(after)

    def deleted(self, raw: RawObject) -> None:
        self.added(raw)


def _shoot(raw: RawObject) -> tuple[bool, ...] | None:
    try:
        shoot = Cluster.read(raw).shoot
    except InvalidInputError:
        return None
    return shoot.failed, shoot.deleting, shoot.hibernating, shoot.ssh_access
