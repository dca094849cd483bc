"""Ask a runsc binary about flags: which ones it has, and whether it takes a given set.

``runsc flags`` prints every flag in the layout of Go's flag package, on standard error. ``runsc --root=<nothing> FLAGS
list`` checks names, values and cross rules before it looks at the root (seen with 20250205.0, 20260224.0 and
20260905.0; exit 2 for names and values, 128 for cross rules), so it is the judge of what this product thinks of flags.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any, Final

from orchestrator.errors import GvisorNodesError, InvalidInputError
from orchestrator.gvisor.elf import host_architecture
from orchestrator.gvisor.releases import RUNSC

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from orchestrator.gvisor.artifact_set import ArtifactSet

NO_ROOT: Final = "/nonexistent"
"""``list`` finds no container below it, and makes nothing."""

_TIMEOUT: Final = 30.0  # seconds; the answer takes some 20 ms, this is for a machine under load
_ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
_TYPES: Final = frozenset({"bool", "int", "uint", "string", "duration", "value", "float"})
_ZERO: Final = {"bool": "false", "int": "0", "uint": "0", "string": "", "duration": "0s"}
_HEAD = re.compile(r"^  -(?P<name>[A-Za-z0-9_-]+)(?: (?P<type>[^\t]+))?(?:\t(?P<usage>.*))?$")
_DEFAULT = re.compile(r"\(default (?P<value>.*)\)$")
_SHOWN = re.compile(r"Config\.\w+ \(--(?P<name>[A-Za-z0-9_-]+)\): (?P<value>.*)$", re.MULTILINE)
_WARNING: Final = "WARNING"
_LOG_HEAD = re.compile(r"^[A-Z][0-9]{4} .*?\] (?:FATAL ERROR: )?")


def refusal(runsc: Path, flags: Sequence[str]) -> str:
    """Why this binary does not take these flags, in its own words; empty where it takes them.

    Args:
        runsc: a binary that runs on this machine.
        flags: ``--name=value``. One that names a log would write it: leave those out.

    Raises:
        GvisorNodesError: the binary cannot be run or does not end.
    """
    done = _run(runsc, [f"--root={NO_ROOT}", *flags, "list"])
    if done.returncode == 0:
        return ""
    return _first_line(done.stderr) or _first_line(done.stdout) or f"exit code {done.returncode}"


def printed(runsc: Path, flags: Sequence[str]) -> dict[str, str]:
    """How a binary itself writes the values of its flags, by name: in this form it hands them on to the sandbox.

    Some are not shown, and those of EXPERIMENTAL-xdp and debug-log-format in a form of the log's own.
    """
    text = _run(runsc, [f"--root={NO_ROOT}", *flags, "--debug", "--alsologtostderr", "list"]).stderr
    return {match["name"]: match["value"].strip().removeprefix("(empty)") for match in _SHOWN.finditer(text)}


def require_accepted(artifacts: ArtifactSet, flags: Sequence[str]) -> bool:
    """Let a release's own runsc judge flags on this machine, before a node hears of them.

    Args:
        artifacts: the checked files of the release.
        flags: as for :func:`refusal`.

    Returns:
        Whether it was asked; False where it is of another architecture or cannot be run here, so that the node asks.

    Raises:
        InvalidInputError: it does not take them; with the flags and its own reason.
    """
    if not flags:
        return True
    if artifacts.architecture != host_architecture():
        return False
    try:
        reason = refusal(artifacts.directory / RUNSC, flags)
    except GvisorNodesError:
        return False
    if reason:
        raise InvalidInputError(
            f"runsc {artifacts.release} refuses the flags {' '.join(flags)}",
            why=reason,
            remedy="correct runsc_flags; nothing was changed",
        )
    return True


def facts(binaries: Mapping[str, Path]) -> dict[str, Any]:
    """What these binaries say of their flags, in the form of ``runsc_flags.json``.

    Args:
        binaries: ``runsc`` by release, in the order of the releases.
    """
    found = {release: flags_of(runsc) for release, runsc in binaries.items()}
    names = sorted({name for flags in found.values() for name in flags})
    return {"releases": list(found), "flags": {name: _spans(name, found) for name in names}}


def flags_of(runsc: Path) -> dict[str, tuple[str, str]]:
    """Every flag of one binary: its Go type and its default.

    Raises:
        GvisorNodesError: the binary prints something else than flags.
    """
    shown = printed(runsc, ())
    found = {}
    for name, kind, usage in _parse(_run(runsc, ["flags"]).stderr):
        go = kind if kind in _TYPES else _type_by_asking(runsc, name)
        named = _DEFAULT.search(usage)
        default = named["value"].strip('"') if named else _ZERO.get(go, shown.get(name, ""))
        found[name] = (go, default)
    if "root" not in found:
        raise GvisorNodesError(f"{runsc} flags does not print flags", remedy="check that it is a runsc")
    return found


def _parse(text: str) -> Iterable[tuple[str, str, str]]:
    """Name, type and help of every flag; the type of a boolean is not printed."""
    current: list[str] = []
    for line in [*text.splitlines(), "  -end-of-flags"]:
        head = _HEAD.match(line)
        if head is None:
            if current:
                current[2] += " " + line.strip()
            continue
        if current:
            yield current[0], current[1], current[2].strip()
        current = [head["name"], head["type"] or "bool", head["usage"] or ""]


def _type_by_asking(runsc: Path, name: str) -> str:
    """A help text with a quoted word hides the type: Go prints the word in its place. A bad value tells it."""
    error = _run(runsc, [f"--{name}=.", "--version"]).stderr
    return "bool" if error.startswith("invalid boolean value") else "string" if not error else "value"


def _spans(name: str, found: Mapping[str, Mapping[str, tuple[str, str]]]) -> list[dict[str, str]]:
    """Neighbouring releases in which a flag is the same, as one entry."""
    spans: list[dict[str, str]] = []
    before: tuple[str, str] | None = None
    for release, flags in found.items():
        now = flags.get(name)
        if now is not None and now == before:
            spans[-1]["last"] = release
        elif now is not None:
            spans.append({"first": release, "last": release, "type": now[0], "default": now[1]})
        before = now
    return spans


def _run(runsc: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [str(runsc), *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
            env=_ENVIRONMENT,
        )
    except subprocess.TimeoutExpired as error:
        raise GvisorNodesError(
            f"{runsc} did not answer within {_TIMEOUT:.0f} seconds", remedy="run the same command again"
        ) from error
    except OSError as error:
        raise GvisorNodesError(
            f"{runsc} cannot be executed", why=error.strerror or str(error), remedy="check its mode and file system"
        ) from error


def _first_line(text: str) -> str:
    """The first line that is a reason: newer releases warn of deprecated flags before it, older ones log it."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and _WARNING not in line]
    return _LOG_HEAD.sub("", lines[0])[:500] if lines else ""
