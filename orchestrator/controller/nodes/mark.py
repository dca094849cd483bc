"""What a Node carries of ours: three annotations, a label or two, a taint. Pure.

They are the loop's only memory. The *claim* is written before anything of the node is touched and goes when nothing of
ours is on it any more; it names the run that is at work, so that a controller that was killed finds it again instead of
starting another. The *proof* is written after a run has proved gVisor, the *failure* after one that has not. All three
name the Node's UID: on another Node of the same name they mean nothing.

Whoever may write a Node may write these, its kubelet among them. So they are read as text of strangers, and the worst
that they can say is wrong about their own node.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from orchestrator.api import gardener
from orchestrator.execution.job_result import plain

if TYPE_CHECKING:
    from orchestrator.api.merge_patch import Patch
    from orchestrator.api.node import Node

CLAIM: Final = "gvisor-nodes/claim"
PROOF: Final = "gvisor-nodes/proof"
FAILURE: Final = "gvisor-nodes/failure"
READY: Final = "gvisor-nodes/ready"
"""The label of a Node on which gVisor is proved; its value is ``true``."""
_LONGEST: Final = 1000
"""Characters of a text in a mark; all annotations of an object share 256 KiB."""
_MOST: Final = 100
"""Texts of a list in a mark."""
_LARGEST: Final = 1 << 53
_RUN: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_KNOWN: Final = 8192
"""Texts of which it is remembered what they say: a pass looks at every Node of its cluster, and few have changed."""


class Action(StrEnum):
    """What a run does on a node."""

    APPLY = "apply"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Claim:
    """Something of ours may be on the node.

    Attributes:
        uid: of the Node.
        pool: the ContainerRuntime, as namespace/name.
        run: the run that was started last, a DNS label; empty for none.
        action: what it does.
        fingerprint: of what it brings; empty for a removal.
        attempt: how many runs for the same thing had failed before it.
        at: when it was started, seconds since 1970.
        recorded: whether its outcome is in the other marks.
    """

    uid: str
    pool: str
    run: str = ""
    action: str = ""
    fingerprint: str = ""
    attempt: int = 0
    at: int = 0
    recorded: bool = False


@dataclass(frozen=True, slots=True)
class Proof:
    """gVisor was proved on the node.

    Attributes:
        uid: of the Node.
        fingerprint: of what was proved.
        release: gVisor's.
        generation: the node's own number for the release with its flags.
        at: seconds since 1970.
    """

    uid: str
    fingerprint: str
    release: str = ""
    generation: int = 0
    at: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """The last run did not bring what it was for.

    Attributes:
        uid: of the Node.
        action: what was tried.
        fingerprint: of what it should bring; empty for a removal.
        attempts: how many runs for it have failed in a row.
        outcome: one of :class:`~orchestrator.execution.job_result.JobResult`'s.
        step: in which it failed; empty if that is not known.
        message: what failed, why, and what to do.
        pods: those that use gVisor, where that is the reason; not all if there are many.
        at: seconds since 1970.
    """

    uid: str
    action: str
    fingerprint: str = ""
    attempts: int = 1
    outcome: str = ""
    step: str = ""
    message: str = ""
    pods: tuple[str, ...] = ()
    at: int = 0


@dataclass(frozen=True, slots=True)
class Marks:
    """What a Node carries; None for what it does not, or for another Node of its name."""

    claim: Claim | None = None
    proof: Proof | None = None
    failure: Failure | None = None
    ready: bool = False


@dataclass(frozen=True, slots=True)
class Gate:
    """What keeps pods with gVisor off a node until it is proved.

    Attributes:
        labels: what a proved node gets; they go before a removal begins.
        taint: the key of a taint that goes with the proof; empty for none.
    """

    labels: tuple[str, ...] = (READY,)
    taint: str = ""


def gate(*, standalone: bool, taint: str = "") -> Gate:
    """The gate of a cluster: without Gardener the RuntimeClass asks for the label that gardenlet would set."""
    return Gate((READY, gardener.RUNTIME_LABEL) if standalone else (READY,), taint)


def gated(node: Node, gate: Gate) -> bool:
    """Whether a Node lets pods with gVisor come, as far as the gate goes."""
    open_ = all(node.metadata.labels.get(label) == "true" for label in gate.labels)
    return open_ and not any(one.key == gate.taint for one in node.spec.taints if gate.taint)


def labelled(node: Node, gate: Gate) -> bool:
    """Whether a Node has anything of what only a proved one gets."""
    return any(label in node.metadata.labels for label in gate.labels)


def present(node: Node) -> bool:
    """Whether a Node carries anything in the places of our marks, whatever it says."""
    return READY in node.metadata.labels or any(name in node.metadata.annotations for name in (CLAIM, PROOF, FAILURE))


def read(node: Node) -> Marks:
    """Read a Node's marks."""
    annotations, uid = node.metadata.annotations, node.metadata.uid
    return Marks(
        _read(Claim, annotations.get(CLAIM, ""), uid),
        _read(Proof, annotations.get(PROOF, ""), uid),
        _read(Failure, annotations.get(FAILURE, ""), uid),
        node.metadata.labels.get(READY) == "true",
    )


