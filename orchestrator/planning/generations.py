"""Which generations a node has, which pods stay on which, and what nothing needs any more. Pure.

The node keeps the history (``roles/node/module_utils/gvisor_generations.py``); here it is read. What is named unused
here is looked at once more by the node when it is taken away: a pod may have started in between. The next step is
:mod:`orchestrator.planning.plan`, and for going back :mod:`orchestrator.planning.rollback`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.planning.state import Generation, NodeState, Pod

GRACE_SECONDS = 600
"""A generation stays for so long after it was current: a shim may have read ``current`` and not written its record."""

DOOMED, INCOMING = ".removed", ".incoming"


class _View(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Moment(_View):
    """When: ``seconds`` since the boot ``boot_id``; ``at`` by the wall clock, only to be shown."""

    boot_id: str
    seconds: float
    at: int = 0


class Made(_View):
    """What a generation is, from when it was made."""

    at: int
    release: str
    flags: str


class Switch(_View):
    """A switch that was begun: it happened if ``current`` says so."""

    current: str
    history: list[str]


class Records(_View):
    """What the journal knows of generations, by number."""

    current: str | None = None
    history: list[str] = []
    next: Switch | None = None
    retired: dict[str, Moment] = {}
    made: dict[str, Made] = {}
    sealed: dict[str, int] = {}
    last: int = 0


def records(state: NodeState) -> Records:
    """The journal's records; empty ones for a node that has none."""
    return Records.model_validate((state.journal or {}).get("generations") or {})


def history(state: NodeState) -> list[str]:
    """The proved generations before the current one, newest first; the first is where ``rollback`` goes."""
    known, current = records(state), state.tree.current
    if known.next and known.next.current == current:
        return known.next.history
    return [number for number in known.history if number != current]


def is_whole(generation: Generation | None) -> bool:
    """Whether a run made all of it; half of one was never current."""
    return generation is not None and bool(generation.release) and generation.flags is not None


def pod_title(namespace: str, name: str, sandbox: str) -> str:
    """How people know a pod: by its name, else by the beginning of its sandbox's id."""
    return f"{namespace}/{name}" if name else f"sandbox {sandbox[:13]}"


@dataclass(frozen=True, slots=True)
class PodView:
    """One pod: what it runs in, and ``note`` where something is wrong with that. ``release`` may not be known."""

    namespace: str
    name: str
    sandbox: str
    generation: str
    release: str | None
    flags: tuple[str, ...]
    note: str = ""

    @property
    def title(self) -> str:
        """How people know it."""
        return pod_title(self.namespace, self.name, self.sandbox)


MISSING = "its generation is not on the node: its containers can be neither started nor stopped until the pod is gone"
LOST = "its record is lost; its shim still knows the generation"
UNKNOWN = "its record is lost and no shim knows the generation: no container can be started in it until the pod is new"


def pods(state: NodeState) -> list[PodView]:
    """Every pod in gVisor, once however many containers it has, in the order of names."""
    sandboxes: dict[str, list[Pod]] = {}
    for bundle in state.users.pods:
        sandboxes.setdefault(bundle.sandbox, []).append(bundle)
    known = records(state)
    found = []
    for sandbox, bundles in sandboxes.items():
        # The sandbox's own record is what its later containers copy.
        first = min(bundles, key=lambda bundle: (bundle.id != sandbox, bundle.generation == ""))
        named = next((bundle for bundle in bundles if bundle.name), first)
        generation = state.tree.generations.get(first.generation)
        made = known.made.get(first.generation)
        note = ""
        if not first.generation:
            note = UNKNOWN
        elif not is_whole(generation):
            note = MISSING
        elif not first.recorded:
            note = LOST
        release, flags = (generation.release, generation.flags or "") if generation else (None, "")
        if note == MISSING and made:
            release, flags = made.release, made.flags
        found.append(
            PodView(named.namespace, named.name, sandbox, first.generation, release, tuple(flags.split()), note)
        )
    return sorted(found, key=lambda pod: (pod.namespace, pod.name, pod.sandbox))


def staying(state: NodeState, target: int) -> tuple[PodView, ...]:
    """The pods that do not run in generation ``target``, they keep what they have for life; and those in trouble."""
    return tuple(pod for pod in pods(state) if pod.generation != str(target) or pod.note)


@dataclass(frozen=True, slots=True)
class Unused:
    """Something that nothing needs. ``kind``: generations or releases; ``name``: its directory's name."""

    kind: str
    name: str
    why: str

    @property
    def what(self) -> str:
        """How people know it."""
        return f"{self.kind.removesuffix('s')} {self.name}"


