"""What people see of a pool's nodes in its ContainerRuntime: two conditions, and ``status.providerStatus``. Pure.

Gardener looks at ``SystemComponentsHealthy`` alone, copies it to the Shoot, and takes codes for orders: one that is not
retryable would stop the whole Shoot because of one node, so no node ever gets one. ``GVisorNodesReady`` is for whoever
looks at the object. Each change of a word is a write, so no text here holds a time that passes; and a node whose last
run failed counts as failed while it is tried again, else the Shoot would be well and ill in turns.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from orchestrator.api.merge_patch import difference
from orchestrator.api.timestamp import rfc3339
from orchestrator.controller import conditions
from orchestrator.controller.conditions import Observation, or_hibernated
from orchestrator.controller.error_codes import Code
from orchestrator.controller.health import CONDITION as HEALTH
from orchestrator.controller.message import abridged, enumerated
from orchestrator.controller.nodes.mark import Action
from orchestrator.controller.nodes.plan import PASSING, State
from orchestrator.execution.job_result import plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orchestrator.api.cluster import Cluster
    from orchestrator.api.container_runtime import ContainerRuntime
    from orchestrator.api.merge_patch import Patch
    from orchestrator.api.view import RawObject
    from orchestrator.controller.nodes.mark import Failure
    from orchestrator.controller.nodes.plan import NodeState

CONDITION: Final = "GVisorNodesReady"
"""A type of our own; gardenlet passes over it."""
API_VERSION: Final = "status.gvisor-nodes/v1alpha1"
KIND: Final = "GVisorNodes"
NODES: Final = 50
"""Nodes that ``providerStatus`` names at most."""
LARGEST: Final = 32 * 1024
"""Bytes of ``providerStatus`` at most; an object may have a megabyte and a half, and is sent with every change."""
GPU_STEP: Final = "nvproxy"
"""The step that compares a node's GPU driver with what the release supports."""

_SAID: Final = 400  # characters of what a condition says of one node
_MESSAGE: Final = 600  # characters of what providerStatus says of one node
_SHORT: Final = 100
_NAMED: Final = {
    State.RUNNING: "running",
    State.UNREADY: "not ready",
    State.FOREIGN: "claimed by another ContainerRuntime",
    State.PENDING: "pending",
}
"""What is said in a condition of nodes that are neither proved nor failed."""
_FIRST: Final = (State.FAILED, State.RUNNING, State.REMOVING, State.UNREADY, State.FOREIGN, State.PENDING, State.READY)


@dataclass(frozen=True, slots=True)
class Report:
    """What is to be recorded.

    Attributes:
        observations: conditions, each type once.
        provider_status: the whole of it; None to leave what is there, an empty one to remove it.
    """

    observations: tuple[Observation, ...] = ()
    provider_status: RawObject | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """How a pool's nodes are.

    Attributes:
        states: of its nodes.
        fingerprint: of what they shall be; empty if that is not known.
    """

    states: Sequence[NodeState]
    fingerprint: str = ""


def report(
    runtime: ContainerRuntime,
    cluster: Cluster,
    pool: Seen | None,
    health: Observation | None,
    *,
    standalone: bool = False,
    attended: bool = True,
) -> Report:
    """Say what there is to say of an object.

    Args:
        runtime: the object.
        cluster: the Shoot's; an empty one without Gardener.
        pool: its nodes; None if nothing is known of them.
        health: what its ManagedResources say; None for nothing new.
        standalone: whether this is a cluster without Gardener, where nobody asks for more than our own condition.
        attended: whether anybody looks after nodes.
    """
    healthy = (health,) if health is not None else ()
    if not attended or cluster.shoot.hibernating:
        nobody = Observation(CONDITION, "Unknown", "Unattended", "nobody looks after the nodes: nodes.executor is none")
        said = [one for one in (runtime.raw.get("status") or {}).get("conditions") or [] if one["type"] == CONDITION]
        return Report((*healthy, *([or_hibernated(nobody, cluster)] if said else ())), {})
    if pool is None:
        return Report(healthy)
    if not standalone and (told := with_nodes(health, pool)) is not None:
        healthy = (told,)
    return Report((*healthy, nodes_ready(pool)), provider_status(pool))


