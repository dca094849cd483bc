"""Runs on a node (standard library, Python >= 3.9): print every path below a root as a line of JSON.

Arguments: the root, then paths below it that are left out. See ``orchestrator/lab/tree.py`` for what a line holds.
"""

# The fewest imports and system calls, on the oldest Python a node may have; printing is how it answers.
# ruff: noqa: PTH123, PTH115, PTH208, PTH118, T201

import hashlib
import json
import os
import stat
import sys


def sha256(path: str) -> str:
    """Return the digest of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def entry(path: str) -> list:  # type: ignore[type-arg]
    """Return kind, mode, uid, gid and content of one path, links not followed."""
    status = os.lstat(path)
    mode = status.st_mode
    if stat.S_ISREG(mode):
        kind, content = "file", sha256(path)
    elif stat.S_ISLNK(mode):
        kind, content = "link", os.readlink(path)
    elif stat.S_ISDIR(mode):
        kind, content = "directory", ""
    else:
        kind, content = "other", f"{stat.S_IFMT(mode):o}:{status.st_rdev}"
    return [kind, stat.S_IMODE(mode), status.st_uid, status.st_gid, content]


def main(root: str, excluded: set) -> None:  # type: ignore[type-arg]
    """Walk, and print."""
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
                found = entry(path)
            except FileNotFoundError:  # it went between the two looks; so it is not there
                continue
            print(json.dumps([path, *found]))
            if found[0] == "directory":
                pending.append(path)


if __name__ == "__main__":
    main(sys.argv[1], set(sys.argv[2:]))
