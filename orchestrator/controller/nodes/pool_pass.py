"""One pass over the nodes of one pool: look, plan, do.

Every deed begins with a patch of the Node that is locked to what was looked at, so of two controllers, or of a pass on
old news, one fails and looks again. The claim is written before its run begins: whoever is killed in between leaves a
claim without a run, which is begun anew.
"""

from __future__ import annotations

import logging
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.controller.kinds import NODES, PODS
from orchestrator.controller.nodes import mark
from orchestrator.controller.nodes.mark import Action, Claim
from orchestrator.controller.nodes.outcome import outcome
from orchestrator.controller.nodes.plan import NodeState, Pool, PoolPlan, Record, Release, Start, State, Stop, plan
from orchestrator.controller.nodes.run import Order
from orchestrator.controller.pool_inventory import selects
from orchestrator.controller.pool_objects import NAMESPACE, wish_name, wished_variables
from orchestrator.gvisor.releases import DEFAULT_RELEASE
from orchestrator.kube.api_error import AbsentError
from orchestrator.kube.client import Selection
from orchestrator.planning.desired import read_variables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from orchestrator.api.container_runtime import ContainerRuntime
    from orchestrator.api.merge_patch import Patch
    from orchestrator.api.node import Node
    from orchestrator.api.view import RawObject
    from orchestrator.controller.nodes.mark import Gate
    from orchestrator.controller.nodes.run import Executor, Run
    from orchestrator.controller.nodes.target import Target

_log = logging.getLogger(__name__)

