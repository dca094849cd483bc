"""What each of several releases would do to the GPUs of a node: rows for people, and what would be lost. Pure.

The list of a release comes from its binary on the node, from its binary on the controller, or from the data that came
with gvisor-nodes; every row says which. What a single change is refused for is in ``gpu.py``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from orchestrator.gvisor import driver_history, drivers
from orchestrator.gvisor.finding import Finding
from orchestrator.gvisor.releases import is_release
from orchestrator.planning import gpu

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.gvisor.driver_lists import DriverList
    from orchestrator.planning.state import NodeState

type Basis = Literal["node", "controller", "data"]

UNDECIDED: Final = "undecided"
"""The verdict where the binary is not at hand and the data does not know."""


@dataclass(frozen=True, slots=True)
class Row:
    """One release on one node.

    Args:
        release: the release.
        verdict: a kind of :class:`orchestrator.gvisor.drivers.Verdict`, or ``undecided``.
        basis: whose word it is: ``node`` (its binary there), ``controller`` (its binary here), ``data``.
        nearest: the supported driver next to the node's, or "".
        message: one sentence.
        why: what it rests on.
        remedy: what to do, or "".
        in_use: whether it is the current generation's.
        asked: whether somebody asked for it.
        drops: whether the release in use supports the driver and this one does not.
    """

    release: str
    verdict: str
    basis: Basis
    nearest: str
    message: str
    why: str
    remedy: str
    in_use: bool = False
    asked: bool = False
    drops: bool = False

    @property
    def fails(self) -> bool:
        """Whether GPU containers would fail, or nobody can say that they would not."""
        return self.verdict in drivers.FAILS or self.verdict == UNDECIDED


@dataclass(frozen=True, slots=True)
class Report:
    """Everything about one node; ``problems`` are what no release helps with, ``notes`` what is only said."""

    driver: str
    gpus: int
    problems: tuple[Finding, ...]
    notes: tuple[Finding, ...]
    rows: tuple[Row, ...]

    @property
    def failures(self) -> tuple[Finding, ...]:
        """What stands against the releases that were asked for; first what stands against all of them."""
        bad = (row for row in self.rows if row.asked and row.fails)
        return (*self.problems, *(Finding("refuse", row.message, row.why, row.remedy) for row in bad))

    @property
    def message(self) -> str:
        """One line for a node without failures."""
        if not self.driver:
            return "no NVIDIA driver is loaded"
        return f"NVIDIA driver {self.driver}: {', '.join(row.release for row in self.rows if row.asked)} can use it"

    def as_data(self) -> dict[str, Any]:
        """The report as JSON-ready data for results and tables."""
        return {
            "driver": self.driver,
            "gpus": self.gpus,
            "problems": [one.what for one in self.problems],
            "warnings": [str(one) for one in self.notes],
            "rows": [{**asdict(row), "fails": row.fails} for row in self.rows],
        }


def lists_needed(state: NodeState, asked: Sequence[str]) -> tuple[str, ...]:
    """The releases whose lists have to be found on the controller: those that the node has not told already."""
    if not gpu.has_driver(state):
        return ()
    return tuple(release for release in _releases(state, asked) if release not in state.nvidia.supported)


def make(
    state: NodeState,
    asked: Sequence[str],
    lists: Mapping[str, DriverList],
    *,
    flags: Sequence[str] = (),
    known: Sequence[str] = (),
) -> Report:
    """Judge a node's driver for the release in use and for those that were asked for.

    Args:
        state: the node.
        asked: the releases in question.
        lists: by release, for those of :func:`lists_needed`.
        flags: the wanted flags as runsc gets them.
        known: the releases that can be named as a way out.
    """
    driver = drivers.driver_in_use(state.nvidia.proc, state.nvidia.module)
    gpus = len(state.nvidia.devices)
    around = gpu.around(state, flags)
    problems = tuple(one for one in around if one.effect == "refuse")
    notes = tuple(one for one in around if one.effect == "warn")
    if drivers.unusable(state.nvidia.proc, state.nvidia.module):  # no driver is one of the reasons
        return Report(driver, gpus, problems, notes, ())
    rows = [_row(state, release, lists.get(release), flags, known) for release in _releases(state, asked)]
    in_use = gpu.current(state)[0]
    supported_now = any(row.release == in_use and not row.fails for row in rows)
    marked = (
        replace(
            row,
            in_use=row.release == in_use,
            asked=row.release in asked,
            drops=supported_now and row.verdict in drivers.FAILS,
        )
        for row in rows
    )
    return Report(driver, gpus, problems, notes, tuple(marked))


def _releases(state: NodeState, asked: Sequence[str]) -> tuple[str, ...]:
    """The release in use, then those that were asked for, each once."""
    in_use = gpu.current(state)[0]
    return tuple(dict.fromkeys([*([in_use] if is_release(in_use) else []), *asked]))


def _row(state: NodeState, release: str, found: DriverList | None, flags: Sequence[str], known: Sequence[str]) -> Row:
    listing = state.nvidia.supported.get(release)
    basis: Basis = "node"
    why = "the release's own binary on the node lists its drivers"
    if listing is None and found is not None:
        listing = found.listing
        basis = "controller" if found.basis == "binary" else "data"
        why = "the release's own binary on this machine lists its drivers"
        if basis == "data":
            why = f"by the data that came with gvisor-nodes, as {found.note}"
    judged = gpu.verdict(state, release, listing or "", flags=flags, known=known)
    if basis == "data" and driver_history.predict(judged.driver, release) == UNDECIDED:
        return Row(
            release,
            UNDECIDED,
            basis,
            "",
            f"whether runsc {release} supports NVIDIA driver {judged.driver} is not known here",
            why,
            f"gvisor-nodes releases fetch {release}, then ask again",
        )
    return Row(release, judged.kind, basis, judged.nearest, judged.message, why, judged.remedy)