@dataclass(frozen=True, slots=True)
class Needs:
    """Everything that keeps a generation or a release, once ``target`` is current."""

    state: NodeState
    target: int
    target_release: str
    keep: int

    @property
    def kept_for_rollback(self) -> list[str]:
        """The generations that stay to be gone back to, as they will be after the switch."""
        current, before = self.state.tree.current, history(self.state)
        if current is not None and current != str(self.target):
            known = records(self.state)
            if current in known.sealed or current == str(self.state.sealed.get("generation")):
                before = [current, *before]
        return [number for number in before if number != str(self.target)][: self.keep]

    def why_generation(self, number: str) -> str:
        """Why a generation stays; empty where nothing needs it. The node asks the same questions."""
        state, known = self.state, records(self.state)
        if used := self._why_used(number):
            return used
        if known.current is None or state.tree.current not in {known.current, known.next and known.next.current}:
            return "current was changed by somebody else since the last apply"
        generation = state.tree.generations.get(number)
        retired = known.retired.get(number)
        if retired is None and is_whole(generation):
            return "when it was current last is not known"
        if retired is not None and self._age(retired) < GRACE_SECONDS:
            return f"it was current less than {GRACE_SECONDS // 60} minutes ago"
        if generation and generation.strangers:
            return f"others put files there: {', '.join(generation.strangers)}"
        return self._not_ours("generations", number)

    def _why_used(self, number: str) -> str:
        reasons = {str(self.target): "wanted", **dict.fromkeys(self.kept_for_rollback, "kept for a rollback")}
        if number == self.state.tree.current or number in reasons:
            return "current" if number == self.state.tree.current else reasons[number]
        count = len({pod.sandbox for pod in self.state.users.pods if pod.generation == number})
        if count:
            return f"{count} {'pod needs' if count == 1 else 'pods need'} it"
        if any(str(process.get("generation")) == number for process in self.state.users.processes):
            return "a process of it runs"
        generation = self.state.tree.generations.get(number)
        if generation and generation.release and self._runs(generation.release):
            return "a process runs from its release"
        return ""

    def why_release(self, release: str, going: Iterable[str]) -> str:
        """Why a release stays when the generations ``going`` go; empty where nothing needs it."""
        state = self.state
        if release == self.target_release:
            return "wanted"
        staying = {n: g for n, g in state.tree.generations.items() if n not in set(going)}
        having = [number for number, generation in staying.items() if generation.release == release]
        if having:
            return f"generation {', '.join(sorted(having))} has it"
        if self._runs(release):
            return "a process runs from it"
        if any(pod.generation and pod.generation not in state.tree.generations for pod in state.users.pods):
            return "a pod's generation is missing, and it may be of this release"
        return self._not_ours("releases", release)

    def why_replaced(self, release: str) -> str:
        """Why the old self of a release that was placed anew stays under its doomed name."""
        return "a process runs from it" if self._runs(release) else self._not_ours("releases", release[: -len(DOOMED)])

    def _runs(self, release: str) -> bool:
        below = (f"/releases/{release}/", f"/releases/{release}{DOOMED}/")
        return any(path in str(process.get("exe")) for process in self.state.users.processes for path in below)

    def _age(self, moment: Moment) -> float:
        host = self.state.host
        # Of another boot: no process of then is left, however the clocks were set since.
        return host.boot_seconds - moment.seconds if moment.boot_id == host.boot_id else float("inf")

    def _not_ours(self, kind: str, name: str) -> str:
        entries = (self.state.journal or {}).get("entries", [])
        mine = any(str(entry["path"]).endswith(f"/{kind}/{name}") for entry in entries)
        return "" if mine else "not made by gvisor-nodes"


def unused(needs: Needs) -> tuple[Unused, ...]:
    """What nothing needs, generations first: a release goes with the last generation that has it.

    Empty under another root than ``/``, where nobody knows which pods there are.
    """
    state = needs.state
    if state.host.root != "/" or state.journal is None:
        return ()
    found = []
    for number in sorted(state.tree.generations, key=_order):
        plain = number.removesuffix(DOOMED)
        if plain.isdecimal() and not needs.why_generation(plain):
            half = plain != number or not is_whole(state.tree.generations[number])
            why = "left by a run that did not end" if half else "no pod, process or rollback needs it"
            found.append(Unused("generations", number, why))
    going = [one.name for one in found]
    for release in sorted(state.tree.releases):
        plain = release.removesuffix(DOOMED)
        half = plain != release or release.endswith(INCOMING)
        if plain == f"{needs.target_release}{INCOMING}":
            continue  # placing that release takes it away
        replaced = plain != release and plain in state.tree.releases
        if not (needs.why_replaced(release) if replaced else needs.why_release(plain, going)):
            why = "left by a run that did not end" if half else "no generation that stays has it"
            found.append(Unused("releases", release, why))
    return tuple(found)


def _order(number: str) -> tuple[int, str]:
    return (int(number) if number.isdecimal() else 0, number)


def table(needs: Needs) -> list[dict[str, Any]]:
    """Every generation of the node as JSON-ready data, the newest first; ``kept`` is empty for what goes next."""
    state, known = needs.state, records(needs.state)
    before = history(state)
    # What keeps it as things are now, before anything that is wanted is done.
    current = state.tree.current or ""
    now = replace(needs, target=int(current)) if current.isdecimal() else needs
    counts: dict[str, int] = {}
    for pod in pods(state):
        counts[pod.generation] = counts.get(pod.generation, 0) + 1
    rows = []
    named = {number for number in counts if number and number not in state.tree.generations}
    there = {number for number in state.tree.generations if number.isdecimal()}
    for number in sorted({*there, *named}, key=_order, reverse=True):
        generation, made = state.tree.generations.get(number), known.made.get(number)
        release = generation.release if generation else made and made.release
        flags = (generation.flags if generation else made and made.flags) or ""
        sealed = known.sealed.get(number)
        if sealed is None and str(state.sealed.get("generation")) == number:
            sealed = state.sealed.get("at")
        kept = now.why_generation(number)
        if generation is None:
            kept = "missing on the node"
        elif not kept and number == str(needs.target):
            kept = "wanted: apply makes it current"
        rows.append(
            {
                "generation": number,
                "release": release,
                "flags": flags.split(),
                "pods": counts.get(number, 0),
                "current": number == state.tree.current,
                "previous": before[:1] == [number],
                "made": made.at if made else None,
                "proved": sealed,
                "kept": kept,
            }
        )
    return rows


def pod_data(found: Iterable[PodView]) -> list[dict[str, Any]]:
    """Pods as JSON-ready data."""
    return [{**asdict(pod), "flags": list(pod.flags)} for pod in found]
