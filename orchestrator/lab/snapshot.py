"""Runs on a node (standard library, Python >= 3.9): print every path below a root as a line of JSON.

Arguments: a file in memory, the root, then paths below it that are left out. See ``orchestrator/lab/tree.py`` for what
a line holds. The file keeps what files held; one whose number, size and times are the same holds the same, because the
kernel sets the time of change (ctime) with every change and nobody else can.
"""

# The fewest imports and system calls, on the oldest Python a node may have; printing is how it answers.
# ruff: noqa: PTH123, PTH105, PTH110, PTH115, PTH208, PTH118, T201

import hashlib
import json
import os
import stat
import sys
import time

# The kernel's clock for files goes in steps of some milliseconds: a second change within one is not seen by its time.
SETTLED_NS = 1_000_000_000


def sha256(path: str) -> str:
    """Return the digest of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class Memory:
    """What files held when they were looked at last."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.seen = {}  # type: ignore[var-annotated]
        self.known = {}
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self.known = json.load(file)

    def content(self, path: str, status: os.stat_result) -> str:
        """Return the digest of a file, read only if it may have changed."""
        is_now = [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
        before = self.known.get(path)
        digest = before[1] if before and before[0] == is_now else sha256(path)
        if status.st_ctime_ns < time.time_ns() - SETTLED_NS:
            self.seen[path] = [is_now, digest]
        return digest

    def keep(self) -> None:
        """Write it for the next look."""
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            file.write(json.dumps(self.seen))
        os.replace(self.path + ".new", self.path)


def entry(path: str, memory: Memory) -> list:  # type: ignore[type-arg]
    """Return kind, mode, uid, gid and content of one path, links not followed."""
    status = os.lstat(path)
    mode = status.st_mode
    if stat.S_ISREG(mode):
        kind, content = "file", memory.content(path, status)
    elif stat.S_ISLNK(mode):
        kind, content = "link", os.readlink(path)
    elif stat.S_ISDIR(mode):
        kind, content = "directory", ""
    else:
        kind, content = "other", f"{stat.S_IFMT(mode):o}:{status.st_rdev}"
    return [kind, stat.S_IMODE(mode), status.st_uid, status.st_gid, content]


def main(kept: str, root: str, excluded: set) -> None:  # type: ignore[type-arg]
    """Walk, and print."""
    memory = Memory(kept)
    pending = [root]
    while pending:
        directory = pending.pop()
        try:
            names = sorted(os.listdir(directory))
        except FileNotFoundError:  # as below
            continue
        for name in names:
            path = os.path.join(directory, name)
            if path in excluded:
                continue
            try:
                found = entry(path, memory)
            except FileNotFoundError:  # it went between the two looks; so it is not there
                continue
            print(json.dumps([path, *found]))
            if found[0] == "directory":
                pending.append(path)
    memory.keep()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], set(sys.argv[3:]))
