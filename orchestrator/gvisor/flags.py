"""Judge flags as people write them, and render the lines that a generation's ``flags`` file holds. Pure.

:func:`judge` gives a verdict on every flag and decides nothing: on the command line, in an inventory and in a playbook
anything but "accepted" is an error before anything changes (:func:`parse_flags`); a controller may leave a flag out
and report it instead. What is known of flags is in ``flag_catalogue.py``, what the operator allows in
``flag_policy.py``. The release's own binary has the last word (``flag_binaries.py``); this module exists so that the
usual mistake is found without it, and so that nothing but plain words ever reaches a shell script, a TOML file or a
template.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from orchestrator.errors import InvalidInputError
from orchestrator.gvisor.flag_catalogue import FlagClass, KnownFlag, Presence, known_flags, known_releases
from orchestrator.gvisor.flag_policy import DEFAULT_POLICY, VARIABLE, Policy
from orchestrator.gvisor.flag_rules import conflicts

if TYPE_CHECKING:
    from collections.abc import Mapping

DEBUG_LOG_NAME: Final = "%ID%/%COMMAND%-gvisor.log"
"""Below the directory for debug logs: the dispatcher puts containerd's id for %ID%, runsc its command for %COMMAND%."""

_TEMPLATE_MARKS: Final = ("{{", "{%", "{#")
_NOT_PLAIN = re.compile(r"""[\x00-\x1f\x7f`$&|;<>(){}\[\]*?!#~\\"'\s]""")
_DIRECTORY = re.compile(r"(/[A-Za-z0-9._-]+)+")


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag with its value as runsc's command line has it."""

    name: str
    value: str

    def __str__(self) -> str:
        return f"--{self.name}={self.value}"


