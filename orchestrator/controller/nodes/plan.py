"""Which node of a pool needs what now. Pure: the pool, its Nodes, the runs that are known and the time are arguments.

One node at a time is changed, new ones first: a pod may be waiting for them. Nodes that are proved and want something
else follow one another until one of them fails; the others then stay as they are until that one has succeeded. A
removal has three minutes in all, and is done on several nodes at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from orchestrator.controller.nodes.mark import Action, Failure, Marks, read
from orchestrator.execution.job_result import JobResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from orchestrator.api.node import Node
    from orchestrator.controller.nodes.mark import Claim
    from orchestrator.controller.nodes.run import Run

REMOVALS: Final = 10
"""Nodes from which gVisor is removed at once."""
_GRACE: Final = 60.0
"""Seconds that a run may take to begin, and to end after its deadline."""
_FIRST_PAUSE: Final = 10.0
_LONGEST_PAUSE: Final = 600.0


_BEGINS: Final = "it begins"
_ENDS: Final = "its result is being recorded"
PASSING: Final = frozenset({_BEGINS, _ENDS})
"""What is said of a node and is over with the next look."""


class State(StrEnum):
    """How a node is, for people."""

    READY = "Ready"
    """gVisor is proved, as it is wanted."""
    PENDING = "Pending"
    """Its turn has not come."""
    RUNNING = "Running"
    """A run is at work."""
    FAILED = "Failed"
    """The last run failed; another follows."""
    UNREADY = "NodeNotReady"
    """Its kubelet is not ready, so nothing can run there."""
    FOREIGN = "ClaimedByOther"
    """Another ContainerRuntime selects it too, and was first."""
    REMOVING = "Removing"
    """gVisor is being taken away."""


@dataclass(frozen=True, slots=True)
class Pool:
    """What is wanted of a pool.

    Attributes:
        owner: the ContainerRuntime, as namespace/name.
        fingerprint: of what every node shall be; empty if nobody wants gVisor any more.
        timeout: seconds that a run may take.
    """

    owner: str
    fingerprint: str
    timeout: float


@dataclass(frozen=True, slots=True)
class NodeState:
    """How one node is.

    Attributes:
        node: the Node.
        marks: what it carries.
        state: how it is.
        why: what there is to say to that; empty for nothing.
    """

    node: Node
    marks: Marks
    state: State
    why: str = ""


@dataclass(frozen=True, slots=True)
class Start:
    """A run is to begin."""

    node: Node
    action: Action
    attempt: int


@dataclass(frozen=True, slots=True)
class Record:
    """A run has ended, and the Node does not say so yet."""

    node: Node
    claim: Claim
    result: JobResult
    stop: bool = False
    """Whether the run itself has to be ended: nobody waits for it any longer."""


@dataclass(frozen=True, slots=True)
class Release:
    """The marks are to go: nothing of ours is on the node, or it was only about to be touched."""

    node: Node


@dataclass(frozen=True, slots=True)
class Stop:
    """A run is to be ended that is for no Node of now."""

    name: str


type Deed = Start | Record | Release | Stop


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """What is to be done, and how the nodes are.

    Attributes:
        deeds: in their order.
        states: of the pool's nodes, by name.
        again: seconds after which it is to be looked at again, if nothing happens before; None for never.
    """

    deeds: tuple[Deed, ...]
    states: tuple[NodeState, ...]
    again: float | None = None


def plan(
    pool: Pool,
    selected: Iterable[Node],
    others: Iterable[Node],
    runs: Mapping[str, Run],
    now: float,
    *,
    claims_elsewhere: Callable[[str], bool] = lambda _: False,
) -> PoolPlan:
    """Decide.

    Args:
        pool: what is wanted.
        selected: the Nodes of the pool.
        others: all other Nodes that carry a claim of it.
        runs: those that are known, by name; for every claim of which nothing is recorded it was looked for.
        now: seconds since 1970.
        claims_elsewhere: whether this owner still has a say, for Nodes that another one has claimed.
    """
    planner = _Planner(pool, now, runs, claims_elsewhere)
    wanted = sorted(selected, key=lambda one: one.name)
    unwanted = sorted(others, key=lambda one: one.name)
    if not pool.fingerprint:
        wanted, unwanted = [], sorted((*wanted, *unwanted), key=lambda one: one.name)
    for node in wanted:
        planner.keep(node)
    for node in unwanted:
        planner.take_away(node)
    return planner.finish({one.metadata.uid for one in (*wanted, *unwanted)})


def pause(attempts: int) -> float:
    """Seconds between the failure of so many runs and the next one."""
    return min(_FIRST_PAUSE * 2.0 ** min(attempts - 1, 20), _LONGEST_PAUSE)


class _Planner:
    def __init__(
        self, pool: Pool, now: float, runs: Mapping[str, Run], claims_elsewhere: Callable[[str], bool]
    ) -> None:
        self._pool = pool
        self._now = now
        self._runs = runs
        self._claims_elsewhere = claims_elsewhere
        self._deeds: list[Deed] = []
        self._states: list[NodeState] = []
        self._again: list[float] = []
        self._active = 0
        self._candidates: list[tuple[NodeState, Action, int]] = []

    def keep(self, node: Node) -> None:
        """A node on which gVisor is wanted."""
        marks = read(node)
        if self._foreign(node, marks) or self._in_work(node, marks, State.RUNNING):
            return
        proof, failure = marks.proof, self._relevant(marks.failure, Action.APPLY)
        if proof is not None and proof.fingerprint == self._pool.fingerprint:
            self._add(node, marks, State.READY)
            return
        state = NodeState(node, marks, State.PENDING)
        self._turn(state, Action.APPLY, failure)

    def take_away(self, node: Node) -> None:
        """A node on which it is not."""
        marks = read(node)
        if marks.claim is None:
            if marks.proof is None and not marks.ready:
                return
            # Somebody has removed the claim. What the proof speaks of may well be there.
        elif marks.claim.pool != self._pool.owner:
            return
        elif not marks.claim.run:
            self._deeds.append(Release(node))
            return
        if self._in_work(node, marks, State.REMOVING):
            return
        self._turn(NodeState(node, marks, State.REMOVING), Action.REMOVE, self._relevant(marks.failure, Action.REMOVE))

    def finish(self, uids: set[str]) -> PoolPlan:
        """Choose whose turn it is."""
        ended = [Stop(one.name) for one in self._runs.values() if one.uid not in uids]
        room = (REMOVALS if not self._pool.fingerprint else 1) - self._active
        changing_failed = any(
            state.marks.proof is not None and self._relevant(state.marks.failure, Action.APPLY)
            for state in self._states
        )
        for state, action, attempt in sorted(self._candidates, key=_order):
            changes = action is Action.APPLY and state.marks.proof is not None
            held = changes and changing_failed and not attempt
            if room > 0 and not held:
                room -= 1
                self._deeds.append(Start(state.node, action, attempt))
                self._states.append(replace(state, state=_RUNS[action], why=_BEGINS))
            else:
                why = "another node failed at the same change first" if held else "another node comes first"
                self._states.append(replace(state, why=state.why or why))
        states = tuple(sorted(self._states, key=lambda one: one.node.name))
        return PoolPlan((*self._deeds, *ended), states, min(self._again, default=None))

    def _foreign(self, node: Node, marks: Marks) -> bool:
        claim = marks.claim
        if claim is None or claim.pool == self._pool.owner or not self._claims_elsewhere(claim.pool):
            return False
        self._add(node, marks, State.FOREIGN, f"the ContainerRuntime {claim.pool} selects it too")
        return True

    def _in_work(self, node: Node, marks: Marks, state: State) -> bool:
        """Whether a run is at work, or has ended and has to be recorded first."""
        claim = marks.claim
        if claim is None or not claim.run or claim.recorded:
            return False
        run = self._runs.get(claim.run)
        if run is None:
            return False  # killed between the claim and the run, or cleared away: it is begun anew
        if run.result is not None:
            self._deeds.append(Record(node, claim, run.result))
        elif run.waits and self._passed(claim.at + _GRACE):
            self._deeds.append(Record(node, claim, _lost(claim, "the run could not begin", run.waits), stop=True))
        elif self._passed(claim.at + self._pool.timeout + _GRACE):
            why = f"there was no result after {self._pool.timeout + _GRACE:.0f} s"
            self._deeds.append(Record(node, claim, _lost(claim, "the run did not end", why), stop=True))
        else:
            self._active += 1
            self._add(node, marks, state, run.waits)
            return True
        self._again.append(0.0)
        self._add(node, marks, state, _ENDS)
        return True

    def _turn(self, state: NodeState, action: Action, failure: Failure | None) -> None:
        if not state.node.ready:
            why = "its kubelet is not ready"
            self._states.append(replace(state, state=State.UNREADY, why=why))
            return
        if failure is None:
            self._candidates.append((state, action, 0))
            return
        failing = replace(state, state=State.FAILED, why=failure.message)
        if self._passed(failure.at + pause(failure.attempts)):
            self._candidates.append((failing, action, failure.attempts))
        else:
            self._states.append(failing)

    def _relevant(self, failure: Failure | None, action: Action) -> Failure | None:
        """The failure, if it is about what is wanted now."""
        wanted = self._pool.fingerprint if action is Action.APPLY else ""
        same = failure is not None and failure.action == action and failure.fingerprint == wanted
        return failure if same else None

    def _passed(self, moment: float) -> bool:
        left = moment - self._now
        if left > 0:
            self._again.append(left)
        return left <= 0

    def _add(self, node: Node, marks: Marks, state: State, why: str = "") -> None:
        self._states.append(NodeState(node, marks, state, why))


_RUNS: Final = {Action.APPLY: State.RUNNING, Action.REMOVE: State.REMOVING}


def _order(candidate: tuple[NodeState, Action, int]) -> tuple[bool, bool, str]:
    """Those that have not failed come first, among them new nodes."""
    state, _, attempt = candidate
    return attempt > 0, state.marks.proof is not None, state.node.name


def _lost(claim: Claim, message: str, cause: str) -> JobResult:
    """The result of a run that says nothing itself."""
    return JobResult(
        action="remove" if claim.action == Action.REMOVE else "apply",
        outcome="unknown",
        message=message,
        cause=cause,
        remedy="look at the Job and its pod in kube-system; another run follows",
    )
