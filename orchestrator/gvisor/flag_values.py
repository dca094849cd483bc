"""What the values of runsc's flags look like: one grammar for each kind, text in, runsc's own spelling out. Pure.

A grammar is narrower than the binary's parser on purpose. Some values that ``runsc … list`` takes let no sandbox start
(a platform that does not exist, since such flags are plain strings there), and nothing but plain words may reach a
shell script, a TOML file or a template. The result is canonical: equal wishes have equal bytes, so no generation is
made for another spelling. Where the kinds are given to flags: ``runsc_flags_review.toml``; the next step: ``flags.py``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Protocol, override

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_METRIC = re.compile(r"[A-Za-z0-9_/.-]+")
_PATH = re.compile(r"(?:/(?:[A-Za-z0-9._-]|%ID%)+)+")
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_SIZE = re.compile(r"[1-9][0-9]{0,12}[kmg]?")
_DRIVER = re.compile(r"latest|[0-9]{3}\.[0-9]{1,3}(?:\.[0-9]{1,3})?")
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")
_PART_OF_DURATION = re.compile(r"([0-9]{1,12})(ns|us|ms|s|m|h)")
_NANOSECONDS: Final = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_NO_SIGNAL: Final = -1
_LARGEST_SIGNAL: Final = 64  # SIGRTMAX of Linux


class Grammar(Protocol):
    """The values of one kind."""

    @property
    def meaning(self) -> str:
        """What they are, for people: ``true or false``."""

    def parse(self, value: object) -> str | None:
        """The value as runsc itself prints it, or None if it is none of this kind.

        Args:
            value: as YAML or JSON gave it; texts hold plain characters only, which the caller looked at.
        """

    def parts(self, value: str) -> tuple[str, ...]:
        """The parts of a parsed value that a release may know or not: usually the value itself."""
        return (value,)


@dataclass(frozen=True, slots=True)
class Boolean(Grammar):
    """A Go boolean, in its one spelling; YAML's own booleans are taken too."""

    meaning: str = "true or false"

    @override
    def parse(self, value: object) -> str | None:
        if isinstance(value, bool):
            return "true" if value else "false"
        return value if isinstance(value, str) and value in {"true", "false"} else None


@dataclass(frozen=True, slots=True)
class Whole(Grammar):
    """A whole number between two others, as a number or its decimal text (Go would read 010 as eight)."""

    lowest: int
    highest: int

    @property
    @override
    def meaning(self) -> str:
        return f"a whole number from {self.lowest} to {self.highest}"

    @override
    def parse(self, value: object) -> str | None:
        number = _whole(value)
        return str(number) if number is not None and self.lowest <= number <= self.highest else None


@dataclass(frozen=True, slots=True)
class Signal(Grammar):
    """A signal of Linux, or none."""

    meaning: str = "-1 (none) or a signal number, 1 to 64"

    @override
    def parse(self, value: object) -> str | None:
        number = _whole(value)
        if number is None:
            return None
        return str(number) if number == _NO_SIGNAL or 1 <= number <= _LARGEST_SIGNAL else None


@dataclass(frozen=True, slots=True)
class Duration(Grammar):
    """A Go duration between two, in whole units; bounds in seconds."""

    lowest: int
    highest: int

    @property
    @override
    def meaning(self) -> str:
        return f"a time such as 500ms, 15s or 1m30s, from {self.lowest} to {self.highest} seconds"

    @override
    def parse(self, value: object) -> str | None:
        if not isinstance(value, str):
            return None
        found = _PART_OF_DURATION.findall(value)
        if not found or "".join(number + unit for number, unit in found) != value:
            return None
        total = sum(int(number) * _NANOSECONDS[unit] for number, unit in found)
        bounds = self.lowest * _NANOSECONDS["s"], self.highest * _NANOSECONDS["s"]
        return print_duration(total) if bounds[0] <= total <= bounds[1] else None


@dataclass(frozen=True, slots=True)
class OneOf(Grammar):
    """One of some words, in their own case."""

    values: tuple[str, ...]

    @property
    @override
    def meaning(self) -> str:
        return f"{', '.join(self.values[:-1])} or {self.values[-1]}"

    @override
    def parse(self, value: object) -> str | None:
        return value if isinstance(value, str) and value in self.values else None


