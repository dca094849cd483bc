"""The cache of checked release files: one slot per catalogue entry, published by a rename.

A slot without its manifest does not exist, so a process killed half-way leaves nothing that is used. Layout:
``releases/RELEASE/ARCHITECTURE/KEY/`` with ``KEY.json`` beside it, ``locks/``, ``digests/``, ``partial/``.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.gvisor.artifact_set import ArtifactFile, ArtifactSet
from orchestrator.gvisor.storage import Digests, write_atomically

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.gvisor.catalogue_entry import CatalogueEntry


def default_cache() -> Path:
    """``${XDG_CACHE_HOME:-~/.cache}/gvisor-nodes``."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "gvisor-nodes"


def is_cached(entry: CatalogueEntry, cache: Path) -> bool:
    """Whether a release's files lie in the cache (they are checked when they are used)."""
    return _manifest(entry, cache).exists()


@contextmanager
def work_directory(cache: Path) -> Iterator[Path]:
    """A directory on the cache's file system (so that a rename publishes), gone afterwards."""
    parent = cache / "partial"
    parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def slot(entry: CatalogueEntry, cache: Path) -> Path:
    """Where the cache keeps the files of an entry; other hashes, another place."""
    return cache / "releases" / entry.release / entry.architecture / entry.key


def _manifest(entry: CatalogueEntry, cache: Path) -> Path:
    return slot(entry, cache).with_suffix(".json")


def publish(files: Path, entry: CatalogueEntry, result: ArtifactSet, cache: Path) -> None:
    """Make checked files the cache's copy.

    Args:
        files: directory on the cache's file system; it is moved away.
        entry: what they are.
        result: what is remembered about them; its directory is :func:`slot`.
        cache: the cache.
    """
    target, manifest = slot(entry, cache), _manifest(entry, cache)
    manifest.unlink(missing_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    for path in (files, *(item for item in files.rglob("*"))):
        path.chmod(0o755)  # mkdtemp's 0700 would reach the node; files are known to be executable
    files.replace(target)
    content = {
        "files": [asdict(file) for file in result.files],
        "source": result.source,
        "warnings": result.warnings,
        "shim_containerd": result.shim_containerd,
    }
    write_atomically(manifest, json.dumps(content, indent=1).encode())  # last: no manifest, no copy


def read(entry: CatalogueEntry, cache: Path, digests: Digests) -> ArtifactSet | None:
    """The cache's copy if it is complete and its bytes are still the ones that were checked."""
    place = slot(entry, cache)
    try:
        content = json.loads(_manifest(entry, cache).read_text())
        files = tuple(
            ArtifactFile(path=str(file["path"]), sha512=str(file["sha512"]), size=int(file["size"]))
            for file in content["files"]
        )
        for file in files:
            if digests.digest(place / file.path) != file.sha512 or not os.access(place / file.path, os.X_OK):
                return None
        return ArtifactSet(
            release=entry.release,
            architecture=entry.architecture,
            directory=place,
            files=files,
            source=str(content["source"]),
            warnings=tuple(content["warnings"]),
            shim_containerd=str(content["shim_containerd"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
