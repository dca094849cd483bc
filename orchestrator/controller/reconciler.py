"""One pass over one ContainerRuntime: read it, decide, act, report. Level-based: nothing of earlier passes is needed.

The order of writes is Gardener's contract: ``Processing``, then the order is taken (annotation and finalizer), then the
work, then the outcome, then the finalizer or the annotation. A controller that dies between any two of them finds the
object asking for the rest.

What is remembered is since when something is waited for, so that a deletion that does not come to its end becomes an
error within the time that gardenlet waits, and which objects this process has reconciled. A controller that starts anew
begins to wait anew, and where generations trigger it reconciles everything once.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from orchestrator.api.container_runtime import ContainerRuntime
from orchestrator.api.last_operation import OperationState
from orchestrator.controller import conditions, log_lines, metadata_patch, status
from orchestrator.controller.actuator import act
from orchestrator.controller.delivery import NoNodes
from orchestrator.controller.kinds import CONTAINER_RUNTIMES
from orchestrator.controller.metrics import Result
from orchestrator.controller.nodes.report import recorded
from orchestrator.controller.verb import TriggerMode, Verb, decide
from orchestrator.errors import ConfigurationError, GvisorNodesError, InvalidInputError
from orchestrator.kube.api_error import AbsentError
from orchestrator.kube.change import change

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.api.cluster import Cluster
    from orchestrator.api.last_operation import OperationType
    from orchestrator.api.merge_patch import Patch
    from orchestrator.api.view import RawObject
    from orchestrator.controller.delivery import Delivered, Delivery, Nodes
    from orchestrator.controller.nodes.report import Report
    from orchestrator.controller.verb import Decision
    from orchestrator.errors import StillThereError
    from orchestrator.kube.client import Client
    from orchestrator.kube.events import EventType
    from orchestrator.kube.store import Key

_log = logging.getLogger(__name__)

_LOOK_AGAIN: Final = 30.0  # seconds; a watch tells at once, this is for what it does not show
_STUCK: Final = 300.0  # seconds until what did not go is asked for again, if nothing happens before


@dataclass(frozen=True, slots=True)
class _Task:
    """A decision to do something."""

    key: Key
    verb: Verb
    operation: OperationType
    decision: Decision


@dataclass(frozen=True, slots=True)
class _Waiting:
    """For which object's which verb something is waited for, and since when (seconds)."""

    uid: str
    verb: Verb
    since: float


@dataclass(frozen=True, slots=True)
class Pass:
    """How a pass ended.

    Attributes:
        result: for metrics.
        again: seconds after which the object is to be looked at again; None if something has to happen first.
    """

    result: Result
    again: float | None = None


