"""An operator's directory of gVisor files: where in it a release is looked for. Nothing here touches a network.

Accepted, in this order: ``DIR/RELEASE/ARCHITECTURE``, ``DIR/RELEASE``, ``DIR/ARCHITECTURE`` and ``DIR`` itself, each
holding either the files (``runsc``, ``containerd-shim-runsc-v1``, ``gvisor-bin/``) or the release tarball.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.errors import GvisorNodesError, InvalidInputError
from orchestrator.gvisor.catalogue_entry import CatalogueEntry, read_file, render
from orchestrator.gvisor.releases import ARCHIVE, RUNSC
from orchestrator.gvisor.storage import write_atomically

if TYPE_CHECKING:
    from orchestrator.gvisor.artifact_set import ArtifactSet

CATALOGUE: Final = "releases.json"


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


def export(found: ArtifactSet, entry: CatalogueEntry, directory: Path) -> Path:
    """Copy a release's files to ``DIRECTORY/RELEASE/ARCHITECTURE``, replacing what was there by a rename.

    ``DIRECTORY/releases.json`` is a catalogue file with the hashes of everything exported there. It is needed where
    the built-in catalogue has no hash of every file (a build, a tarball), and must reach the other site by a way that
    is trusted: a directory cannot vouch for itself, so nothing reads it without being told to.

    Args:
        found: checked files.
        entry: what the catalogue says about them.
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
        _record(found, entry, directory / CATALOGUE)
    except OSError as error:
        raise GvisorNodesError(
            f"the files of gVisor release {found.release} cannot be copied to {target}",
            why=f"{error.strerror or error}: {error.filename}",
            remedy="choose a directory that is writable and has 300 MB of free space",
        ) from error
    return target


def _record(found: ArtifactSet, entry: CatalogueEntry, file: Path) -> None:
    known = {(old.release, old.architecture): old for old in (read_file(file) if file.exists() else ())}
    known[entry.release, entry.architecture] = CatalogueEntry(
        release=entry.release,
        architecture=entry.architecture,
        layout=entry.layout,
        source=found.source,
        date=entry.date,
        files={item.path: f"sha512:{item.sha512}" for item in found.files},
    )
    write_atomically(file, render(known.values()).encode())
    file.chmod(0o644)
