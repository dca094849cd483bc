"""Which node of a pool needs what now. Pure: the pool, its Nodes, the runs that are known and the time are arguments.

One node at a time is changed, new ones first: a pod may be waiting for them. Nodes that are proved and want something
else follow one another until one of them fails; the others then stay as they are until that one has succeeded. A
removal has three minutes in all, and is done on several nodes at once.

A node has one run at a time: the one that its claim names. Another one that is still under way there, because somebody
took the claim away or because it was given up, is ended, and the node waits until it is gone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from orchestrator.controller.nodes.mark import Action, Gate, gated, labelled, present, read
from orchestrator.execution.job_result import JobResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from orchestrator.api.node import Node
    from orchestrator.controller.nodes.mark import Claim, Failure, Marks
    from orchestrator.controller.nodes.run import Run

REMOVALS: Final = 10
"""Nodes from which gVisor is removed at once."""
_SKEW: Final = 60
"""Seconds; a mark from later than that from now has its time from a wrong clock, or from nobody."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long what is waited for. All in seconds.

    Attributes:
        grace: that a run may take to begin, and to end after its deadline.
        anew: from a claim until its run, of which there is nothing, is begun anew: its controller was killed in
            between, or it is another one that is just about to begin it.
        first: between the first failure and the next run; twice as long each time.
        longest: between any two.
    """

    grace: float = 60.0
    anew: float = 10.0
    first: float = 10.0
    longest: float = 600.0

    def pause(self, attempts: int) -> float:
        """Between the failure of so many runs and the next one."""
        return min(self.first * 2.0 ** min(max(attempts - 1, 0), 20), self.longest)


_BEGINS: Final = "it begins"
ENDS: Final = "its result is being recorded"
_AWAITED: Final = "its run is not there yet"
UNDELIVERED: Final = "what it shall be has not been delivered yet"
PASSING: Final = frozenset({_BEGINS, ENDS, _AWAITED})
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
        gate: what keeps pods off a node.
        pace: how long what is waited for.
    """

    owner: str
    fingerprint: str
    timeout: float
    gate: Gate = Gate()  # noqa: RUF009 - frozen
    pace: Pace = Pace()


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
    run: str = ""
    """Its name, if it was to begin before: whoever was about to begin it then begins the same, not a second one."""


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
    """The marks are to go: they say nothing of this node."""

    node: Node


@dataclass(frozen=True, slots=True)
class Confirm:
    """A proved node is to show it: somebody took a label away, or put a taint back, or its claim's pool is gone."""

    node: Node
    claim: Claim


@dataclass(frozen=True, slots=True)
class Shut:
    """A node shows itself as proved and is not."""

    node: Node


@dataclass(frozen=True, slots=True)
class Stop:
    """A run is to be ended: it is for no Node of now, or not the one that its node is to have."""

    name: str
    node: str
    """The Node's name …"""
    uid: str
    """… and UID, as the run has them: whether it is there is to be asked before a run ends that others have begun."""


