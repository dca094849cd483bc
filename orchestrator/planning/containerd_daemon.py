"""What a version of containerd can read and how it merges: the facts that decide how a handler is added. Pure.

Run with 1.6.20, 1.7.24, 2.0.14, 2.2.9, 2.3.4 and 2.4.2, and read in their sources (`cmd/containerd/server/config`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from orchestrator.errors import InvalidInputError, RefusedError

_OLDEST: Final = (1, 6)
_FIRST_WITH_VERSION_4: Final = (2, 3)


@dataclass(frozen=True, slots=True, order=True)
class Daemon:
    """A release of containerd, as far as its configuration goes."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"

    @property
    def merges(self) -> bool:
        """Whether tables of several files, and the built-in ones, are merged deeply; 1.x replaces a whole plugin."""
        return self.major > 1

    @property
    def newest_version(self) -> int:
        """The newest configuration version that it reads."""
        if not self.merges:
            return 2
        return 4 if (self.major, self.minor) >= _FIRST_WITH_VERSION_4 else 3

    @property
    def version_of_a_new_file(self) -> int:
        """The version for a file that says nothing yet: the newest that every release of this major reads."""
        return 3 if self.merges else 2


def read_daemon(version: str) -> Daemon:
    """The release behind a version text, as `containerd --version` or the CRI has it, e.g. ``1.7.24~ds1``.

    Raises:
        InvalidInputError: the text is no version.
        RefusedError: a release whose configuration is not known here.
    """
    match = re.match(r"v?(\d+)\.(\d+)", version)
    if not match:
        raise InvalidInputError(
            f"{version!r} is no version of containerd",
            remedy="run `containerd --version` on the node",
        )
    daemon = Daemon(int(match[1]), int(match[2]))
    if not Daemon(*_OLDEST) <= daemon < Daemon(3, 0):
        raise RefusedError(
            f"containerd {version} is not supported",
            why="the configuration of containerd 1.6, 1.7 and 2.x is known here",
            remedy="use a node with containerd 1.6, 1.7 or 2.x; nothing was changed",
        )
    return daemon
