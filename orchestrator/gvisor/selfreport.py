"""Ask gVisor's binaries which release they are, and what their shim was built on.

``runsc --version`` prints ``runsc version release-20260905.0``; ``containerd-shim-runsc-v1 -v`` prints the version of
the containerd library it was built with, and that decides which containerd can start it: a shim of the 2.x library
answers ``start`` with JSON, which containerd understands from 1.7 on (seen: 1.6.20 fails, 1.7.24 works).
"""

from __future__ import annotations

import mmap
import re
import subprocess
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_TIMEOUT: Final = 30.0  # seconds; both answer within 0.1 s, this is for a machine under load
_MAX_TEXT: Final = 300
_RUNSC = re.compile(r"^runsc version (\S+)", re.MULTILINE)
_SHIM = re.compile(r"^\s*Version:\s*(\S+)", re.MULTILINE)
_DRIVERS = re.compile(r"^[0-9]{3,4}\.[0-9]+(?:\.[0-9]+)?$", re.MULTILINE)
_LABEL = re.compile(rb"release-20[0-9]{6}\.[0-9]{1,3}(?![0-9])")
_LIBRARY = re.compile(rb"github\.com/containerd/containerd(?:/v2)?[\t@]v([0-9]+\.[0-9]+\.[0-9]+)")


class NoAnswerError(Exception):
    """The binary did not say what it was asked; the text says why."""


def runsc_version(runsc: Path) -> str:
    """What ``runsc --version`` says, for example ``release-20260905.0``.

    Raises:
        NoAnswerError: it cannot be run, fails, hangs, or prints something else.
    """
    return _ask(runsc, "--version", _RUNSC)


def shim_version(shim: Path) -> str:
    """The containerd library that the shim says it was built on, for example ``2.1.5+unknown``.

    Raises:
        NoAnswerError: see :func:`runsc_version`.
    """
    return _ask(shim, "-v", _SHIM)


def supported_drivers(runsc: Path) -> str:
    """What ``runsc nvproxy list-supported-drivers`` prints: an NVIDIA driver a line. Needs no GPU.

    Raises:
        NoAnswerError: see :func:`runsc_version`; also of a release older than the command (20231106.0).
    """
    return _answer(runsc, ["nvproxy", "list-supported-drivers"], _DRIVERS).string


def labels(binary: Path, limit: int = 5) -> tuple[str, ...]:
    """The ``release-…`` labels in a file's bytes, in order of appearance, each once.

    For binaries of another architecture, and for sidecars, which have no ``--version``.
    """
    found: dict[str, None] = {}
    for match in _search(binary, _LABEL):
        found[match.decode()] = None
        if len(found) >= limit:
            break
    return tuple(found)


def shim_library(shim: Path) -> str:
    """The containerd library in the build information of a Go binary that cannot be run here, empty if not found."""
    for match in _search(shim, _LIBRARY):
        return match.decode()
    return ""


def _search(path: Path, pattern: re.Pattern[bytes]) -> list[bytes]:
    if path.stat().st_size == 0:
        return []
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return [match[pattern.groups] for match in pattern.finditer(content)]


def _ask(program: Path, argument: str, pattern: re.Pattern[str]) -> str:
    return _answer(program, [argument], pattern)[1]


def _answer(program: Path, arguments: list[str], pattern: re.Pattern[str]) -> re.Match[str]:
    command = f"`{' '.join([program.name, *arguments])}`"
    try:
        done = subprocess.run(
            [str(program.absolute()), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_TIMEOUT,
            check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        )
    except subprocess.TimeoutExpired as error:
        raise NoAnswerError(f"{command} did not answer within {_TIMEOUT:.0f} s") from error
    except PermissionError as error:
        raise NoAnswerError(f"`{program.name}` cannot be executed; is {program.parent} mounted noexec?") from error
    except OSError as error:
        raise NoAnswerError(f"`{program.name}` cannot be executed: {error.strerror}") from error
    text = done.stdout.decode(errors="replace")
    match = pattern.search(text)
    if match is None:
        raise NoAnswerError(f"{command} exited {done.returncode} and printed {text.strip()[:_MAX_TEXT]!r}")
    return match
