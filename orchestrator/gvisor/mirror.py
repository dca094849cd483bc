"""An operator's directory of gVisor files: where in it a release is looked for. Nothing here touches a network.

Accepted, in this order: ``DIR/RELEASE/ARCHITECTURE``, ``DIR/RELEASE``, ``DIR/ARCHITECTURE`` and ``DIR`` itself, each
holding either the files (``runsc``, ``containerd-shim-runsc-v1``, ``gvisor-bin/``) or the release tarball.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import GvisorNodesError, InvalidInputError
from orchestrator.gvisor.releases import ARCHIVE, RUNSC

if TYPE_CHECKING:
    from orchestrator.gvisor.artifact_set import ArtifactSet
    from orchestrator.gvisor.catalogue_entry import CatalogueEntry


def find(directory: Path, entry: CatalogueEntry) -> Path:
    """The directory of a release's files, or the path of its tarball.

    Args:
        directory: the operator's directory.
        entry: the release; a tarball is taken only if its hash is known, and then before loose files without hashes.

    Raises:
        InvalidInputError: the directory is missing or holds no such release.
    """
    if not directory.is_dir():
        raise InvalidInputError(
            f"the directory of gVisor files {directory} cannot be used",
            why="it does not exist, or is not a directory on this machine",
            remedy="give an existing directory; it is read where gvisor-nodes runs, not on the nodes",
        )
    for candidate in candidates(directory, entry.release, entry.architecture):
        loose = (candidate / RUNSC).is_file()
        archive = (candidate / ARCHIVE).is_file() and ARCHIVE in entry.files
        if loose and not (archive and RUNSC not in entry.members):
            return candidate
        if archive:
            return candidate / ARCHIVE
    places = ", ".join(str(path) for path in candidates(directory, entry.release, entry.architecture))
    raise InvalidInputError(
        f"the directory {directory} does not hold gVisor release {entry.release} for {entry.architecture}",
        why=f"no {RUNSC}{f' or {ARCHIVE}' if ARCHIVE in entry.files else ''} in {places}",
        remedy=f"where there is a network: gvisor-nodes releases fetch {entry.release} --arch {entry.architecture} "
        "--to DIRECTORY, then copy the directory here",
    )


def candidates(directory: Path, release: str, architecture: str) -> tuple[Path, ...]:
    """Where in an operator's directory a release may lie, the most specific place first."""
    return (directory / release / architecture, directory / release, directory / architecture, directory)


def export(found: ArtifactSet, directory: Path) -> Path:
    """Copy a release's files to ``DIRECTORY/RELEASE/ARCHITECTURE``, replacing what was there by a rename.

    Args:
        found: checked files.
        directory: made if missing.

    Returns:
        The directory with the files.

    Raises:
        GvisorNodesError: it cannot be written.
    """
    target = directory / found.release / found.architecture
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{found.architecture}-", dir=target.parent) as name:
            new, old = Path(name) / "new", Path(name) / "old"
            for file in found.files:
                place = new / file.path
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(found.directory / file.path, place)
                place.chmod(0o755)
            new.chmod(0o755)
            if target.exists():
                target.rename(old)
            new.rename(target)
    except OSError as error:
        raise GvisorNodesError(
            f"the files of gVisor release {found.release} cannot be copied to {target}",
            why=f"{error.strerror or error}: {error.filename}",
            remedy="choose a directory that is writable and has 300 MB of free space",
        ) from error
    return target
