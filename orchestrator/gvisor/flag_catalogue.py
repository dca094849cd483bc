"""Every flag of runsc that is known: what it is, which releases have it, what its values are, how dangerous it is.

Two files make the catalogue. ``runsc_flags.json`` is what real binaries of some releases say (written by
``scripts/generate-flags``, compared with them by a test); ``runsc_flags_review.toml`` is what people found out. This
module joins them and answers questions; it judges nothing, which is the work of ``flags.py``. Pure but for reading the
two files, once.
"""

from __future__ import annotations

import functools
import json
import tomllib
from bisect import bisect_left
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.gvisor import flag_values
from orchestrator.gvisor.releases import release_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.gvisor.flag_values import Grammar

DATA: Final = Path(__file__).with_name("runsc_flags.json")
REVIEW: Final = Path(__file__).with_name("runsc_flags_review.toml")


class FlagClass(StrEnum):
    """What a flag can do; the review explains each."""

    PLAIN = "plain"
    CARE = "care"
    WEAKENS = "weakens isolation"
    OURS = "ours"
    TESTING = "testing only"
    OBSOLETE = "obsolete"


NEVER: Final = frozenset({FlagClass.OURS, FlagClass.TESTING, FlagClass.OBSOLETE})
"""Classes that no policy can allow."""


class Presence(StrEnum):
    """Whether a release has something; where nobody looked at the release, its binary is the judge."""

    THERE = "there"
    ABSENT = "absent"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True)
class Span:
    """Releases that were looked at, from ``first`` to ``last``, in which a flag has this Go type and default."""

    first: str
    last: str
    type: str
    default: str


@dataclass(frozen=True, slots=True)
class KnownFlag:
    """What is known of a flag.

    Attributes:
        name: without hyphens.
        purpose: one line for people.
        risk: its class.
        why: the reason of the class; for `ours` who sets it.
        grammar: what its values are.
        plain: values, as the grammar writes them, that are plain although the flag is not.
        spans: where it is, in the order of releases.
        since: first release that has it, empty if no source names one.
        until: last release that has it, likewise.
        later: parts of values to the first release looked at in which they work.
    """

    name: str
    purpose: str
    risk: FlagClass
    why: str
    grammar: Grammar
    plain: frozenset[str]
    spans: tuple[Span, ...]
    since: str
    until: str
    later: Mapping[str, str]

    @property
    def settable(self) -> bool:
        """Whether a person can set it at all."""
        return self.risk not in NEVER

    def is_plain(self, value: str) -> bool:
        """Whether this value, as the grammar writes it, can neither weaken isolation nor break anything."""
        return self.risk is FlagClass.PLAIN or value in self.plain

    def presence(self, release: str) -> Presence:
        """Whether a release has the flag."""
        key = release_key(release)
        if (self.since and key < release_key(self.since)) or (self.until and key > release_key(self.until)):
            return Presence.ABSENT
        older, newer = _neighbours(release)
        before, after = self._seen(older), self._seen(newer)
        if before and after:
            return Presence.THERE
        if self.since and after and (older is None or release_key(self.since) > release_key(older)):
            return Presence.THERE
        return Presence.UNSURE if before or after else Presence.ABSENT

    def value_presence(self, value: str, release: str) -> Presence:
        """Whether every part of a value works in a release; older releases know fewer."""
        worst = Presence.THERE
        for part in self.grammar.parts(value):
            first = self.later.get(part)
            if first is None or release_key(first) <= release_key(release):
                continue
            older, _ = _neighbours(first, strictly=True)
            if older is None or release_key(release) <= release_key(older):
                return Presence.ABSENT
            worst = Presence.UNSURE
        return worst

    def default(self, release: str = "") -> str:
        """The default in a release that was looked at, else in the newest one that has the flag."""
        return next((s.default for s in self.spans if _within(release, s)), self.spans[-1].default)

    @property
    def releases(self) -> str:
        """Which releases have it, for people: ``all``, ``since 20260615.0``, ``seen from 20260224.0``."""
        known = known_releases()
        first, last = self.spans[0].first, self.spans[-1].last
        start = f"since {self.since}" if self.since else "" if first == known[0] else f"seen from {first}"
        end = f"until {self.until}" if self.until else "" if last == known[-1] else f"last seen in {last}"
        return ", ".join(part for part in (start, end) if part) or "all"

    def _seen(self, release: str | None) -> bool:
        return release is not None and any(_within(release, span) for span in self.spans)


@functools.cache
def known_flags() -> Mapping[str, KnownFlag]:
    """The catalogue, by name."""
    facts = json.loads(DATA.read_text(encoding="utf-8"))["flags"]
    review = tomllib.loads(REVIEW.read_text(encoding="utf-8"))
    return {name: _known(name, facts[name], review[name]) for name in sorted(facts)}


@functools.cache
def known_releases() -> tuple[str, ...]:
    """The releases whose binaries were asked, oldest first."""
    return tuple(json.loads(DATA.read_text(encoding="utf-8"))["releases"])


def dump(facts: Mapping[str, Any]) -> str:
    """The text of ``runsc_flags.json``: one line for each flag and span, so that a difference can be read."""
    lines = ["{", f'  "releases": {json.dumps(sorted(facts["releases"], key=release_key))},', '  "flags": {']
    entries = []
    for name, spans in sorted(facts["flags"].items()):
        body = ",\n      ".join(
            json.dumps({key: span[key] for key in ("first", "last", "type", "default")}) for span in spans
        )
        entries.append(f"    {json.dumps(name)}: [\n      {body}\n    ]")
    return "\n".join([*lines, ",\n".join(entries), "  }", "}", ""])


def _known(name: str, facts: list[dict[str, str]], review: dict[str, Any]) -> KnownFlag:
    spans = [Span(**span) for span in facts]
    default = review.get("default")
    return KnownFlag(
        name=name,
        purpose=review["purpose"],
        risk=FlagClass(review["class"]),
        why=review.get("why", ""),
        grammar=_grammar(spans[-1].type, review),
        plain=frozenset(review.get("plain", ())),
        spans=tuple(spans if default is None else (Span(s.first, s.last, s.type, default) for s in spans)),
        since=review.get("since", ""),
        until=review.get("until", ""),
        later=review.get("later", {}),
    )


def _grammar(go: str, review: dict[str, Any]) -> Grammar:
    """The grammar that the review names, else the one of the Go type."""
    if FlagClass(review["class"]) in NEVER:
        return flag_values.Nothing()
    name = review.get("grammar", {"bool": "boolean", "int": "whole", "uint": "whole"}.get(go, go))
    values = tuple(review.get("values", ()))
    if name == "one of":
        return flag_values.OneOf(values)
    if name == "words":
        return flag_values.Words(values)
    if name == "whole":
        return flag_values.Whole(review["lowest"], review["highest"])
    if name == "duration":
        return flag_values.Duration(review["lowest"], review["highest"])
    return flag_values.FIXED[name]


def _neighbours(release: str, *, strictly: bool = False) -> tuple[str | None, str | None]:
    """The nearest releases that were looked at, this one included: not newer, and not older."""
    known = known_releases()
    keys = [release_key(name) for name in known]
    place = bisect_left(keys, release_key(release))
    here = place < len(known) and keys[place] == release_key(release)
    if here and not strictly:
        return known[place], known[place]
    return (known[place - 1] if place else None), (known[place] if place < len(known) else None)


def _within(release: str, span: Span) -> bool:
    if not release:
        return False
    return release_key(span.first) <= release_key(release) <= release_key(span.last)
