"""Which gVisor release runs on which containerd: rules as data, each with its evidence. Pure.

What decides is the containerd library that the release's shim was built on, and the binary itself says it
(``containerd-shim-runsc-v1 -v``). Before the binary is at hand, the release's date predicts it. ``plan`` uses the
prediction, the step ``release`` asks again with the binary's answer, before anything is uploaded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from orchestrator.gvisor.finding import Finding
from orchestrator.gvisor.releases import is_release, release_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

type Version = tuple[int, ...]
type Range = tuple[Version, Version]
"""From the first to before the second; an empty tuple is an open end."""

ANY: Final[Range] = ((), ())

SHIM_LIBRARY_BY_DAY: Final = ((20260520, (2, 1)), (20250205, (1, 6)), (0, (1, 4)))
"""First release day and the containerd library of its shim, newest first: only a prediction.

Sources: go.mod of ``gvisor.dev/gvisor``, branch ``go``: 1.4.13 on 2024-09-16 and before, 1.6.36 on 2025-02-05 and
2026-02-24, 2.1.5 on 2026-05-18 and 2026-09-05; gVisor's release notes name 20260520.0 for the change to 2.x. The shims
of 20250205.0, 20260224.0 and 20260905.0 were built and asked: 1.6.36, 1.6.36, 2.1.5.
"""


@dataclass(frozen=True, slots=True)
class Rule:
    """A pair that does not work, or not well.

    Args:
        name: short, for tests and records.
        effect: ``refuse`` or ``warn``.
        what: what happens; ``{release}`` and ``{containerd}`` are replaced.
        why: the cause; ``{shim}`` is replaced too.
        evidence: what was run, or who says so.
        containerd: versions of containerd it is about.
        shim: versions of the containerd library of the shim it is about.
        releases: release days and numbers it is about.
        cure: what gets out of it on the side of containerd, or "".
    """

    name: str
    effect: Literal["refuse", "warn"]
    what: str
    why: str
    evidence: str
    containerd: Range = ANY
    shim: Range = ANY
    releases: Range = ANY
    cure: str = ""


RULES: Final = (
    Rule(
        name="bootstrap-json",
        effect="refuse",
        what="gVisor {release} does not run on containerd {containerd}",
        why="its shim is built on the containerd library {shim} and answers with JSON; containerd before 1.7 cannot "
        "read that, so no pod would start",
        evidence='run: shim of 20260905 on containerd 1.6.20 fails at RunPodSandbox (`dial unix {"version":2,…`), on '
        "1.7.24 and 2.0 to 2.4 it works; source: parseStartResponse is in containerd 1.7.0, and not in 1.6.36",
        containerd=((1, 6), (1, 7)),  # an older one is refused with every release
        shim=((2,), ()),
        cure="upgrade containerd to 1.7 or newer",
    ),
    Rule(
        name="stuck-terminating-2.0",
        effect="warn",
        what="pods of gVisor {release} may stay in Terminating on containerd {containerd}",
        why="reported for containerd 2.0.0 to 2.0.5 with shims of an older library, here {shim}",
        evidence="containerd #10891, #11708, #11871; k3s #12311; gvisor #11308, #11319: fixed in 2.0.6",
        containerd=((2, 0), (2, 0, 6)),
        shim=((), (2,)),
        cure="upgrade containerd to 2.0.6 or newer",
    ),
    Rule(
        name="stuck-terminating-2.1",
        effect="warn",
        what="pods of gVisor {release} may stay in Terminating on containerd {containerd}",
        why="reported for containerd 2.1.0 with shims of an older library, here {shim}",
        evidence="containerd #11871; gvisor #11319: fixed in a later 2.1",
        containerd=((2, 1, 0), (2, 1, 1)),
        shim=((), (2,)),
        cure="upgrade containerd to 2.1.1 or newer",
    ),
    Rule(
        name="teardown-hang",
        effect="warn",
        what="the shim of gVisor {release} can hang in rare cases while a pod is deleted",
        why="repaired in gVisor 20260831.0",
        evidence="gvisor #14408, PR #14201",
        releases=((), (20260831, 0)),
    ),
    Rule(
        name="untried",
        effect="warn",
        what="containerd {containerd} is newer than every one that gVisor was tried on here",
        why="the newest one tried is 2.4.2",
        evidence="run: 20250205, 20260224 and 20260905 on 1.6.20, 1.7.24, 2.0.14, 2.1.9, 2.2.9, 2.3.4 and 2.4.2",
        containerd=((2, 5), ()),
        cure="try one node first (--limit)",
    ),
)

_VERSION = re.compile(r"v?([0-9]+)\.([0-9]+)(?:\.([0-9]+))?(?![0-9.])")


def parse_version(text: str) -> Version | None:
    """A version of containerd as numbers, however a distribution writes it (``1.6.20~ds1``, ``v2.4.2+unknown``).

    Returns:
        Major, minor and patch (0 where there is none), or None if the text does not begin with a version.
    """
    match = _VERSION.match(text.strip())
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


def predicted_library(release: str) -> Version:
    """The containerd library that the shim of a release is built on, by the release's day (see the table)."""
    day = release_key(release)[0]
    return next(library for first, library in SHIM_LIBRARY_BY_DAY if day >= first)


