"""Files that several processes write at once: atomic replacement, a lock with a deadline, remembered digests.

Action plugins of many hosts resolve the same release in forked processes at the same time, so everything that is kept
between runs goes through here.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.errors import GvisorNodesError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_POLL_SECONDS: Final = 0.1  # flock has no deadline of its own; ten looks a second cost nothing beside a download

# A file changed twice within the clock's granularity could keep its stamp, so the very youngest are not remembered.
_YOUNG_NANOSECONDS: Final = 1_000_000_000


def write_atomically(target: Path, content: bytes) -> None:
    """Replace a file so that a reader sees the old bytes or the new ones, also after a power cut."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def locked(path: Path, timeout: float, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold an exclusive lock that the kernel releases with the process.

    Args:
        path: the lock file; it stays, because removing it would let two holders in.
        timeout: seconds to wait for another holder.
        waiting: called once when somebody else holds it.

    Raises:
        GvisorNodesError: the other holder did not finish in time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + timeout
    with path.open("ab") as file:
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise GvisorNodesError(
                        f"another process has been working on the same files for {timeout:.0f} seconds",
                        why=f"it holds the lock {path}",
                        remedy=f"find it with `fuser {path}`; a process that ends releases the lock",
                    ) from None
                if not told:
                    waiting()
                    told = True
                time.sleep(_POLL_SECONDS)
        yield


@dataclass(frozen=True, slots=True)
class Digests:
    """Digests of big files, remembered as long as size, times and inode stay the same.

    Without it every host of a run would cost half a second of hashing. ``ctime`` is part of what is compared: whoever
    changes the bytes cannot set it back without being root.

    Attributes:
        directory: where to remember; created when needed, failures to write are ignored.
    """

    directory: Path

    def digest(self, path: Path, algorithm: str = "sha512") -> str:
        """Hex digest of a file's bytes."""
        before = path.stat()
        name = hashlib.sha256(f"{algorithm}:{path.absolute()}".encode()).hexdigest()[:32]
        note = self.directory / f"{name}.json"
        stamp = [before.st_size, before.st_mtime_ns, before.st_ctime_ns, before.st_ino, before.st_dev]
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            remembered = json.loads(note.read_text())
            if remembered["stamp"] == stamp:
                return str(remembered["digest"])
        with path.open("rb") as file:
            value = hashlib.file_digest(file, algorithm).hexdigest()
        if time.time_ns() - before.st_ctime_ns > _YOUNG_NANOSECONDS:
            with contextlib.suppress(OSError):
                self.directory.mkdir(parents=True, exist_ok=True)
                write_atomically(note, json.dumps({"stamp": stamp, "digest": value}).encode())
        return value
