"""One process at a time: a file lock with a deadline, so that two processes do not build the same thing twice."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from orchestrator.errors import RefusedError
from orchestrator.lab.program import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_POLL_SECONDS = 0.1


@contextmanager
def held(path: Path, *, what: str, timeout: float, progress: Progress = silent) -> Iterator[None]:
    """Hold the lock file ``path`` (made with its directory); the kernel frees it should this process die.

    Args:
        path: the lock file; its holder may remove it.
        what: what the holder does, for the message of those that wait.
        timeout: seconds to wait for another holder.
        progress: told once when this process has to wait.

    Raises:
        RefusedError: another process still holds it after ``timeout``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout
    told = False
    while True:
        with path.open("a") as file:
            if _locked(file, path):
                yield
                return
        if not told:
            progress(f"waiting for another process: {what}")
            told = True
        if time.monotonic() > deadline:
            raise RefusedError(
                f"Another process has been busy for {timeout:.0f} s: {what}",
                why=f"it holds {path}",
                remedy=f"wait for it, or find it with: fuser -v {path}",
            )
        # flock has no timeout of its own, and a signal would disturb the caller's.
        time.sleep(_POLL_SECONDS)


def _locked(file: IO[str], path: Path) -> bool:
    """Try to lock; a file that its last holder removed meanwhile locks nobody out, so it does not count."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    try:
        return path.stat().st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False
