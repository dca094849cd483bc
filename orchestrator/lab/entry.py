"""How a process gets into a node without the container engine: through the namespaces of the node's first process.

An engine's ``exec`` starts some five programs, 0.2 s of processor time for each command; ``nsenter`` is one, 0.01 s. It
needs root, and an engine whose containers are processes of this machine. That is not assumed: it is seen from the
control groups of the process that the engine names.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from orchestrator.lab.process import Identity

# What an engine gives a command in a node, and nothing of ours.
_ENVIRONMENT = (
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "TERM=xterm",
    "container=podman",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """The way into a running node, by its first process."""

    process: Identity

    @classmethod
    def find(cls, pid: int, container: str) -> Self | None:
        """Return the way in through a process, or None: we may not, or it is no process of the container here."""
        if os.geteuid() != 0 or shutil.which("nsenter") is None:
            return None
        process = Identity.of(pid)
        try:
            groups = Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii")
        except OSError:
            return None
        return cls(process) if process is not None and container in groups else None

    @property
    def is_open(self) -> bool:
        """Whether the process still runs, and no other has got its number."""
        return Identity.of(self.process.pid) == self.process

    def arguments(self, argv: tuple[str, ...]) -> list[str]:
        """Return the command that runs ``argv`` in the node as root, with our standard input."""
        return ["nsenter", f"--target={self.process.pid}", "--all", "--", "/usr/bin/env", "-i", *_ENVIRONMENT, *argv]
