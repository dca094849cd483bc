"""How a pool's nodes are, for somebody who looks from outside and changes nothing. Pure.

What a controller would begin now has not begun for an onlooker, who does not know whether one is there.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from orchestrator.controller.nodes import job, mark
from orchestrator.controller.nodes.mark import Action
from orchestrator.controller.nodes.plan import UNDELIVERED, NodeState, Pool, Start, State, plan
from orchestrator.controller.nodes.report import Seen
from orchestrator.controller.pool_inventory import selects
from orchestrator.controller.pool_objects import wished_variables
from orchestrator.gvisor.releases import DEFAULT_RELEASE
from orchestrator.planning.desired import read_variables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orchestrator.api.container_runtime import ContainerRuntime
    from orchestrator.api.node import Node
    from orchestrator.api.view import RawObject

_NO_JOB: Final = "of its run there is no Job: it is done over SSH, or its controller was stopped"


def look_on(
    runtime: ContainerRuntime,
    wish: RawObject | None,
    nodes: Iterable[Node],
    jobs: Iterable[RawObject],
    pods: Iterable[RawObject],
    *,
    now: float,
    standalone: bool,
    owns: Callable[[str], bool],
) -> Seen:
    """Say how a pool's nodes are.

    Args:
        runtime: the object.
        wish: what its nodes shall be, the ConfigMap; None if that has not been delivered.
        nodes: all there are in their cluster.
        jobs: those of this product there.
        pods: theirs.
        now: seconds since 1970.
        standalone: whether this is a cluster without Gardener.
        owns: whether a ContainerRuntime (namespace/name) still has a say.

    Raises:
        InvalidInputError: what is wanted cannot be read.
    """
    there = [one for one in nodes if not one.deleting]
    selected = [one for one in there if selects(runtime, one, standalone=standalone)]
    owner = f"{runtime.namespace}/{runtime.name}"
    if wish is None and not runtime.deleting:
        return Seen([NodeState(one, mark.read(one), State.PENDING, UNDELIVERED) for one in selected])
    wanted = ""
    if wish is not None and not runtime.deleting:
        wanted = read_variables(wished_variables(wish), DEFAULT_RELEASE)[0].fingerprint
    picked = {one.name for one in selected}
    others = [one for one in there if one.name not in picked and mark.claimant(one) == owner]
    # Whether a run takes too long is the controller's to say: it knows how long one may take.
    pool = Pool(owner, wanted, math.inf)
    runs = {one.name: one for one in job.runs(jobs, pods)}
    planned = plan(pool, selected, others, runs, now, claims_elsewhere=owns)
    begun = {one.node.name: one for one in planned.deeds if isinstance(one, Start)}
    return Seen([_not_begun(one, begun.get(one.node.name)) for one in planned.states], wanted)


def _not_begun(state: NodeState, start: Start | None) -> NodeState:
    """The state before a run that nobody has begun."""
    if start is None:
        return state
    if start.run:
        return replace(state, why=_NO_JOB)
    failure = state.marks.failure
    if start.attempt and failure is not None:
        return replace(state, state=State.FAILED, why=failure.message)
    if start.action is Action.REMOVE:
        return replace(state, why="")
    return replace(state, state=State.PENDING, why="")