def recorded(runtime: ContainerRuntime, said: Report, now: datetime) -> Patch:
    """The status patch that records a report; empty for nothing new, or if nobody wants to know any more."""
    if conditions.leaves(runtime):
        return {}
    patch = conditions.observed(runtime, said.observations, now)
    if said.provider_status is None:
        return patch
    before = (runtime.raw.get("status") or {}).get("providerStatus")
    if said.provider_status == (before or {}):
        return patch
    changed = difference(before or {}, said.provider_status) if said.provider_status else None
    return {"status": {**patch.get("status", {}), "providerStatus": changed}}


def nodes_ready(pool: Seen) -> Observation:
    """Whether gVisor is proved on all nodes of a pool, and on which it is not."""
    ours = [one for one in pool.states if _is_wanted(one)]
    ready = sum(one.state is State.READY for one in ours)
    ill = _complaints(pool)
    text = "; ".join((f"{ready} of {len(ours)} nodes: gVisor is proved", *_under_way(pool, ill)))
    if ill:
        codes = _codes(failure for _, failure in ill)
        return Observation(CONDITION, "False", "NodesFailed", f"{text}; {_told(ill)}", codes)
    if not ours:
        return Observation(CONDITION, "True", "NoNodes", text)
    if ready == len(ours):
        return Observation(CONDITION, "True", "AllNodesReady", text)
    return Observation(CONDITION, "Progressing", "NodesProgressing", text)


def with_nodes(health: Observation | None, pool: Seen) -> Observation | None:
    """What the ManagedResources say, and what failed on nodes; nodes that are under way are no complaint.

    Args:
        health: of :mod:`orchestrator.controller.health`.
        pool: the nodes.
    """
    ill = _complaints(pool)
    if not ill:
        return health
    texts = [health.message] if health is not None and health.status == "False" else []
    text = "; ".join([*texts, f"gVisor on {len(ill)} of {len(pool.states)} nodes failed: {_told(ill)}"])
    return Observation(HEALTH, "False", "HealthCheckUnsuccessful", text, _codes(failure for _, failure in ill))


def provider_status(pool: Seen) -> RawObject:
    """How the nodes are, for programs; never larger than :data:`LARGEST`."""
    ours = [one for one in pool.states if _is_wanted(one)]
    counts = Counter(one.state for one in pool.states)
    document: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "fingerprint": abridged(pool.fingerprint, _SHORT),
        "nodesTotal": len(ours),
        "nodesReady": counts[State.READY],
        "states": {state.value: counts[state] for state in State if counts[state]},
        "nodes": [],
        "nodesLeftOut": len(pool.states),
    }
    size = _size(document)
    for state in sorted(pool.states, key=lambda one: (_FIRST.index(one.state), one.node.name))[:NODES]:
        entry = described(state)
        size += _size(entry) + 2
        if size > LARGEST:
            break
        document["nodes"].append(entry)
        document["nodesLeftOut"] -= 1
    return document


def described(state: NodeState) -> dict[str, Any]:
    """One node; what is not known of it is not there."""
    marks = state.marks
    proof, failure = marks.proof, _failure(state)
    moment = _since(state)
    fields = {
        "name": state.node.name,
        "state": state.state.value,
        "release": abridged(plain(proof.release), _SHORT) if proof is not None else "",
        "generation": proof.generation if proof is not None else 0,
        "step": abridged(plain(failure.step), _SHORT) if failure is not None else "",
        "message": _why(state, _MESSAGE),
        "since": _time(moment),
    }
    return {key: value for key, value in fields.items() if value}


