"""Unpack a release tarball: only the names a release has, only regular files.

The archive's hash is right before this runs. The rules here are for the day when the hash is of a bad archive: a path
that leaves the directory, a link, a device or a file nobody expects ends it, and nothing is kept.
"""

from __future__ import annotations

import tarfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from orchestrator.errors import RefusedError
from orchestrator.gvisor.releases import RUNSC, SIDECAR_DIRECTORY, known_paths

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_MAX_MEMBER: Final = 1024 * 1024 * 1024
_DIRECTORIES: Final = frozenset({".", SIDECAR_DIRECTORY})


def unpack(archive: Path, target: Path, extra: Iterable[str] = ()) -> tuple[str, ...]:
    """Unpack a release tarball into an empty directory.

    Args:
        archive: a tar file, compressed or not.
        target: existing, empty directory; on failure the caller removes it.
        extra: member names allowed besides those that gVisor is known to publish.

    Returns:
        The unpacked paths, sorted.

    Raises:
        RefusedError: it is no tar file, ends early, or has a member that does not belong there.
    """
    allowed = known_paths() | set(extra)
    unpacked: list[str] = []
    try:
        with tarfile.open(archive, mode="r:*") as tar:
            for member in tar:
                name = _checked_name(archive, member, allowed)
                if name in unpacked:
                    raise _refusal(archive, member.name, "it is there twice")
                if name in _DIRECTORIES:
                    continue
                # "data" refuses what leaves the directory, drops owners and the set-id bits
                tar.extract(member.replace(name=name, deep=False), target, filter="data")
                unpacked.append(name)
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None and not isinstance(error, tarfile.TarError):
            raise  # no space and the like: the caller says where
        raise RefusedError(
            f"{archive.name} is not a usable tar archive",
            why=str(error) or type(error).__name__,
            remedy="fetch it again, or take another release",
        ) from error
    if RUNSC not in unpacked:
        raise RefusedError(
            f"{archive.name} holds no {RUNSC}",
            why=f"it holds {', '.join(sorted(unpacked)) or 'no files'}",
            remedy="give gVisor's release tarball, gvisor.tar.bz2",
        )
    return tuple(sorted(unpacked))


def _checked_name(archive: Path, member: tarfile.TarInfo, allowed: frozenset[str]) -> str:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise _refusal(archive, member.name, "the path leaves the directory")
    name = str(path)
    if name in _DIRECTORIES and member.isdir():
        return name
    if not member.isreg():
        raise _refusal(archive, member.name, f"it is {_kind(member)}, expected regular files only")
    if name not in allowed:
        raise _refusal(
            archive,
            member.name,
            f"expected only {', '.join(sorted(allowed))}",
            "if gVisor has a new sidecar: update gvisor-nodes, or import a catalogue file that names it",
        )
    if member.size > _MAX_MEMBER:
        raise _refusal(archive, member.name, f"{member.size} bytes, more than {_MAX_MEMBER}")
    return name


def _refusal(archive: Path, member: str, why: str, remedy: str = "do not use this archive") -> RefusedError:
    return RefusedError(f"{archive.name} has a member that must not be there: {member!r}", why=why, remedy=remedy)


def _kind(member: tarfile.TarInfo) -> str:
    if member.issym():
        return f"a symbolic link to {member.linkname!r}"
    if member.islnk():
        return f"a hard link to {member.linkname!r}"
    return "a directory" if member.isdir() else "a device, a pipe or something else"
