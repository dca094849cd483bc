"""Turn a release name into checked files on this machine.

Order: an operator's directory if one is given (then nothing else, and no network), the cache, the release bucket, the
published Go module. Which of the last two is decided by the catalogue entry, never by what happens to answer: a release
known by hash has exactly these bytes. Action plugins call :func:`resolve` in forked processes of many hosts at once;
the first one fetches, the others wait for it. What the files mean for a node is decided in planning.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from orchestrator.errors import GvisorNodesError, InvalidInputError, RefusedError
from orchestrator.gvisor import archive, cache, download, gobuild, mirror
from orchestrator.gvisor.artifact_set import ArtifactFile, ArtifactSet
from orchestrator.gvisor.cache import default_cache
from orchestrator.gvisor.catalogue import Catalogue
from orchestrator.gvisor.inspection import Inspection, inspect
from orchestrator.gvisor.releases import ARCHIVE, DEFAULT_BUCKET, DEFAULT_RELEASE, RUNSC, SHIM
from orchestrator.gvisor.storage import Digests, locked

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.gvisor.catalogue_entry import CatalogueEntry

__all__ = [
    "DEFAULT_BUCKET",
    "DEFAULT_RELEASE",
    "ArtifactFile",
    "ArtifactSet",
    "ArtifactSources",
    "default_cache",
    "resolve",
]

_LOCK_TIMEOUT: Final = 1800.0  # a cold build on a busy core takes this long at worst

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ArtifactSources:
    """Where files may come from.

    Attributes:
        directory: an operator's directory on this machine (air gap); if given, nothing else is asked.
        releases_files: catalogue files for this run, later ones win.
        cache: directory for what was fetched or built.
        bucket: URL of the release bucket or of a mirror with the same layout.
        offline: never use the network; what is neither in the cache nor buildable from Go's module cache is an error.
        go_module: whether releases known as a Go module may be built here.
    """

    directory: Path | None = None
    releases_files: tuple[Path, ...] = ()
    cache: Path = field(default_factory=default_cache)
    bucket: str = DEFAULT_BUCKET
    offline: bool = False
    go_module: bool = True


def _silent(_message: str) -> None:
    """Tell nobody."""


def resolve(release: str, architecture: str, sources: ArtifactSources, progress: Progress = _silent) -> ArtifactSet:
    """The files of a release, fetched if need be, and checked.

    Args:
        release: ``YYYYMMDD.N``.
        architecture: of the node.
        sources: where files may come from.
        progress: told about slow steps, one line each.

    Raises:
        InvalidInputError: unknown release, a bad catalogue file, or bad files in the operator's directory.
        RefusedError: what was fetched is not what the catalogue says, or the sources forbid what is needed.
        MissingComponentError: a build is needed and there is no Go.
        GvisorNodesError: the network, the disk, or a build failed.
    """
    entry = Catalogue.load(sources.releases_files).entry(release, architecture)
    try:
        if sources.directory is not None:
            found = mirror.find(sources.directory.expanduser(), entry)
            if found.name != ARCHIVE or found.is_dir():
                return _in_place(found, entry, sources)
            return _cached(entry, sources, progress, lambda work: _from_archive(found, work, entry))
        return _cached(entry, sources, progress, lambda work: _from_network(work, entry, sources, progress))
    except OSError as error:
        raise GvisorNodesError(
            f"the files of gVisor release {release} cannot be read or stored",
            why=f"{error.strerror or error}: {error.filename or sources.cache}",
            remedy=f"check permissions and free space of {sources.cache}, or set XDG_CACHE_HOME",
        ) from error


def _in_place(directory: Path, entry: CatalogueEntry, sources: ArtifactSources) -> ArtifactSet:
    inspection = inspect(directory, entry, Digests(sources.cache / "digests"), hashes_needed=True)
    inspection.require(InvalidInputError)
    return _artifact_set(directory, entry, inspection, f"directory {directory}; {entry.source}, {entry.date}")


def _cached(
    entry: CatalogueEntry, sources: ArtifactSources, progress: Progress, obtain: Callable[[Path], str]
) -> ArtifactSet:
    """The cache's copy, or a new one that ``obtain`` puts into an empty directory, returning where it came from."""
    digests = Digests(sources.cache / "digests")
    if (known := cache.read(entry, sources.cache, digests)) is not None:
        return known
    lock = sources.cache / "locks" / f"{entry.release}-{entry.architecture}-{entry.key}"
    with locked(
        lock, _LOCK_TIMEOUT, lambda: progress(f"waiting for another process that fetches release {entry.release}")
    ):
        if (known := cache.read(entry, sources.cache, digests)) is not None:
            return known
        with cache.work_directory(sources.cache) as work:
            files = work / "files"
            files.mkdir()
            source = obtain(files)
            inspection = inspect(files, entry, digests, hashes_needed=False)
            inspection.require(RefusedError, where=source)
            place = cache.slot(entry, sources.cache)
            result = _artifact_set(place, entry, inspection, f"{source}; {entry.source}, {entry.date}")
            cache.publish(files, entry, result, sources.cache)
            return result