class Kind(StrEnum):
    """What came of a flag. The table in docs/architecture.md says what each gets."""

    ACCEPTED = "accepted"
    UNKNOWN = "unknown"
    ABSENT = "not in this release"
    RESERVED = "never set by a person"
    MALFORMED = "malformed"
    FORBIDDEN = "not allowed by policy"
    CONFLICT = "in conflict"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said about one flag, or about one that does not go together with others.

    Attributes:
        name: the flag, as it was written.
        kind: what came of it.
        flag: what to render, of accepted ones only.
        what: what is wrong, one sentence, of all others; with ``why`` and ``remedy`` as errors have them.
    """

    name: str
    kind: Kind
    flag: Flag | None = None
    what: str = ""
    why: str = ""
    remedy: str = ""


def judge(values: Mapping[str, object], release: str = "", policy: Policy = DEFAULT_POLICY) -> tuple[Verdict, ...]:
    """Say of every flag what comes of it.

    Args:
        values: by name without hyphens; booleans as ``true``/``false`` or YAML's own, numbers as numbers or texts.
        release: the wanted one; where it is empty, flags of any release are known.
        policy: the operator's.

    Returns:
        One verdict for each flag, in the order of the names, then one for each conflict among the accepted ones.
    """
    verdicts = [_judge(name, values[name], release, policy) for name in sorted(values, key=str)]
    accepted = {verdict.flag.name: verdict.flag.value for verdict in verdicts if verdict.flag is not None}
    found = [
        Verdict(
            conflict.name,
            Kind.CONFLICT,
            what=f"flag {conflict.name} does not go together with the others",
            why=f"{conflict.name} is {accepted[conflict.name]}: {conflict.why}",
            remedy=f"{conflict.remedy}; nothing was changed",
        )
        for conflict in conflicts(accepted)
    ]
    return (*verdicts, *found)


def parse_flags(values: Mapping[str, object], release: str = "", policy: Policy = DEFAULT_POLICY) -> tuple[Flag, ...]:
    """Check flags as people write them; arguments as for :func:`judge`.

    Returns:
        The flags in the order of their names.

    Raises:
        InvalidInputError: for the first flag that is not accepted.
    """
    flags = []
    for verdict in judge(values, release, policy):
        if verdict.flag is None:
            raise InvalidInputError(verdict.what, why=verdict.why, remedy=verdict.remedy)
        flags.append(verdict.flag)
    return tuple(flags)


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


def _judge(name: object, value: object, release: str, policy: Policy) -> Verdict:
    known = known_flags().get(name) if isinstance(name, str) else None
    if known is None:
        return _unknown(str(name))
    if not known.settable:
        return _reserved(known)
    if release and known.presence(release) is Presence.ABSENT:
        return _absent(known, release)
    return _judge_value(known, value, release, policy)


def _judge_value(known: KnownFlag, value: object, release: str, policy: Policy) -> Verdict:
    if isinstance(value, str) and (why := _code(value)):
        return Verdict(
            known.name,
            Kind.MALFORMED,
            what=f"the value of flag {known.name} is not a plain word",
            why=why,
            remedy=f"write the value of {known.name} out ({known.grammar.meaning}); nothing was changed",
        )
    parsed = known.grammar.parse(value)
    if parsed is None:
        return Verdict(
            known.name,
            Kind.MALFORMED,
            what=f"flag {known.name} takes {known.grammar.meaning}",
            why=f"found {value!r} ({type(value).__name__})",
            remedy=f"correct the value of {known.name}; nothing was changed",
        )
    if release and known.value_presence(parsed, release) is Presence.ABSENT:
        return _absent_value(known, parsed, release)
    if not policy.allows(known, parsed):
        return _forbidden(known, parsed, policy)
    return Verdict(known.name, Kind.ACCEPTED, Flag(known.name, parsed))


def _unknown(name: str) -> Verdict:
    names = known_flags()
    near = difflib.get_close_matches(name.lower().lstrip("-").replace("_", "-"), names, n=1)
    return Verdict(
        name,
        Kind.UNKNOWN,
        what=f"flag {name!r} is unknown",
        why=f"{len(names)} flags of gVisor {known_releases()[0]} to {known_releases()[-1]} are known"
        + (f", the nearest is {near[0]}" if near else ""),
        remedy=(f"did you mean {near[0]}? " if near else "")
        + "correct or remove it, `gvisor-nodes flags` lists all that are known; nothing was changed",
    )


def _reserved(known: KnownFlag) -> Verdict:
    said = {
        FlagClass.OURS: f"who sets it: {known.why}",
        FlagClass.TESTING: f"it is for tests only: {known.why}",
        FlagClass.OBSOLETE: f"it is obsolete: {known.why}",
    }
    return Verdict(
        known.name,
        Kind.RESERVED,
        what=f"flag {known.name} cannot be set",
        why=said[known.risk],
        remedy=f"remove {known.name}; nothing was changed",
    )


def _absent(known: KnownFlag, release: str) -> Verdict:
    return Verdict(
        known.name,
        Kind.ABSENT,
        what=f"gVisor {release} has no flag {known.name}",
        why=f"releases that have it: {known.releases}",
        remedy=f"remove {known.name}, or choose such a release; nothing was changed",
    )


def _absent_value(known: KnownFlag, value: str, release: str) -> Verdict:
    later = ", ".join(
        f"{part} works from {known.later[part]} on" for part in known.grammar.parts(value) if part in known.later
    )
    return Verdict(
        known.name,
        Kind.ABSENT,
        what=f"gVisor {release} does not take {known.name}={value}",
        why=later,
        remedy=f"choose another value of {known.name}, or a newer release; nothing was changed",
    )


def _forbidden(known: KnownFlag, value: str, policy: Policy) -> Verdict:
    reason = f"{known.risk}: {known.why}; " if known.why else ""
    return Verdict(
        known.name,
        Kind.FORBIDDEN,
        what=f"flag {known.name}={value} is not allowed by policy",
        why=f"{reason}allowed of {known.name}: {policy.allowed(known)}",
        remedy=f"remove it, or let the owner of the nodes name it in {VARIABLE}, "
        f'for example {VARIABLE}: {{"allow": {{"{known.name}": ["{value}"]}}}}; nothing was changed',
    )


def _code(value: str) -> str:
    """Why a value could be evaluated by somebody, or nothing."""
    mark = next((mark for mark in _TEMPLATE_MARKS if mark in value), None)
    if mark is not None:
        return f"{value!r} holds {mark!r}, which is a template; values are never evaluated"
    found = _NOT_PLAIN.search(value)
    return f"{value!r} holds {found[0]!r}, which means something to a shell or to TOML" if found else ""
