"""One compressed file per release for the way to a node: packed once on the controller, kept in the cache.

The archive is made of already checked files only. It is no release format and no node trusts it: the node hashes every
file that comes out of it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tarfile
from typing import TYPE_CHECKING

from orchestrator.gvisor.cache import default_cache

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.gvisor.artifact_set import ArtifactSet

COMPRESSION = 1
"""gzip's fastest level: 110 MB of Go binaries shrink to about 45 % in two seconds; more costs time and saves little."""


def pack(artifacts: ArtifactSet, cache: Path | None = None) -> Path:
    """Return the archive of a release, packing it if it is not there; safe for several processes at once."""
    key = hashlib.sha256("".join(f"{f.path} {f.sha512}\n" for f in artifacts.files).encode()).hexdigest()[:16]
    directory = (cache or default_cache()) / "bundles"
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / f"{artifacts.release}-{artifacts.architecture}-{key}.tar.gz"
    with (directory / f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return target
        temporary = target.with_suffix(".new")
        with tarfile.open(temporary, "w:gz", compresslevel=COMPRESSION) as tar:
            for file in artifacts.files:
                tar.add(artifacts.directory / file.path, arcname=file.path, filter=_anonymous)
        with temporary.open("rb") as packed:
            os.fsync(packed.fileno())
        temporary.replace(target)
    return target


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    member.mode = 0o755
    return member
