"""Going back to a generation that is on the node: which one, and whether it can be. Pure.

The release and the flags of the wish are replaced by those of the generation, so that what is proved and sealed is what
runs, whatever the inventory says. The next ``plan`` then shows the difference to the inventory.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from orchestrator.errors import RefusedError
from orchestrator.planning import generations
from orchestrator.planning.plan import Change, Plan, plan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.planning.desired import DesiredState
    from orchestrator.planning.state import NodeState


@dataclass(frozen=True, slots=True)
class Target:
    """The generation to go to; ``flags`` as its file has them."""

    number: int
    release: str
    flags: tuple[str, ...]

    def as_data(self) -> dict[str, Any]:
        """JSON-ready data, for :func:`read_target`."""
        return {"number": self.number, "release": self.release, "flags": list(self.flags)}


def read_target(data: Mapping[str, Any]) -> Target:
    """What :meth:`Target.as_data` wrote."""
    return Target(int(data["number"]), str(data["release"]), tuple(data["flags"]))


def state_of(desired: DesiredState, target: Target) -> DesiredState:
    """The desired state of a generation: everything as wanted, but its release and its flags."""
    return replace(desired, release=target.release, flags=target.flags, nvproxy="--nvproxy=true" in target.flags)


def choose(state: NodeState, wanted: int) -> Target:
    """The generation to go back to: number ``wanted``, or the previous one where that is 0.

    Raises:
        RefusedError: there is none, or not all of it is on the node.
    """
    if state.journal is None or state.tree.current is None:
        raise RefusedError("gVisor is not installed here", why="nothing is current", remedy="gvisor-nodes apply")
    before = generations.history(state)
    if not wanted and not before:
        raise RefusedError(
            "there is no generation to go back to",
            why=f"generation {state.tree.current} is current, and none that was proved before it was kept",
            remedy="gvisor-nodes apply with the release and flags that are wanted switches in the same way",
        )
    number = str(wanted or before[0])
    found = state.tree.generations.get(number)
    if found is None or not generations.is_whole(found):
        made = generations.records(state).made.get(number)
        there = ", ".join(sorted((n for n in state.tree.generations if n.isdecimal()), key=int))
        raise RefusedError(
            f"generation {number} is not on the node",
            why=f"there are {there or 'none'}",
            remedy=_apply(made.release, made.flags) if made else "gvisor-nodes generations shows those that are there",
        )
    return Target(int(number), str(found.release), tuple((found.flags or "").splitlines()))


def plan_rollback(desired: DesiredState, state: NodeState, target: Target) -> Plan:
    """What the rollback does; ``desired`` is the state of ``target``.

    Raises:
        RefusedError: the release is damaged, or the node is not as it was left, so that the proof could not succeed.
    """
    whole = plan(desired, state)
    for change in whole.changes:
        if change.step == "release":
            raise RefusedError(
                f"release {target.release} of generation {target.number} cannot be trusted",
                why=change.why,
                remedy=_apply(target.release, "\n".join(target.flags)),
            )
        if change.step in {"files", "containerd"}:
            raise RefusedError(
                "the node is not as it was left",
                why=f"{change.what}: {change.why}",
                remedy="gvisor-nodes apply repairs it, then roll back",
            )
    if whole.refusals:
        first = whole.refusals[0]
        raise RefusedError(first.what, why=first.why, remedy=first.remedy)
    stays = generations.staying(state, target.number)
    if str(target.number) == state.tree.current:
        # A run that was killed after its switch proved nothing.
        proof = tuple(change for change in whole.changes if change.step in {"proof", "seal"})
        return Plan(proof, (), target.number, stays=stays)
    before = state.tree.generations.get(state.tree.current or "")
    changes = [
        *(change for change in whole.changes if change.step == "logs"),
        Change(
            "generation",
            f"generation {target.number}",
            f"back from generation {state.tree.current} ({_words(before.release, before.flags) if before else 'gone'})"
            f" to {_words(target.release, ' '.join(target.flags))}",
        ),
        Change("proof", "a sandbox that starts", "something changes"),
    ]
    return Plan(tuple(changes), (), target.number, stays=stays)


def _words(release: str | None, flags: str | None) -> str:
    return f"release {release}, flags {' '.join((flags or '').split()) or 'none'}"


def _apply(release: str, flags: str) -> str:
    # The path of the log is not a flag that people set, it comes with debug.
    named = [flag.removeprefix("--") for flag in flags.split() if not flag.startswith("--debug-log=")]
    return " ".join(["gvisor-nodes apply --release", release, *(f"--flag {flag}" for flag in named), "makes it anew"])