def _complaints(pool: Seen) -> list[tuple[NodeState, Failure | None]]:
    """The nodes whose last run failed for what is wanted now, also while it is tried again."""
    found = []
    for one in pool.states:
        failure = one.marks.failure
        wanted = {State.RUNNING: (Action.APPLY, pool.fingerprint), State.REMOVING: (Action.REMOVE, "")}.get(one.state)
        again = failure is not None and (failure.action, failure.fingerprint) == wanted
        if one.state is State.FAILED or again:
            found.append((one, failure))
    return sorted(found, key=lambda pair: pair[0].node.name)


def _told(ill: list[tuple[NodeState, Failure | None]]) -> str:
    return enumerated([_complaint(one, failure) for one, failure in ill])


def _complaint(one: NodeState, failure: Failure | None) -> str:
    # Not `why`: while it is tried again, that is about the run.
    text = abridged(plain(failure.message if failure is not None else one.why), _SAID)
    removal = "removal: " if failure is not None and failure.action == Action.REMOVE else ""
    step = f" [{abridged(plain(failure.step), _SHORT)}]" if failure is not None and failure.step else ""
    return f"{one.node.name}{step}: {removal}{text}"


def _under_way(pool: Seen, ill: list[tuple[NodeState, Failure | None]]) -> list[str]:
    """The nodes that are neither proved nor failed, by what keeps them."""
    failed = {one.node.name for one, _ in ill}
    others = [one for one in pool.states if one.node.name not in failed]
    texts = [f"{len(failed)} failed"] if failed else []
    for state, word in _NAMED.items():
        if there := [one for one in others if one.state is state]:
            names = enumerated([_named(one) for one in there], ", ")
            texts.append(f"{len(there)} {word}" + ("" if state is State.PENDING else f": {names}"))
    if leaving := [one.node.name for one in others if one.state is State.REMOVING]:
        texts.append(f"gVisor is being removed from {enumerated(leaving, ', ')}")
    return texts


def _named(one: NodeState) -> str:
    why = _why(one, _SAID) if one.state is not State.UNREADY else ""
    return f"{one.node.name} ({why})" if why else one.node.name


def _why(state: NodeState, longest: int) -> str:
    """What there is to say of a node; nothing of what is over before anybody can read it."""
    return "" if state.why in PASSING else abridged(plain(state.why), longest)


def _is_wanted(one: NodeState) -> bool:
    """Whether it is of the pool; else it was, and something of ours is still on it."""
    return one.state is not State.REMOVING and not (
        one.state is State.FAILED and one.marks.failure is not None and one.marks.failure.action == Action.REMOVE
    )


def _failure(state: NodeState) -> Failure | None:
    return state.marks.failure if state.state is State.FAILED else None


def _since(state: NodeState) -> int:
    """Since when it is as it is, seconds since 1970; 0 if nobody knows."""
    claim, proof, failure = state.marks.claim, state.marks.proof, state.marks.failure
    match state.state:
        case State.READY:
            return proof.at if proof is not None else 0
        case State.FAILED:
            return failure.at if failure is not None else 0
        case State.RUNNING | State.REMOVING:
            return claim.at if claim is not None and not claim.recorded else 0
        case _:
            return 0


def _time(seconds: int) -> str:
    try:
        return rfc3339(datetime.fromtimestamp(seconds, UTC)) if seconds else ""
    except (OverflowError, ValueError, OSError):  # a stranger's number
        return ""


def _codes(failures: Iterable[Failure | None]) -> tuple[Code, ...]:
    """Drivers are often installed by somebody else after a node has joined: no reason to give up on the Shoot."""
    driver = any(one is not None and (one.step, one.outcome) == (GPU_STEP, "refused") for one in failures)
    return (Code.RETRYABLE_CONFIGURATION_PROBLEM,) if driver else ()


def _size(document: object) -> int:
    """Bytes of JSON at most, in whatever way it is written: Go writes three more characters as six."""
    text = json.dumps(document)
    return len(text) + 5 * sum(map(text.count, "<>&"))