def judge(containerd: str, release: str, *, shim: str = "", known: Iterable[str] = ()) -> tuple[Finding, ...]:
    """What is known against a release on a containerd, refusals first.

    Args:
        containerd: as `containerd --version` has it. A text that is no version has no findings.
        release: ``YYYYMMDD.N``.
        shim: the containerd library that the shim's own binary says, for example ``2.1.5+unknown``; "" where it is not
            known, then the release's day predicts it.
        known: releases to name as a way out.

    Returns:
        The findings; empty if nothing is known against the pair.
    """
    version = parse_version(containerd)
    if version is None:
        return ()
    library = parse_version(shim)
    rules = _matching(version, library or predicted_library(release), release)
    predicted = ".".join(map(str, predicted_library(release)))
    shown = f"{shim} (the binary says so)" if library else f"{predicted} (predicted from the release's day)"
    names = {"release": release, "containerd": containerd, "shim": shown}
    better = newest_without_findings(version, release, known)
    return tuple(
        Finding(rule.effect, rule.what.format(**names), rule.why.format(**names), _remedy(rule, better))
        for rule in sorted(rules, key=lambda rule: rule.effect != "refuse")
    )


def newest_without_findings(containerd: Version, release: str, known: Iterable[str]) -> dict[str, str]:
    """By rule name, the newest other release that the rule does not catch and no rule refuses on this containerd."""
    found: dict[str, str] = {}
    for candidate in sorted(filter(is_release, known), key=release_key, reverse=True):
        if candidate == release:
            continue
        caught = _matching(containerd, predicted_library(candidate), candidate)
        if any(rule.effect == "refuse" for rule in caught):
            continue
        for rule in RULES:
            if rule not in caught:
                found.setdefault(rule.name, candidate)
    return found


def _matching(containerd: Version, library: Version, release: str) -> Sequence[Rule]:
    return [
        rule
        for rule in RULES
        if _within(containerd, rule.containerd)
        and _within(library, rule.shim)
        and _within(release_key(release), rule.releases)
    ]


def _within(version: Version, limits: Range) -> bool:
    first, end = limits
    return version >= first and (not end or version < end)


def _remedy(rule: Rule, better: dict[str, str]) -> str:
    other = better.get(rule.name)
    usable = other and (rule.shim, rule.releases) != (ANY, ANY)
    ways = [f"choose gVisor {other} (--release {other}, or runsc_release)"] if usable else []
    ways += [rule.cure] if rule.cure else []
    return ", or ".join(ways) or "no other known release is free of it on this containerd: gvisor-nodes releases list"
