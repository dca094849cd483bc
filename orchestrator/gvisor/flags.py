"""The runsc flags that may be set, what their values are, and the lines a generation's ``flags`` file holds.

On the command line, in an inventory and in a playbook an unknown flag or a malformed value is an error before anything
changes. The binary itself checks the same lines once more on the node, with rules that only it knows
(`runsc --root=<none> <flags> list`); this module exists so that the usual mistake is found without a node, and so that
nothing but plain words ever reaches a shell script, a TOML file or a template. Pure.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Never

from orchestrator.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEBUG_LOG_NAME: Final = "%ID%/%COMMAND%-gvisor.log"
"""Below the directory for debug logs: the dispatcher puts containerd's id for %ID%, runsc its command for %COMMAND%."""

_TEMPLATE_MARKS: Final = ("{{", "{%", "{#")
_NOT_PLAIN = re.compile(r"""[\x00-\x1f\x7f`$&|;<>(){}\[\]*?!#~\\"'\s]""")
_DIRECTORY = re.compile(r"(/[A-Za-z0-9._-]+)+")
_NO_SIGNAL: Final = -1
_LARGEST_SIGNAL: Final = 64  # SIGRTMAX of Linux


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag with its value as runsc's command line has it."""

    name: str
    value: str

    def __str__(self) -> str:
        return f"--{self.name}={self.value}"


@dataclass(frozen=True, slots=True)
class KnownFlag:
    """What is known of a flag.

    Args:
        name: without the leading hyphens.
        kind: what its values are, for people.
        purpose: one line for people.
        parse: the value as runsc takes it, or None if it is of another kind.
    """

    name: str
    kind: str
    purpose: str
    parse: Callable[[object], str | None]


def _boolean(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) and value in {"true", "false"} else None


def _signal(value: object) -> str | None:
    if isinstance(value, str) and re.fullmatch(r"-1|[1-9][0-9]?", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return str(value) if value == _NO_SIGNAL or 1 <= value <= _LARGEST_SIGNAL else None


KNOWN_FLAGS: Final[dict[str, KnownFlag]] = {
    flag.name: flag
    for flag in (
        KnownFlag("debug", "true or false", "debug logs of every pod below the directory for debug logs", _boolean),
        KnownFlag("net-raw", "true or false", "raw sockets, as traceroute and istio's init containers need", _boolean),
        KnownFlag("nvproxy", "true or false", "NVIDIA GPUs inside the sandbox", _boolean),
        KnownFlag(
            "panic-signal", "-1 (none) or a signal number, 1 to 64", "signal that makes a sandbox panic", _signal
        ),
    )
}


def parse_flags(values: Mapping[str, object]) -> tuple[Flag, ...]:
    """Check flags as people write them.

    Args:
        values: by name without hyphens; booleans as ``true``/``false`` or YAML's own, numbers as numbers or texts.

    Returns:
        The flags in the order of their names.

    Raises:
        InvalidInputError: for the first flag that is unknown or whose value is not what the flag takes.
    """
    flags = [_parse(name, value) for name, value in values.items()]
    return tuple(sorted(flags, key=lambda flag: flag.name))


def render(flags: tuple[Flag, ...], debug_logs_directory: str) -> tuple[str, ...]:
    """The lines of a generation's ``flags`` file, sorted; the same flags give the same lines.

    Args:
        flags: as ``parse_flags`` returned them.
        debug_logs_directory: absolute path; with debug on, every container's logs get a directory below it, named by
            containerd's id.

    Raises:
        InvalidInputError: debug is on and the directory is no plain absolute path.
    """
    lines = [str(flag) for flag in flags]
    if Flag("debug", "true") in flags:
        directory = debug_logs_directory.rstrip("/")
        if not _DIRECTORY.fullmatch(directory) or {".", ".."} & set(directory.split("/")):
            raise InvalidInputError(
                f"{debug_logs_directory!r} cannot be the directory for debug logs",
                why="it becomes part of a runsc flag: an absolute path of letters, digits and . _ - only",
                remedy="set debug_logs_directory to a path such as /var/log/runsc; nothing was changed",
            )
        lines.append(f"--debug-log={directory}/{DEBUG_LOG_NAME}")
    return tuple(sorted(lines))


def _parse(name: str, value: object) -> Flag:
    known = KNOWN_FLAGS.get(name)
    if known is None:
        _refuse_unknown(name)
    if isinstance(value, str):
        _refuse_code(name, value)
    parsed = known.parse(value)
    if parsed is None:
        raise InvalidInputError(
            f"flag {name} takes {known.kind}",
            why=f"found {value!r} ({type(value).__name__})",
            remedy=f"correct the value of {name}; nothing was changed",
        )
    return Flag(name, parsed)


def _refuse_unknown(name: object) -> Never:
    near = difflib.get_close_matches(str(name).lower().lstrip("-").replace("_", "-"), KNOWN_FLAGS, n=1)
    raise InvalidInputError(
        f"flag {str(name)!r} is unknown",
        why=f"known are {', '.join(sorted(KNOWN_FLAGS))}",
        remedy=(f"did you mean {near[0]}? " if near else "") + "correct or remove it; nothing was changed",
    )


def _refuse_code(name: str, value: str) -> None:
    mark = next((mark for mark in _TEMPLATE_MARKS if mark in value), None)
    if mark is not None:
        why = f"{value!r} holds {mark!r}, which is a template; values are never evaluated"
    elif (found := _NOT_PLAIN.search(value)) is not None:
        why = f"{value!r} holds {found[0]!r}, which means something to a shell or to TOML"
    else:
        return
    raise InvalidInputError(
        f"the value of flag {name} is not a plain word",
        why=why,
        remedy=f"write the value of {name} out ({KNOWN_FLAGS[name].kind}); nothing was changed",
    )