@dataclass(frozen=True, slots=True)
class Words(Grammar):
    """Words with commas in between, each once, in their order; ``values`` are the words there are, empty for any."""

    values: tuple[str, ...] = ()
    pattern: re.Pattern[str] = _WORD
    noun: str = "words"

    @property
    @override
    def meaning(self) -> str:
        return f"{self.noun} with commas in between" + (f", out of {', '.join(self.values)}" if self.values else "")

    @override
    def parse(self, value: object) -> str | None:
        if not isinstance(value, str):
            return None
        words = value.split(",")
        if not all(self.pattern.fullmatch(word) and (not self.values or word in self.values) for word in words):
            return None
        return ",".join(sorted(set(words)))

    @override
    def parts(self, value: str) -> tuple[str, ...]:
        return tuple(value.split(","))


@dataclass(frozen=True, slots=True)
class Path(Grammar):
    """An absolute path without ``.`` and ``..``; ``%ID%`` becomes containerd's id. ``or_dash``: or a single hyphen."""

    or_dash: bool = False

    @property
    @override
    def meaning(self) -> str:
        return "an absolute path of letters, digits and . _ -, %ID% for containerd's id" + (
            ", or -" if self.or_dash else ""
        )

    @override
    def parse(self, value: object) -> str | None:
        if self.or_dash and value == "-":
            return "-"
        return value if isinstance(value, str) and _is_path(value) else None


@dataclass(frozen=True, slots=True)
class DriverVersion(Grammar):
    """A version of NVIDIA's driver, or ``latest``."""

    meaning: str = "a driver version such as 570.172.08 (in quotes), or latest"

    @override
    def parse(self, value: object) -> str | None:
        return value if isinstance(value, str) and _DRIVER.fullmatch(value) else None


@dataclass(frozen=True, slots=True)
class Overlay(Grammar):
    """``none``, or which mounts, where their writes go and how much of them."""

    meaning: str = "none, or root or all, a colon, and memory, self or dir=/a/path, then ,size=512m or nothing"

    @override
    def parse(self, value: object) -> str | None:
        if value == "none":
            return "none"
        if not isinstance(value, str):
            return None
        place, comma, size = value.partition(",size=")
        mounts, _, medium = place.partition(":")
        if mounts not in {"root", "all"} or (comma and not _SIZE.fullmatch(size)):
            return None
        directory = medium.removeprefix("dir=")
        if medium not in {"memory", "self"} and (directory == medium or not _is_path(directory)):
            return None
        return value

    @override
    def parts(self, value: str) -> tuple[str, ...]:
        return ("size",) if ",size=" in value else ()


@dataclass(frozen=True, slots=True)
class Namespace(Grammar):
    """A network namespace: a word or the path of one."""

    meaning: str = "null, new, host, or the absolute path of a network namespace"

    @override
    def parse(self, value: object) -> str | None:
        if not isinstance(value, str):
            return None
        return value if value in {"null", "new", "host"} or _is_path(value) else None


@dataclass(frozen=True, slots=True)
class Xdp(Grammar):
    """How AF_XDP is used."""

    meaning: str = "off (in quotes), ns, or redirect or tunnel, a colon and the name of a device"

    @override
    def parse(self, value: object) -> str | None:
        if not isinstance(value, str):
            return None
        mode, colon, device = value.partition(":")
        if colon:
            return value if mode in {"redirect", "tunnel"} and _DEVICE.fullmatch(device) else None
        return value if value in {"off", "ns"} else None


@dataclass(frozen=True, slots=True)
class Nothing(Grammar):
    """No value at all: of flags that a person never sets."""

    meaning: str = "nothing that you set"

    @override
    def parse(self, value: object) -> str | None:
        return None


FIXED: Final[dict[str, Grammar]] = {
    "boolean": Boolean(),
    "signal": Signal(),
    "path": Path(),
    "path or -": Path(or_dash=True),
    "metrics": Words(pattern=_METRIC, noun="names of metrics"),
    "driver version": DriverVersion(),
    "overlay": Overlay(),
    "namespace": Namespace(),
    "xdp": Xdp(),
}
"""Grammars without settings of their own, by the name that the review calls them."""


def print_duration(nanoseconds: int) -> str:
    """A duration in whole units: ``1m30s``, ``500ms``, ``0s``. Go reads it, and so does :class:`Duration`."""
    if nanoseconds % _NANOSECONDS["s"]:
        unit = next(unit for unit in ("ms", "us", "ns") if nanoseconds % _NANOSECONDS[unit] == 0)
        return f"{nanoseconds // _NANOSECONDS[unit]}{unit}"
    minutes, seconds = divmod(nanoseconds // _NANOSECONDS["s"], 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{minutes}m{seconds}s" if hours or minutes else f"{seconds}s"
    return f"{hours}h{text}" if hours else text


def _whole(value: object) -> int | None:
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _is_path(value: str) -> bool:
    return _PATH.fullmatch(value) is not None and not {".", ".."} & set(value.split("/"))
