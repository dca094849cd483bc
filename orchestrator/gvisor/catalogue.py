"""Which releases are known, with which hashes, and who says so.

The built-in file ``releases.json``, the user's imported file and the files given per run have one format
(``catalogue_entry.py``); the later one wins for the same release and architecture, but none may contradict a hash that
is built in: that is either a mistake or an attack, and both want a person. ``artifacts.py`` turns an entry into files.
"""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Self

from orchestrator.errors import GvisorNodesError, InvalidInputError, RefusedError
from orchestrator.gvisor.catalogue_entry import CatalogueEntry, GoModule, Layout, parse, read_file, render
from orchestrator.gvisor.releases import check_architecture, release_key
from orchestrator.gvisor.storage import write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "Catalogue",
    "CatalogueEntry",
    "GoModule",
    "Layout",
    "builtin",
    "import_file",
    "parse",
    "read_file",
    "render",
    "user_file",
]


def builtin() -> tuple[CatalogueEntry, ...]:
    """The entries that come with this version of gvisor-nodes."""
    return parse(resources.files(__package__).joinpath("releases.json").read_text(), "releases.json")


def user_file() -> Path:
    """Where ``releases import`` keeps what it imported."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "gvisor-nodes" / "releases.json"


class Catalogue:
    """Entries of all sources, the later source before the earlier for the same release and architecture."""

    def __init__(self, layers: Sequence[tuple[str, Sequence[CatalogueEntry]]]) -> None:
        """Merge layers.

        Args:
            layers: origin and entries, the built-in one first.

        Raises:
            RefusedError: a later layer contradicts a hash of the first.
        """
        self._entries: dict[tuple[str, str], tuple[str, CatalogueEntry]] = {}
        self._first: dict[tuple[str, str], CatalogueEntry] = {}
        for number, (origin, entries) in enumerate(layers):
            for entry in entries:
                name = (entry.release, entry.architecture)
                if number == 0:
                    self._first[name] = entry
                elif name in self._first:
                    _refuse_contradiction(self._first[name], entry, origin)
                self._entries[name] = (origin, entry)

    @classmethod
    def load(cls, files: Sequence[Path] = ()) -> Self:
        """Built-in entries, then the imported ones, then those of ``files`` in their order."""
        layers: list[tuple[str, Sequence[CatalogueEntry]]] = [("built in", builtin())]
        imported = user_file()
        if imported.exists():
            layers.append((str(imported), read_file(imported)))
        layers.extend((str(path), read_file(path)) for path in files)
        return cls(layers)

    def entries(self) -> list[tuple[str, CatalogueEntry]]:
        """Origin and entry, newest release first, then by architecture."""
        return sorted(
            self._entries.values(),
            key=lambda item: (tuple(-part for part in release_key(item[1].release)), item[1].architecture),
        )

    def entry(self, release: str, architecture: str) -> CatalogueEntry:
        """The entry of a release.

        Raises:
            InvalidInputError: the name is malformed, or the release is not known for this architecture.
        """
        release_key(release)
        check_architecture(architecture)
        found = self._entries.get((release, architecture))
        if found is not None:
            return found[1]
        others = [entry.architecture for _, entry in self.entries() if entry.release == release]
        if others:
            why = f"it is known for {', '.join(others)} only"
        else:
            known = [entry.release for _, entry in self.entries() if entry.architecture == architecture]
            why = f"no catalogue has its hashes; known for {architecture}: {', '.join(known[:5])}, …"
        raise InvalidInputError(
            f"the gVisor release {release} is not known for {architecture}",
            why=why,
            remedy="choose one of `gvisor-nodes releases list`, or add its hashes: gvisor-nodes releases import FILE",
        )


def import_file(path: Path, target: Path | None = None) -> tuple[CatalogueEntry, ...]:
    """Add a file's entries to the user's catalogue; entries of the same release and architecture are replaced.

    Args:
        path: a catalogue file.
        target: the user's catalogue, by default :func:`user_file`.

    Returns:
        The imported entries.

    Raises:
        InvalidInputError: the file is not a catalogue.
        RefusedError: it contradicts a built-in hash.
        GvisorNodesError: the user's catalogue cannot be written.
    """
    target = target or user_file()
    entries = read_file(path)
    Catalogue([("built in", builtin()), (str(path), entries)])
    merged = {(entry.release, entry.architecture): entry for entry in (read_file(target) if target.exists() else ())}
    merged.update({(entry.release, entry.architecture): entry for entry in entries})
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, render(merged.values()).encode())
    except OSError as error:
        raise GvisorNodesError(
            f"the catalogue {target} cannot be written",
            why=error.strerror or str(error),
            remedy="make it writable, or give the file per run instead of importing it",
        ) from error
    return entries


def _refuse_contradiction(ours: CatalogueEntry, theirs: CatalogueEntry, origin: str) -> None:
    if ours.layout != theirs.layout:
        return
    for path, digest in theirs.files.items():
        known = ours.files.get(path)
        if known is None or known == digest or known.partition(":")[0] != digest.partition(":")[0]:
            continue
        raise RefusedError(
            f"{origin} contradicts the built-in hash of {path} in release {ours.release} for {ours.architecture}",
            why=f"built in: {known} ({ours.source}, {ours.date}); the file: {digest} ({theirs.source}, {theirs.date})",
            remedy="find out which one the publisher says; an own build has layout 'module'",
        )