type Deed = Start | Record | Release | Confirm | Shut | Stop


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
    rested: Iterable[NodeState] = (),
) -> PoolPlan:
    """Decide.

    Args:
        pool: what is wanted.
        selected: the Nodes of the pool.
        others: all other Nodes that carry a claim of it.
        runs: those that are known, by name; for every claim of which nothing is recorded it was looked for.
        now: seconds since 1970.
        claims_elsewhere: whether this owner still has a say, for Nodes that another one has claimed.
        rested: Nodes of the pool that are in none of both, because they are ready, and nothing about them has changed.
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
    rest = planner.rest(rested)
    return planner.finish(rest | {one.metadata.uid for one in (*wanted, *unwanted)})


class _Planner:
    def __init__(
        self, pool: Pool, now: float, runs: Mapping[str, Run], claims_elsewhere: Callable[[str], bool]
    ) -> None:
        self._pool = pool
        self._now = now
        self._runs = runs
        self._claims_elsewhere = claims_elsewhere
        self._deeds: list[Deed] = []
        self._stops: dict[str, Stop] = {}
        self._states: list[NodeState] = []
        self._again: list[float] = []
        self._active = 0
        self._candidates: list[_Candidate] = []
        self._under_way: dict[str, list[Run]] = {}
        for run in runs.values():
            if run.result is None:
                self._under_way.setdefault(run.uid, []).append(run)

    def keep(self, node: Node) -> None:
        """A node on which gVisor is wanted."""
        marks = read(node)
        if self._foreign(node, marks) or self._in_work(node, marks, State.RUNNING):
            return
        failure = self._relevant(marks.failure, Action.APPLY)
        if self._holds(marks) and failure is None:
            self._show(node, marks)
            self._add(node, marks, State.READY)
        else:
            self._turn(NodeState(node, marks, State.PENDING), Action.APPLY, failure)

    def take_away(self, node: Node) -> None:
        """A node on which it is not."""
        marks = read(node)
        claim = marks.claim
        if claim is not None and claim.pool != self._pool.owner and self._claims_elsewhere(claim.pool):
            return
        if self._in_work(node, marks, State.REMOVING):
            return
        if claim is None and marks.proof is None and marks.failure is None and not marks.ready:
            if present(node):  # what nobody can read, or what is about an earlier Node of the name
                self._deeds.append(Release(node))
                self._add(node, marks, State.REMOVING, "its marks say nothing, they go")
            return
        # Without a claim, which somebody has removed, what the others speak of may well be there.
        self._turn(NodeState(node, marks, State.REMOVING), Action.REMOVE, self._relevant(marks.failure, Action.REMOVE))

    def rest(self, states: Iterable[NodeState]) -> set[str]:
        """Nodes that are as they shall be; return their UIDs."""
        before = len(self._states)
        self._states += states
        return {one.node.metadata.uid for one in self._states[before:]}

    def finish(self, uids: set[str]) -> PoolPlan:
        """Choose whose turn it is."""
        for run in self._runs.values():
            if run.uid not in uids:
                self._stops[run.name] = _stop(run)
        room = (REMOVALS if not self._pool.fingerprint else 1) - self._active
        changing_failed = any(
            state.marks.proof is not None and self._relevant(state.marks.failure, Action.APPLY) is not None
            for state in (*self._states, *(one.state for one in self._candidates))
        )
        for one in sorted(self._candidates, key=_order):
            changes = one.action is Action.APPLY and one.state.marks.proof is not None
            held = changes and changing_failed and not one.attempt
            if room > 0 and not held:
                room -= 1
                self._deeds.append(Start(one.state.node, one.action, one.attempt, self._begun(one)))
                self._states.append(replace(one.state, state=_RUNS[one.action], why=_BEGINS))
            else:
                why = "another node failed at the same change first" if held else "another node comes first"
                self._states.append(replace(one.state, why=one.state.why or why))
        self._deeds += [Shut(one.node) for one in self._states if self._pretends(one)]
        states = tuple(sorted(self._states, key=lambda one: one.node.name))
        return PoolPlan((*self._stops.values(), *self._deeds), states, min(self._again, default=None))

    def _foreign(self, node: Node, marks: Marks) -> bool:
        claim = marks.claim
        if claim is None or claim.pool == self._pool.owner or not self._claims_elsewhere(claim.pool):
            return False
        self._add(node, marks, State.FOREIGN, f"the ContainerRuntime {claim.pool} selects it too")
        return True

    def _holds(self, marks: Marks) -> bool:
        """Whether what is wanted was proved, and by the last run.

        After a run for something else, or where somebody took the claim away, nobody knows how far that came. To prove
        again what is there costs a probe.
        """
        proof, claim = marks.proof, marks.claim
        return (
            proof is not None
            and claim is not None
            and proof.fingerprint == claim.fingerprint == self._pool.fingerprint
            and claim.action == Action.APPLY
            and claim.recorded
        )

    def _show(self, node: Node, marks: Marks) -> None:
        claim = marks.claim
        if claim is not None and (claim.pool != self._pool.owner or not gated(node, self._pool.gate)):
            self._deeds.append(Confirm(node, replace(claim, pool=self._pool.owner)))

    def _pretends(self, one: NodeState) -> bool:
        # What begins, and what is recorded, is written together with the label.
        stays = one.state not in {State.READY, State.FOREIGN} and one.why not in {_BEGINS, ENDS}
        # Without a claim the label may be all that is left to say that there is something to be removed.
        known = one.state is not State.REMOVING or one.marks.claim is not None
        return stays and known and one.marks.proof is None and labelled(one.node, self._pool.gate)

    def _in_work(self, node: Node, marks: Marks, state: State) -> bool:
        """Whether a run is at work, or has ended and has to be recorded first."""
        claim = marks.claim
        if claim is not None and (not claim.run or claim.recorded):
            claim = None
        strays = [one for one in self._under_way.get(node.metadata.uid, ()) if claim is None or one.name != claim.run]
        self._stops |= {one.name: _stop(one) for one in strays}
        run = self._runs.get(claim.run) if claim is not None else None
        if run is not None and run.uid != node.metadata.uid:
            run = None  # whoever wrote this claim names a run of another node
        if claim is None or run is None:
            return self._missing(NodeState(node, marks, state), claim, strays)
        if run.result is not None:
            self._deeds.append(Record(node, claim, run.result))
        elif run.waits and self._passed(claim.at, self._pool.pace.grace):
            self._give_up(node, claim, "the run could not begin", run.waits)
        elif self._passed(claim.at, self._pool.timeout + self._pool.pace.grace):
            late = self._pool.timeout + self._pool.pace.grace
            self._give_up(node, claim, "the run did not end", f"there was no result after {late:.0f} s")
        else:
            self._active += 1
            self._add(node, marks, state, run.waits)
            return True
        self._again.append(0.0)
        self._add(node, marks, state, ENDS)
        return True

    def _missing(self, state: NodeState, claim: Claim | None, strays: list[Run]) -> bool:
        """What holds a node back of whose claimed run, if there is one, nothing is there."""
        if strays:
            failure = self._relevant(state.marks.failure, Action.APPLY if self._keeps(state) else Action.REMOVE)
            if failure is not None:
                self._states.append(replace(state, state=State.FAILED, why=failure.message))
            else:
                waiting = State.PENDING if self._keeps(state) else state.state
                self._states.append(replace(state, state=waiting, why="an earlier run there is being ended"))
            return True
        if claim is not None and not self._passed(claim.at, self._pool.pace.anew):
            self._active += 1
            self._states.append(replace(state, why=_AWAITED))
            return True
        return False

    @staticmethod
    def _keeps(state: NodeState) -> bool:
        return state.state is State.RUNNING

    def _give_up(self, node: Node, claim: Claim, message: str, cause: str) -> None:
        self._active += 1  # until it is really gone
        self._deeds.append(Record(node, claim, lost(claim, message, cause), stop=True))

    def _begun(self, one: _Candidate) -> str:
        """The name under which the run of a candidate was to begin before, if it was."""
        claim = one.state.marks.claim
        return claim.run if claim is not None and not claim.recorded and claim.action == one.action else ""

    def _turn(self, state: NodeState, action: Action, failure: Failure | None) -> None:
        if not state.node.ready:
            why = "its kubelet is not ready"
            self._states.append(replace(state, state=State.UNREADY, why=why))
            return
        if failure is None:
            self._candidates.append(_Candidate(state, action, 0))
            return
        failing = replace(state, state=State.FAILED, why=failure.message)
        if self._passed(failure.at, self._pool.pace.pause(failure.attempts)):
            self._candidates.append(_Candidate(failing, action, max(failure.attempts, 1)))
        else:
            self._states.append(failing)

    def _relevant(self, failure: Failure | None, action: Action) -> Failure | None:
        """The failure, if it is about what is wanted now."""
        wanted = self._pool.fingerprint if action is Action.APPLY else ""
        same = failure is not None and failure.action == action and failure.fingerprint == wanted
        return failure if same else None

    def _passed(self, since: int, seconds: float) -> bool:
        left = since + seconds - self._now
        if left <= 0 or since > self._now + _SKEW:
            return True
        self._again.append(left)
        return False

    def _add(self, node: Node, marks: Marks, state: State, why: str = "") -> None:
        self._states.append(NodeState(node, marks, state, why))


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A node whose turn it may be; ``attempt`` counts the runs for the same thing that have failed."""

    state: NodeState
    action: Action
    attempt: int


_RUNS: Final = {Action.APPLY: State.RUNNING, Action.REMOVE: State.REMOVING}


def _order(candidate: _Candidate) -> tuple[bool, bool, str]:
    """Those that have not failed come first, among them new nodes."""
    return candidate.attempt > 0, candidate.state.marks.proof is not None, candidate.state.node.name


def _stop(run: Run) -> Stop:
    return Stop(run.name, run.node, run.uid)


def lost(claim: Claim, message: str, cause: str) -> JobResult:
    """The result of a run that says nothing itself."""
    return JobResult(
        action="remove" if claim.action == Action.REMOVE else "apply",
        outcome="unknown",
        message=message,
        cause=cause,
        remedy="look at the Job and its pod in kube-system; another run follows",
    )
