"""From a run's result to what the Node says from then on. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from orchestrator.controller.message import abridged
from orchestrator.controller.nodes import mark
from orchestrator.controller.nodes.mark import Action, Failure, Proof

if TYPE_CHECKING:
    from orchestrator.api.merge_patch import Patch
    from orchestrator.api.node import Node
    from orchestrator.controller.nodes.mark import Claim, Gate
    from orchestrator.execution.job_result import JobResult
    from orchestrator.kube.events import EventType

_LONGEST: Final = 900


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is written and told.

    Attributes:
        patch: of the Node.
        event: of the Node: type, reason, message.
        word: for metrics.
    """

    patch: Patch
    event: tuple[EventType, str, str]
    word: str


def outcome(node: Node, claim: Claim, result: JobResult, gate: Gate, now: int) -> Outcome:
    """Make an outcome of a result.

    Args:
        node: as it is now.
        claim: under which the run was started.
        result: of the run.
        gate: of the cluster.
        now: seconds since 1970.
    """
    recorded = replace(claim, recorded=True)
    if claim.action == result.action == "remove" and result.succeeded:
        return Outcome(mark.released(node, gate), ("Normal", "GVisorRemoved", "gVisor is removed"), result.outcome)
    # A fingerprint that was not asked for proves something else, whatever the run says of itself.
    if claim.action == Action.APPLY and result.proves and result.fingerprint == claim.fingerprint:
        proof = Proof(claim.uid, claim.fingerprint, result.release, result.generation or 0, now)
        text = f"gVisor {result.release} is proved, generation {proof.generation}"
        return Outcome(mark.proved(node, recorded, proof, gate), ("Normal", "GVisorProved", text), result.outcome)
    failure = Failure(
        uid=claim.uid,
        action=claim.action,
        fingerprint=claim.fingerprint,
        attempts=claim.attempt + 1,
        outcome=result.outcome,
        step=result.step,
        message=abridged(_message(result), _LONGEST),
        pods=result.pods,
        at=now,
    )
    where = f"[{failure.step}] " if failure.step else ""
    reason = "GVisorRefused" if result.outcome == "refused" else "GVisorFailed"
    event: tuple[EventType, str, str] = ("Warning", reason, f"{claim.action}: {where}{failure.message}")
    return Outcome(
        mark.failed(node, recorded, failure, gate), event, "unproved" if result.succeeded else result.outcome
    )


def _message(result: JobResult) -> str:
    if result.succeeded:
        return "the run ended well, and proved something else than it was for"
    pods = f" ({result.pods_total} pods: {', '.join(result.pods)})" if result.pods else ""
    text = f"{result.message}{pods}"
    text += f": {result.cause}" if result.cause else ""
    return f"{text}. To do: {result.remedy}" if result.remedy else text
