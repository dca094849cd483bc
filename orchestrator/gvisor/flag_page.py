"""The reference page of flags, made from the catalogue; ``scripts/generate-flags`` writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.gvisor.flag_catalogue import FlagClass, KnownFlag, known_flags, known_releases

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = """# Flags of runsc

<!-- Written by scripts/generate-flags. Do not edit. -->

They go into `runsc_flags`, or behind `--flag`. Names, types, defaults and releases are those of the binaries of gVisor
{releases}; the rest was reviewed by people. The release's own binary has the last word, before
anything uses the flags. `gvisor-nodes flags --release RELEASE` shows what one release has.

What may be set to what is decided by `runsc_flags_policy`, see [variables.md](variables.md). Where it does not name a
flag, only plain flags are allowed, and of the others their plain values.
"""

_SECTIONS = {
    FlagClass.PLAIN: (
        "Plain",
        "Allowed unless the policy says otherwise: they can neither weaken isolation nor break anything.",
    ),
    FlagClass.CARE: (
        "With care",
        "They cannot weaken isolation, but can stop pods, cost them much or write on the node.",
    ),
    FlagClass.WEAKENS: (
        "Weakens isolation",
        "They give a pod more of the node or of other pods.",
    ),
    FlagClass.OURS: ("Ours", "Set by this product, by the shim or by nobody. No policy can allow them."),
    FlagClass.TESTING: ("Testing only", "No policy can allow them."),
    FlagClass.OBSOLETE: ("Obsolete", "No policy can allow them."),
}


def page() -> str:
    """The whole page."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    known = known_releases()
    yield _HEAD.format(releases=f"{', '.join(known[:-1])} and {known[-1]}")
    for risk, (title, text) in _SECTIONS.items():
        yield f"## {title}\n\n{text}\n"
        flags = [flag for flag in known_flags().values() if flag.risk is risk]
        if flags[0].settable:
            yield "| flag | values | default | releases | what it does |\n|---|---|---|---|---|"
            yield from (_settable(flag) for flag in flags)
        else:
            yield "| flag | releases | what it does | why not |\n|---|---|---|---|"
            yield from (f"| `{f.name}` | {f.releases} | {_cell(f.purpose)} | {_cell(f.why)} |" for f in flags)
        yield ""


def _settable(flag: KnownFlag) -> str:
    purpose = flag.purpose
    if flag.why:
        plain = ", ".join(f"`{value}`" for value in sorted(flag.plain)) or "none"
        purpose = f"{purpose}; {flag.why}. Plain: {plain}"
    default = f"`{flag.default()}`" if flag.default() else ""
    return f"| `{flag.name}` | {_cell(flag.grammar.meaning)} | {default} | {flag.releases} | {_cell(purpose)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
