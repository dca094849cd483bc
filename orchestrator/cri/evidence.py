"""Is that process the gVisor we want? A comparison of what the node saw with what was expected. Pure.

The sandbox process is the witness: the kernel says which file it executes (`exe`), and runsc starts its sandbox with
`argv[0]` `runsc-sandbox` and with every flag that was set, also those set to their default (releases 20250205,
20260224 and 20260905: `Config.ToFlags` in runsc/config/flags.go).
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

SANDBOX = "runsc-sandbox"
# A release that brings its own sentry executes that instead of itself; argv[0] stays.
SIDECARS = "gvisor-bin"

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_BOOLEANS = {"true": "true", "t": "true", "1": "true", "false": "false", "f": "false", "0": "false"}


def executable(evidence: dict[str, Any]) -> str:
    """The file the process executes; a file that was removed since keeps its name."""
    return str(evidence.get("exe") or "").removesuffix(" (deleted)")


def is_gvisor(evidence: dict[str, Any]) -> bool:
    """Whether the process is a runsc sandbox of any release."""
    words = evidence.get("cmdline") or [""]
    return bool(words[0] == SANDBOX)


def is_release(evidence: dict[str, Any], runsc: str) -> bool:
    """Whether the process executes this release: its runsc, or the sentry that lies beside it.

    Args:
        evidence: of `node_side.inspect`; its "runsc" is the wanted path with the node's links resolved.
        runsc: the wanted path.
    """
    exe = PurePosixPath(executable(evidence))
    for wanted in {runsc, str(evidence.get("runsc") or runsc)}:
        path = PurePosixPath(wanted)
        if exe == path or exe.parent == path.parent / SIDECARS:
            return True
    return False


def lacking(wanted: tuple[str, ...], cmdline: list[str]) -> list[str]:
    """The wanted flags that the sandbox does not carry.

    Args:
        wanted: "--name=value"; `%ID%` and the like in a value stand for any text, since the node has expanded them.
        cmdline: the sandbox's; only what stands before its subcommand `boot` are runsc's own flags.

    Returns:
        One text for each: "--name=value (is not there)" or "--name=value (is other)".
    """
    carried: dict[str, str] = {}
    for word in cmdline[1:]:
        if word == "boot":
            break
        name, value = _split(word)
        carried[name] = value
    faults = []
    for flag in wanted:
        name, value = _split(flag)
        if name not in carried:
            faults.append(f"{flag} (is not there)")
        elif not _same(value, carried[name]):
            faults.append(f"{flag} (is {carried[name]!r})")
    return faults


def _split(flag: str) -> tuple[str, str]:
    name, equals, value = flag.lstrip("-").partition("=")
    return name, value if equals else "true"


def _same(wanted: str, carried: str) -> bool:
    """Whether runsc may have written `wanted` as `carried`: it prints booleans and durations in its own way."""
    if wanted == carried or wanted.lower() == carried.lower():
        return True
    if "%" in wanted:
        pattern = ".+".join(re.escape(part) for part in re.split(r"%[A-Z]+%", wanted))
        return re.fullmatch(pattern, carried) is not None
    booleans = _BOOLEANS.get(wanted.lower()), _BOOLEANS.get(carried.lower())
    if booleans[0] is not None and booleans[0] == booleans[1]:
        return True
    seconds = _seconds(wanted), _seconds(carried)
    if seconds[0] is not None and seconds[0] == seconds[1]:
        return True
    # the enumerations that have an empty spelling print it as "none"
    return wanted == "" and carried == "none"


def _seconds(text: str) -> float | None:
    if not _DURATION.fullmatch(text):
        return None
    return round(sum(float(n) * _UNITS[unit] for n, unit in re.findall(r"([\d.]+)(ns|us|µs|ms|s|m|h)", text)), 9)
