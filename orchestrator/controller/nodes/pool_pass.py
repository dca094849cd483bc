"""One pass over the nodes of one pool: look, plan, do.

Every deed begins with a patch of the Node that is locked to what was looked at, so of two controllers, or of a pass on
old news, one fails and looks again. The claim is written before its run begins: whoever is killed in between leaves a
claim without a run, which is begun anew under the same name.
"""

from __future__ import annotations

import logging
import secrets
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from orchestrator.api.node import Node
from orchestrator.controller.kinds import NODES, PODS
from orchestrator.controller.nodes import mark
from orchestrator.controller.nodes.mark import Action, Claim
from orchestrator.controller.nodes.outcome import outcome
from orchestrator.controller.nodes.plan import (
    ENDS,
    UNDELIVERED,
    Confirm,
    NodeState,
    Pace,
    Pool,
    Record,
    Release,
    Shut,
    Start,
    State,
    Stop,
    lost,
    plan,
)
from orchestrator.controller.nodes.run import Order
from orchestrator.controller.pool_inventory import selects
from orchestrator.controller.pool_objects import NAMESPACE, wish_name, wished_variables
from orchestrator.errors import InvalidInputError, RefusedError
from orchestrator.gvisor.releases import DEFAULT_RELEASE
from orchestrator.kube.api_error import ConflictError
from orchestrator.kube.client import Selection
from orchestrator.planning.desired import read_variables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from orchestrator.api.container_runtime import ContainerRuntime
    from orchestrator.controller.nodes.mark import Gate
    from orchestrator.controller.nodes.plan import Deed, PoolPlan
    from orchestrator.controller.nodes.run import Executor, Run
    from orchestrator.controller.nodes.target import Target

_log = logging.getLogger(__name__)

_UPSTREAM: Final = "app.kubernetes.io/name=containerd-gvisor"
"""The pods of the upstream extension's DaemonSets (v0.45.0, ``charts/internal/gvisor-installation``)."""
_UPSTREAM_PAUSE: Final = 5.0
_SETTLE_PAUSE: Final = 2.0
_CONFLICT_PAUSE: Final = 0.1
"""Seconds; what somebody else has just written to a Node comes by the watch, at once as a rule."""


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What holds for all pools.

    Attributes:
        standalone: whether this is a cluster without Gardener.
        gate: what keeps pods off a node.
        timeout: seconds that a run may take.
        pace: how long what is waited for.
    """

    standalone: bool
    gate: Gate
    timeout: float
    pace: Pace = Pace()  # noqa: RUF009 - frozen


@dataclass(frozen=True, slots=True)
class Told:
    """What was found of a pool.

    Attributes:
        states: of its nodes, by name.
        again: seconds until the next look, if nothing happens before; None for never.
        fingerprint: of what they shall be; empty if that is not known, or nothing.
    """

    states: tuple[NodeState, ...]
    again: float | None = None
    fingerprint: str = ""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a pass is for, and the Nodes of the cluster as it looked at them."""

    runtime: ContainerRuntime
    pool: Pool
    variables: Mapping[str, Any]
    nodes: Sequence[Node]


@dataclass(frozen=True, slots=True)
class _Rest:
    """What the last pass found nothing to be done about: of a thousand nodes all but a few, not to be read each time.

    Nothing is decided by it that would not be decided without.
    """

    spec: object
    pool: Pool
    states: Mapping[str, NodeState]