def _from_network(work: Path, entry: CatalogueEntry, sources: ArtifactSources, progress: Progress) -> str:
    name = f"gVisor release {entry.release} for {entry.architecture}"
    if entry.layout == "module":
        if entry.module is None:
            raise InvalidInputError(
                f"{name} is a local build and is not here",
                why=f"the catalogue knows its hashes ({entry.source}), but no place to fetch it from",
                remedy="give the directory that holds the build (runsc_artifacts_directory)",
            )
        if not sources.go_module:
            raise RefusedError(
                f"{name} is known as a Go module only, and building is switched off",
                why=f"no published binary with a hash is known ({entry.source})",
                remedy="allow the build, choose another release, or give a directory with the finished files",
            )
        gobuild.build(
            entry.release, entry.architecture, work, module=entry.module, offline=sources.offline, progress=progress
        )
        return f"built here from {gobuild.MODULE}@{entry.module.version}"
    if sources.offline:
        raise RefusedError(
            f"{name} is not in the cache, and the network must not be used",
            why=f"{sources.cache} has no checked copy of it",
            remedy="give an operator's directory, or fetch it once where the network may be used",
        )
    download.check_bucket(sources.bucket)
    base = f"{sources.bucket.rstrip('/')}/{entry.release}/{entry.architecture}"
    if entry.layout == "loose":
        for file in (RUNSC, SHIM):
            download.fetch(f"{base}/{file}", work / file, entry.files[file], progress)
            (work / file).chmod(0o755)
        return base
    if ARCHIVE not in entry.files:
        raise InvalidInputError(
            f"{name} cannot be fetched",
            why=f"the catalogue has no hash of {ARCHIVE}, only of its members",
            remedy=f"add the hash of {ARCHIVE} to the catalogue file, or give a directory with the files",
        )
    tarball = work.parent / ARCHIVE
    download.fetch(f"{base}/{ARCHIVE}", tarball, entry.files[ARCHIVE], progress)
    progress(f"unpacking {ARCHIVE}")
    archive.unpack(tarball, work, entry.members)
    return f"{base}/{ARCHIVE}"


def _from_archive(tarball: Path, work: Path, entry: CatalogueEntry) -> str:
    algorithm, _, wanted = entry.files[ARCHIVE].partition(":")
    # copied first: what is hashed must be what is unpacked, whoever else writes to the operator's directory
    copy = work.parent / ARCHIVE
    shutil.copyfile(tarball, copy)
    found = Digests(work.parent).digest(copy, algorithm)
    if found != wanted:
        raise InvalidInputError(
            f"{tarball} has the wrong hash",
            why=f"expected {algorithm} {wanted} ({entry.source}, {entry.date}), found {found}",
            remedy=f"put {ARCHIVE} of release {entry.release} for {entry.architecture} there",
        )
    archive.unpack(copy, work, entry.members)
    return str(tarball)


def _artifact_set(directory: Path, entry: CatalogueEntry, inspection: Inspection, source: str) -> ArtifactSet:
    return ArtifactSet(
        release=entry.release,
        architecture=entry.architecture,
        directory=directory,
        files=tuple(inspection.files),
        source=source,
        warnings=tuple(inspection.warnings),
        shim_containerd=inspection.shim_containerd,
    )