class Reconciler:
    """Safe for threads as long as no two are at the same key, which is what the work queue sees to.

    Args:
        client: of the cluster where ContainerRuntimes are.
        delivery: how what they want is brought.
        cluster_of: the Cluster of a namespace as it was last seen, None if there is none; an empty one without
            Gardener.
        classes: the extension classes of this controller.
        mode: what triggers.
        patience: seconds that something is waited for before it is an error.
        observe: told verb, result and seconds of each pass that had a verb.
        tell: makes an event of an object: type, reason, message.
        look: finds out how things are of an object that nothing is to be done about.
        nodes: who looks after the nodes of pools; nobody by default.
        clock: seconds that only grow.
        now: the moment.
    """

    def __init__(
        self,
        client: Client,
        delivery: Delivery,
        cluster_of: Callable[[str], Cluster | None],
        *,
        classes: Sequence[str] = (),
        mode: TriggerMode = TriggerMode.ANNOTATION,
        patience: float,
        observe: Callable[[Verb, Result, float], None] | None = None,
        tell: Callable[[RawObject, EventType, str, str], None] | None = None,
        look: Callable[[ContainerRuntime], Report] | None = None,
        nodes: Nodes | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._delivery = delivery
        self._cluster_of = cluster_of
        self._classes = classes
        self._mode = mode
        self._patience = patience
        self._observe = observe
        self._tell = tell
        self._look = look
        self._nodes = nodes or NoNodes()
        self._clock = clock
        self._now = now
        self._waiting: dict[Key, _Waiting] = {}
        self._reconciled: set[str] = set()

    def reconcile(self, key: Key, retries: int = 0) -> Pass:
        """Do one pass.

        Args:
            key: namespace and name of a ContainerRuntime.
            retries: how many passes over it failed before this one.

        Raises:
            GvisorNodesError: it is to be tried again, later each time; the object says so, if it could be written.
            Exception: the same, for what nobody foresaw.
        """
        with log_lines.reconcile("/".join(key)):
            try:
                raw = self._client.get(CONTAINER_RUNTIMES, key[1], key[0])
                return self._pass(key, raw, retries)
            except AbsentError as error:
                # Nobody wants anything any more; if it went during the pass, somebody removed its finalizers.
                _log.debug("it is not there: %s", error.line)
                self._waiting.pop(key, None)
                return Pass(Result.NOTHING)
            except GvisorNodesError as error:
                _log.warning("it failed, and is tried again: %s", error.line)
                raise
            except Exception:
                _log.exception("it failed in a way that nobody foresaw, and is tried again")
                raise

    def _pass(self, key: Key, raw: RawObject, retries: int) -> Pass:
        try:
            runtime = ContainerRuntime.read(raw)
        except InvalidInputError as error:
            _log.error("it cannot be read, and is left alone: %s", error.line)
            return Pass(Result.FAILED)
        decision = self._decide(runtime)
        if decision.verb is None or decision.operation is None:
            _log.debug("nothing to do: %s", decision.reason)
            self._record(self._accept(runtime, decision))
            return Pass(Result.NOTHING)
        begun = self._clock()
        result = Result.FAILED
        try:
            log_lines.decided(decision.verb)
            ended = self._carry_out(runtime, _Task(key, decision.verb, decision.operation, decision), retries)
            result = ended.result
            self._reconciled.add(runtime.metadata.uid)
        finally:
            if self._observe is not None:
                self._observe(decision.verb, result, self._clock() - begun)
        return ended

    def _record(self, runtime: ContainerRuntime) -> None:
        """Record how things are, if that is new. In a pass, and so nobody else here writes the status meanwhile."""

        def make(raw: RawObject) -> Patch:
            one = ContainerRuntime.read(raw)
            said = self._look(one) if self._look is not None else None
            patch = recorded(one, said, self._now()) if said is not None else {}
            return {"metadata": {"resourceVersion": one.metadata.resource_version}, **patch} if patch else {}

        change(self._client, CONTAINER_RUNTIMES, runtime.raw, make, subresource="status")

    def _decide(self, runtime: ContainerRuntime) -> Decision:
        begun = runtime.metadata.uid not in self._reconciled
        cluster = self._cluster_of(runtime.namespace)
        return decide(runtime, cluster, classes=self._classes, mode=self._mode, begun=begun)

    def _carry_out(self, runtime: ContainerRuntime, task: _Task, retries: int) -> Pass:
        runtime = self._begin(runtime, task, retries)
        now = self._decide(runtime)
        if (now.verb, now.operation) != (task.verb, task.operation):
            _log.info("something else is to be done now: %s", now.reason)
            return Pass(Result.WAITING, again=0)
        try:
            delivered = act(task.verb, runtime, self._delivery, self._nodes)
        except Exception as error:
            self._report(runtime, status.failed(runtime, task.operation, error, self._now()))
            if isinstance(error, ConfigurationError):
                _log.warning("its owner has to correct it: %s", error.line)
                return Pass(Result.FAILED)
            raise
        if delivered.waits is not None:
            return self._wait(runtime, task, delivered.waits)
        self._waiting.pop(task.key, None)
        self._finish(runtime, task, delivered)
        return Pass(Result.SUCCEEDED)

    def _begin(self, runtime: ContainerRuntime, task: _Task, retries: int) -> ContainerRuntime:
        """Say that the work begins, and take the order; return the object to work for."""
        if not self._is_told(runtime, task, retries):
            _log.info("it begins: %s", task.decision.reason)
            self._waiting.pop(task.key, None)
            runtime = self._patch_status(runtime, status.processing(task.operation, self._now()))
        return self._accept(runtime, task.decision)

    def _is_told(self, runtime: ContainerRuntime, task: _Task, retries: int) -> bool:
        """Whether the status says already what there is to say of this pass.

        What is waited for goes on where it was. A retry shows the error that it is about until it knows better, so
        that whoever looks finds it; an order is a new try, and is told as one.
        """
        waiting = self._waiting.get(task.key)
        if waiting is not None and (waiting.uid, waiting.verb) == (runtime.metadata.uid, task.verb):
            return True
        last = runtime.status.last_operation
        failed_so = last is not None and last.state == OperationState.ERROR and last.type == task.operation
        return retries > 0 and failed_so and not task.decision.accepts

    def _accept(self, runtime: ContainerRuntime, decision: Decision) -> ContainerRuntime:
        return self._change(runtime, lambda one: metadata_patch.accept(one, decision))

    def _wait(self, runtime: ContainerRuntime, task: _Task, awaited: StillThereError) -> Pass:
        now = self._clock()
        waiting = self._waiting.setdefault(task.key, _Waiting(runtime.metadata.uid, task.verb, now))
        left = waiting.since + self._patience - now
        if left > 0:
            _log.info("it goes on when it can: %s", awaited.what)
            return Pass(Result.WAITING, again=min(left, _LOOK_AGAIN))
        del self._waiting[task.key]
        _log.warning("%s", awaited.line)
        self._report(runtime, status.failed(runtime, task.operation, awaited, self._now()))
        return Pass(Result.FAILED, again=_STUCK)

    def _finish(self, runtime: ContainerRuntime, task: _Task, delivered: Delivered) -> None:
        news = [one for one in delivered.observations if one.status == "False" and conditions.is_news(runtime, one)]
        patch = status.succeeded(runtime, task.operation, self._now(), delivered.observations)
        runtime = self._patch_status(runtime, patch)
        _log.info("it is done")
        for one in news:
            _log.warning("%s: %s", one.reason, one.message)
            if self._tell is not None:
                self._tell(runtime.raw, "Warning", one.reason, one.message)
        match task.verb:
            case Verb.DELETE | Verb.FORCE_DELETE:
                self._change(runtime, metadata_patch.release)
            case Verb.MIGRATE:
                self._change(self._change(runtime, metadata_patch.release_everything), metadata_patch.finish)
            case Verb.RESTORE:
                self._change(runtime, metadata_patch.finish)
            case Verb.RECONCILE:
                pass  # its annotation went when the order was taken

    def _change(self, runtime: ContainerRuntime, make: Callable[[ContainerRuntime], Patch]) -> ContainerRuntime:
        raw = change(self._client, CONTAINER_RUNTIMES, runtime.raw, lambda one: make(ContainerRuntime.read(one)))
        return runtime if raw is runtime.raw else ContainerRuntime.read(raw)

    def _patch_status(self, runtime: ContainerRuntime, patch: Patch) -> ContainerRuntime:
        raw = self._client.patch(CONTAINER_RUNTIMES, runtime.name, patch, runtime.namespace, "status")
        return ContainerRuntime.read(raw)

    def _report(self, runtime: ContainerRuntime, patch: Patch) -> None:
        """Write how it failed; that this fails too is no reason to forget why it is written."""
        try:
            self._patch_status(runtime, patch)
        except GvisorNodesError as error:
            _log.warning("the object cannot be told how it went: %s", error.line)