def claimant(node: Node) -> str:
    """The ContainerRuntime (namespace/name) that has claimed a Node; empty for none."""
    claim = read(node).claim
    return claim.pool if claim is not None else ""


def claimed(node: Node, claim: Claim, gate: Gate) -> Patch:
    """The patch with which a run begins.

    Before a removal nothing new may come, and from its beginning on nothing is proved. A label that somebody gave to a
    node that never was proved goes as well.
    """
    removes = claim.action == Action.REMOVE
    shut = removes or read(node).proof is None
    gone = {PROOF: None} if removes and PROOF in node.metadata.annotations else {}
    return _locked(node, {CLAIM: _written(claim), **gone}, _without(node, gate) if shut else {})


def proved(node: Node, claim: Claim, proof: Proof, gate: Gate) -> Patch:
    """The patch for a run that has proved gVisor."""
    gone = {FAILURE: None} if FAILURE in node.metadata.annotations else {}
    return _opened(node, {CLAIM: _written(claim), PROOF: _written(proof), **gone}, gate)


def confirmed(node: Node, claim: Claim, gate: Gate) -> Patch:
    """The patch for a proved node from which somebody took a part of what says so, or whose claim another one had."""
    return _opened(node, {CLAIM: _written(claim)}, gate)


def failed(node: Node, claim: Claim, failure: Failure, gate: Gate) -> Patch:
    """The patch for a run that has not.

    A node that was proved before keeps its label: its own rollback has put back what was proved. One that was never
    proved has none.
    """
    labels = _without(node, gate) if read(node).proof is None else {}
    return _locked(node, {CLAIM: _written(claim), FAILURE: _written(failure)}, labels)


def shut(node: Node, gate: Gate) -> Patch:
    """The patch for a node that shows itself as proved and is not."""
    return _locked(node, {}, _without(node, gate))


def released(node: Node, gate: Gate) -> Patch:
    """The patch for a node on which nothing of ours is left."""
    there = [name for name in (CLAIM, PROOF, FAILURE) if name in node.metadata.annotations]
    return _locked(node, dict.fromkeys(there), _without(node, gate))


def _opened(node: Node, marks: Mapping[str, str | None], gate: Gate) -> Patch:
    patch = _locked(node, marks, dict.fromkeys(gate.labels, "true"))
    taints = (node.raw.get("spec") or {}).get("taints") or []
    kept = [one for one in taints if one.get("key") != gate.taint]
    return patch | ({"spec": {"taints": kept or None}} if gate.taint and len(kept) < len(taints) else {})


def _without(node: Node, gate: Gate) -> dict[str, str | None]:
    return {label: None for label in gate.labels if label in node.metadata.labels}


def _locked(node: Node, annotations: Mapping[str, str | None], labels: Mapping[str, str | None]) -> Patch:
    """Only on the object that was looked at: the UID guards a Node of the same name, the version what others wrote."""
    metadata: dict[str, Any] = {"uid": node.metadata.uid, "resourceVersion": node.metadata.resource_version}
    if annotations:
        metadata["annotations"] = dict(annotations)
    if labels:
        metadata["labels"] = dict(labels)
    return {"metadata": metadata}


def _written(mark: Claim | Proof | Failure) -> str:
    return json.dumps(asdict(mark), sort_keys=True, separators=(",", ":"))


@lru_cache(maxsize=_KNOWN)
def _read[Mark: (Claim, Proof, Failure)](kind: type[Mark], text: str, uid: str) -> Mark | None:
    if not text or not uid:
        return None
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, Mapping) or document.get("uid") != uid:
        return None
    known = {one.name: _cleaned(one.type, document[one.name]) for one in fields(kind) if one.name in document}
    if None in known.values() or not _RUN.fullmatch(str(known.get("run") or "none")):
        return None
    try:
        return kind(**known | {"uid": uid})
    except TypeError:  # one that is needed is missing
        return None


def _cleaned(kind: object, value: object) -> Any:
    """The value if it has the type that the annotation names, bounded; else None."""
    match kind, value:
        case "str", str():
            return plain(value)[:_LONGEST]
        case "bool", bool():
            return value
        case "int", int() if not isinstance(value, bool) and 0 <= value < _LARGEST:
            return value
        case "tuple[str, ...]", list() if all(isinstance(one, str) for one in value):
            return tuple(plain(one)[:_LONGEST] for one in value[:_MOST])
        case _:
            return None