class PoolPass:
    """Safe for threads as long as no two are at the same pool.

    Args:
        target: the cluster with the nodes.
        executor: runs what is ordered.
        settings: what holds for all pools.
        owns: whether a ContainerRuntime (namespace/name) still has a say.
        ended: told action, word and seconds of each run whose outcome was recorded.
        now: seconds since 1970.
    """

    def __init__(
        self,
        target: Target,
        executor: Executor,
        settings: NodeSettings,
        *,
        owns: Callable[[str], bool],
        ended: Callable[[str, str, float], None] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._target = target
        self._executor = executor
        self._settings = settings
        self._owns = owns
        self._ended = ended
        self._now = now
        self._rest: dict[str, _Rest] = {}

    def keep(self, runtime: ContainerRuntime) -> Told:
        """Bring every node of a pool what is wanted of it, one step further.

        Raises:
            InvalidInputError: what is wanted cannot be read.
            ApiError: the cluster refuses or does not answer; look again.
        """
        wish = self._target.wish((NAMESPACE, wish_name(runtime.spec.worker_pool.name)))
        if wish is None:
            nodes = [one for one in self._target.nodes() if self._selects(runtime, one)]
            return Told(tuple(NodeState(one, mark.read(one), State.PENDING, UNDELIVERED) for one in nodes))
        variables = wished_variables(wish)
        desired, _ = read_variables(variables, DEFAULT_RELEASE)
        return self._pass(runtime, desired.fingerprint, variables)

    def take_away(self, runtime: ContainerRuntime) -> Told:
        """Remove everything of ours from the nodes of a pool, one step further; raises as :meth:`keep`."""
        return self._pass(runtime, "", {})

    def clear(self, runtime: ContainerRuntime) -> None:
        """Remove what is left of the pool's runs."""
        self._rest.pop(_owner(runtime), None)
        for run in self._executor.runs(_owner(runtime)):
            self._executor.stop(run.name)

    def settle(self, runtime: ContainerRuntime) -> float | None:
        """Record the runs of an object that has gone, and begin nothing: what they would need has gone with it.

        Returns:
            Seconds until the next look; None when no run is under way any more, and nothing is left of them.
        """
        owner = _owner(runtime)
        told = self._pass(runtime, "", {}, begins=False)
        under_way = any(one.result is None for one in self._executor.runs(owner))
        if under_way or any(one.why == ENDS for one in told.states):
            return _SETTLE_PAUSE
        self.clear(runtime)
        return None

    def _pass(
        self, runtime: ContainerRuntime, fingerprint: str, variables: Mapping[str, Any], *, begins: bool = True
    ) -> Told:
        owner, settings = _owner(runtime), self._settings
        pool = Pool(owner, fingerprint, settings.timeout, settings.gate, settings.pace)
        known = {one.name: one for one in self._executor.runs(owner)}
        at_rest = self._at_rest(runtime, pool)
        busy = {one.uid for one in known.values() if one.result is None}
        selected: list[Node] = []
        others: list[Node] = []
        rested: list[NodeState] = []
        nodes = self._target.nodes()
        for node in nodes:
            rests = at_rest.get(node.name)
            if rests is not None and rests.node is node and node.metadata.uid not in busy:
                rested.append(rests)
            elif node.deleting:
                continue
            elif self._selects(runtime, node):
                selected.append(node)
            elif mark.claimant(node) == owner:
                others.append(node)
        runs = self._runs(known, [*selected, *others])
        planned = plan(pool, selected, others, runs, self._now(), claims_elsewhere=self._owns, rested=rested)
        if not begins:
            planned = replace(planned, deeds=tuple(one for one in planned.deeds if not isinstance(one, Start)))
        else:
            self._rest[owner] = _Rest(runtime.raw.get("spec"), pool, resting(planned))
        return self._carry_out(planned, _Wanted(runtime, pool, variables, nodes))

    def _at_rest(self, runtime: ContainerRuntime, pool: Pool) -> Mapping[str, NodeState]:
        """The nodes about which nothing was to be done the last time, if the same is wanted of them."""
        rest = self._rest.get(pool.owner)
        same = rest is not None and (rest.pool, rest.spec) == (pool, runtime.raw.get("spec"))
        return rest.states if rest is not None and same else {}

    def _selects(self, runtime: ContainerRuntime, node: Node) -> bool:
        return selects(runtime, node, standalone=self._settings.standalone)

    def _runs(self, runs: dict[str, Run], nodes: list[Node]) -> dict[str, Run]:
        """The runs of claims, asked for where they are if what was seen of them cannot be all."""
        for node in nodes:
            claim = mark.read(node).claim
            if claim is None or not claim.run:
                continue
            known = runs.get(claim.run)
            # One that was recorded has ended, or was given up: if it seems to be under way, its end was not seen yet.
            doubtful = known is not None and known.result is None if claim.recorded else known is None or known.silent
            if doubtful:
                found = self._executor.find(claim.run)
                if found is not None:
                    runs[claim.run] = found
                else:
                    runs.pop(claim.run, None)
        return runs

    def _carry_out(self, planned: PoolPlan, wanted: _Wanted) -> Told:
        """Do what is planned.

        A Node that somebody else has written meanwhile is left for the next look, which follows; the others need not
        wait for it.
        """
        states = {one.node.name: one for one in planned.states}
        again = planned.again
        for deed in planned.deeds:
            try:
                held = self._do(deed, wanted)
            except ConflictError as error:
                _log.info("it is looked at again: %s", error.line)
                again = _sooner(again, _CONFLICT_PAUSE)
                continue
            if held is not None:
                states[held.node.name] = held
                again = _sooner(again, _UPSTREAM_PAUSE)
        return Told(tuple(states[name] for name in sorted(states)), again, wanted.pool.fingerprint)

    def _do(self, deed: Deed, wanted: _Wanted) -> NodeState | None:
        """Do one of it; return how the node is if it cannot be done yet."""
        gate = self._settings.gate
        match deed:
            case Stop() if self._is_old_news(deed, wanted.nodes):
                pass  # another controller has begun it, or had, and the watch will tell
            case Stop(name):
                _log.info("the run %s is for no node of now, or not the one that its node is to have: it ends", name)
                self._executor.stop(name)
            case Release(node):
                self._target.patch(node, mark.released(node, gate))
            case Confirm(node, claim):
                self._target.patch(node, mark.confirmed(node, claim, gate))
            case Shut(node):
                self._target.patch(node, mark.shut(node, gate))
            case Record():
                self._record(deed)
            case Start(node):
                if self._upstream_runs(deed):
                    why = "the upstream extension's pod still runs there"
                    return NodeState(node, mark.read(node), State.PENDING, why)
                self._start(deed, wanted)
        return None

    def _is_old_news(self, stop: Stop, nodes: Sequence[Node]) -> bool:
        """Whether the Node of a run is there, and says another thing of runs than when it was looked at.

        Nodes and runs are watched apart, so a run that another controller has just begun may be seen before the claim
        that names it. Nobody's run ends, and nothing of it is removed, for that.
        """
        raw = self._target.client.find(NODES, stop.node)
        node = Node.read(raw) if raw is not None else None
        if node is None or node.metadata.uid != stop.uid or node.deleting:
            return False
        looked_at = next((one for one in nodes if one.metadata.uid == stop.uid), None)
        return looked_at is None or mark.read(looked_at) != mark.read(node)

    def _start(self, start: Start, wanted: _Wanted) -> None:
        removes = start.action is Action.REMOVE
        fingerprint = "" if removes else wanted.pool.fingerprint
        claim = Claim(
            uid=start.node.metadata.uid,
            pool=wanted.pool.owner,
            run=start.run or f"gvisor-nodes-{start.action.value}-{secrets.token_hex(6)}",
            action=start.action.value,
            fingerprint=fingerprint,
            attempt=start.attempt,
            at=int(self._now()),
        )
        node = self._target.patch(start.node, mark.claimed(start.node, claim, self._settings.gate))
        if node is None:
            return
        order = Order(
            name=claim.run,
            pool=wanted.runtime.spec.worker_pool.name,
            node=node.name,
            uid=claim.uid,
            address=node.address,
            action=start.action,
            fingerprint=fingerprint,
            variables={"runsc_directory": wanted.runtime.spec.binary_path} if removes else wanted.variables,
            owner=wanted.pool.owner,
        )
        try:
            self._executor.start(order)
        except (RefusedError, InvalidInputError) as error:
            self._record(Record(node, claim, lost(claim, "the run could not begin", error.line)))
            return
        _log.info("node %s: %s begins as %s", node.name, start.action.value, claim.run)

    def _record(self, record: Record) -> None:
        node, claim = record.node, record.claim
        made = outcome(node, claim, record.result, self._settings.gate, int(self._now()))
        if self._target.patch(node, made.patch) is None:
            return
        kind, reason, message = made.event
        _log.log(logging.INFO if kind == "Normal" else logging.WARNING, "node %s: %s", node.name, message)
        self._target.recorder.record(node.raw, kind, reason, message)
        if self._ended is not None:
            self._ended(claim.action, made.word, max(self._now() - claim.at, 0.0))
        if record.stop:
            self._executor.stop(claim.run)

    def _upstream_runs(self, start: Start) -> bool:
        """Whether the upstream extension is still at work on a node that is new to us: it would undo what we do."""
        if start.action is Action.REMOVE or mark.read(start.node).proof is not None:
            return False
        there = Selection(NAMESPACE, labels=_UPSTREAM, fields=f"spec.nodeName={start.node.name}")
        return any(page.items for page in self._target.client.pages(PODS, there))


def _owner(runtime: ContainerRuntime) -> str:
    return f"{runtime.namespace}/{runtime.name}"


def resting(planned: PoolPlan) -> dict[str, NodeState]:
    """The nodes that are as they shall be, and of which nothing is to be shown otherwise."""
    shown = {deed.node.name for deed in planned.deeds if isinstance(deed, Confirm)}
    ready = (one for one in planned.states if one.state is State.READY)
    return {one.node.name: one for one in ready if one.node.name not in shown}


def _sooner(again: float | None, seconds: float) -> float:
    return seconds if again is None else min(again, seconds)