_UPSTREAM: Final = "app.kubernetes.io/name=containerd-gvisor"
"""The pods of the upstream extension's DaemonSets (v0.45.0, ``charts/internal/gvisor-installation``)."""
_UPSTREAM_PAUSE: Final = 5.0


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """What holds for all pools.

    Attributes:
        standalone: whether this is a cluster without Gardener.
        gate: what keeps pods off a node.
        timeout: seconds that a run may take.
    """

    standalone: bool
    gate: Gate
    timeout: float


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

    def keep(self, runtime: ContainerRuntime) -> Told:
        """Bring every node of a pool what is wanted of it, one step further.

        Raises:
            InvalidInputError: what is wanted cannot be read.
            ApiError: the cluster refuses or does not answer; look again.
        """
        wish = self._target.wish((NAMESPACE, wish_name(runtime.spec.worker_pool.name)))
        if wish is None:
            nodes = [one for one in self._target.nodes() if self._selects(runtime, one)]
            why = "what it shall be has not been delivered yet"
            return Told(tuple(NodeState(one, mark.read(one), State.PENDING, why) for one in nodes))
        variables = wished_variables(wish)
        desired, _ = read_variables(variables, DEFAULT_RELEASE)
        return self._pass(runtime, desired.fingerprint, variables)

    def take_away(self, runtime: ContainerRuntime) -> Told:
        """Remove everything of ours from the nodes of a pool, one step further; raises as :meth:`keep`."""
        return self._pass(runtime, "", {})

    def clear(self, runtime: ContainerRuntime) -> None:
        """Remove what is left of the pool's runs."""
        for run in self._executor.runs(runtime.spec.worker_pool.name):
            self._executor.stop(run.name)

    def _pass(self, runtime: ContainerRuntime, fingerprint: str, variables: Mapping[str, Any]) -> Told:
        owner = f"{runtime.namespace}/{runtime.name}"
        nodes = [one for one in self._target.nodes() if not one.deleting]
        selected = [one for one in nodes if self._selects(runtime, one)]
        others = [one for one in nodes if not self._selects(runtime, one) and _claimant(one) == owner]
        pool = Pool(owner, fingerprint, self._settings.timeout)
        planned = plan(
            pool,
            selected,
            others,
            self._runs(runtime, [*selected, *others]),
            self._now(),
            claims_elsewhere=self._owns,
        )
        return self._carry_out(runtime, pool, planned, variables)

    def _selects(self, runtime: ContainerRuntime, node: Node) -> bool:
        return selects(runtime, node, standalone=self._settings.standalone)

    def _runs(self, runtime: ContainerRuntime, nodes: list[Node]) -> dict[str, Run]:
        runs = {one.name: one for one in self._executor.runs(runtime.spec.worker_pool.name)}
        for node in nodes:
            claim = mark.read(node).claim
            if claim is None or not claim.run or claim.recorded:
                continue
            known = runs.get(claim.run)
            if known is None or known.silent:
                found = self._executor.find(claim.run)
                if found is not None:
                    runs[claim.run] = found
        return runs

    def _carry_out(
        self, runtime: ContainerRuntime, pool: Pool, planned: PoolPlan, variables: Mapping[str, Any]
    ) -> Told:
        states = {one.node.name: one for one in planned.states}
        again = planned.again
        for deed in planned.deeds:
            match deed:
                case Stop(name):
                    _log.info("the run %s is for no node of now, it is ended", name)
                    self._executor.stop(name)
                case Release(node):
                    self._patch(node, mark.released(node, self._settings.gate))
                case Record():
                    self._record(deed)
                case Start():
                    if self._upstream_runs(deed):
                        node = deed.node
                        why = "the upstream extension's pod still runs there"
                        states[node.name] = NodeState(node, mark.read(node), State.PENDING, why)
                        again = _UPSTREAM_PAUSE if again is None else min(again, _UPSTREAM_PAUSE)
                    else:
                        self._start(runtime, pool, deed, variables)
        return Told(tuple(states[name] for name in sorted(states)), again, pool.fingerprint)

    def _start(self, runtime: ContainerRuntime, pool: Pool, start: Start, variables: Mapping[str, Any]) -> None:
        node, now = start.node, int(self._now())
        removes = start.action is Action.REMOVE
        name = f"gvisor-nodes-{start.action.value}-{secrets.token_hex(6)}"
        fingerprint = "" if removes else pool.fingerprint
        claim = Claim(
            uid=node.metadata.uid,
            pool=pool.owner,
            run=name,
            action=start.action.value,
            fingerprint=fingerprint,
            attempt=start.attempt,
            at=now,
        )
        self._patch(node, mark.claimed(node, claim, self._settings.gate))
        order = Order(
            name=name,
            pool=runtime.spec.worker_pool.name,
            node=node.name,
            uid=node.metadata.uid,
            address=node.address,
            action=start.action,
            fingerprint=fingerprint,
            variables={"runsc_directory": runtime.spec.binary_path} if removes else variables,
        )
        self._executor.start(order)
        _log.info("node %s: %s begins as %s", node.name, start.action.value, name)

    def _record(self, record: Record) -> None:
        node, claim = record.node, record.claim
        made = outcome(node, claim, record.result, self._settings.gate, int(self._now()))
        if self._patch(node, made.patch) is None:
            return
        kind, reason, message = made.event
        _log.log(logging.INFO if kind == "Normal" else logging.WARNING, "node %s: %s", node.name, message)
        self._target.recorder.record(node.raw, kind, reason, message)
        if self._ended is not None:
            self._ended(claim.action, made.word, max(self._now() - claim.at, 0.0))
        if record.stop:
            self._executor.stop(claim.run)

    def _patch(self, node: Node, patch: Patch) -> RawObject | None:
        """Patch the Node that was looked at; None if it is gone, which is nobody's failure."""
        try:
            return self._target.client.patch(NODES, node.name, patch)
        except AbsentError:
            return None

    def _upstream_runs(self, start: Start) -> bool:
        """Whether the upstream extension is still at work on a node that is new to us: it would undo what we do."""
        if start.action is Action.REMOVE or mark.read(start.node).proof is not None:
            return False
        there = Selection(NAMESPACE, labels=_UPSTREAM, fields=f"spec.nodeName={start.node.name}")
        return any(page.items for page in self._target.client.pages(PODS, there))


def _claimant(node: Node) -> str:
    claim = mark.read(node).claim
    return claim.pool if claim is not None else ""
