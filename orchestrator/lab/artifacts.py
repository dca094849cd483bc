"""The gVisor releases that a lab offers: built once from the published Go module, into a cache, with their hashes.

The result is what an operator without internet access would have: a directory ``<release>/<architecture>/`` with the
binaries, and a releases file (the format of ``gvisor-nodes releases import``) with the sha512 of each, so that the
product's ordinary way of checking is used for them.
"""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.errors import InvalidInputError
from orchestrator.gvisor import gobuild
from orchestrator.gvisor.catalogue import builtin
from orchestrator.gvisor.catalogue_entry import CatalogueEntry, GoModule, render
from orchestrator.gvisor.releases import RUNSC, SHIM
from orchestrator.lab.kept import is_kept, keep
from orchestrator.lab.lock import held
from orchestrator.lab.paths import cache_directory
from orchestrator.lab.program import Progress, silent
from orchestrator.lab.shim import copy_with_patched_shim

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT_RELEASE = "20260905.0"

_BINARIES = (RUNSC, SHIM)

# Part of the key of what was built: count it up when the way of building changes.
_RECIPE = 2

# Seconds: one release takes two to four minutes on two cores, downloads included.
_BUILD_DEADLINE = 3600


@dataclass(frozen=True, slots=True)
class LabReleases:
    """The built releases of one machine and one state of the patch."""

    directory: Path
    patched: bool
    architecture: str

    @classmethod
    def of(cls, *, patched: bool, cache: Path | None = None) -> LabReleases:
        """Return the releases for this machine; ``patched`` where the shim may not lower its score."""
        where = (cache or cache_directory()) / "gvisor" / ("patched" if patched else "published")
        return cls(directory=where, patched=patched, architecture=platform.machine())

    @property
    def releases_file(self) -> Path:
        """The releases file of all that is built."""
        return self.directory / "releases.json"

    def ensure(self, release: str, progress: Progress = silent) -> Path:
        """Build the release unless it is there, in one process at a time; return the directory of its binaries.

        Raises:
            InvalidInputError: the lab knows no module version for this release.
            MissingComponentError: there is no Go.
            GvisorNodesError: the build failed; nothing of it stays.
        """
        modules = self.modules()
        if release not in modules:
            raise InvalidInputError(
                f"The lab cannot build gVisor {release}",
                why=f"the catalogue has Go modules of {', '.join(sorted(modules))}",
                remedy=f"use --release {DEFAULT_RELEASE}",
            )
        target = self.directory / release / self.architecture
        if self._is_current(release):
            return target
        with held(
            self.directory / "build.lock", what=f"building gVisor {release}", timeout=_BUILD_DEADLINE, progress=progress
        ):
            if not self._is_current(release):
                self._build(release, target, progress)
                self._write_releases_file()
        return target

    def modules(self) -> dict[str, GoModule]:
        """Return the modules that can be built for this machine, by release."""
        return {
            entry.release: entry.module
            for entry in builtin()
            if entry.module is not None and entry.architecture == self.architecture
        }

    def _key(self, release: str) -> str:
        module = self.modules()[release]
        content = json.dumps([_RECIPE, module.version, module.sum, self.patched, self.architecture])
        return hashlib.sha256(content.encode()).hexdigest()

    def _is_current(self, release: str) -> bool:
        """Tell whether the binaries were built from what we would build them from, and the releases file has them."""
        binaries = self.directory / release / self.architecture
        return self.releases_file.exists() and is_kept(binaries, self._key(release), _BINARIES)

    def _build(self, release: str, target: Path, progress: Progress) -> None:
        def make(work: Path, output: Path) -> None:
            module: Path | None = None
            if self.patched:
                module = work / "module"
                copy_with_patched_shim(self.modules()[release].version, module, progress)
            progress(f"gVisor {release}: go build (two minutes the first time)")
            gobuild.build(release, self.architecture, output, module_directory=module, progress=progress)

        keep(target, self._key(release), make)

    def _write_releases_file(self) -> None:
        entries = [self._entry(release) for release in self.modules() if self._has(release)]
        draft = self.releases_file.with_suffix(".new")
        draft.write_text(render(entries), encoding="utf-8")
        draft.replace(self.releases_file)

    def _has(self, release: str) -> bool:
        return (self.directory / release / f"{self.architecture}.key").exists()

    def _entry(self, release: str) -> CatalogueEntry:
        binaries = self.directory / release / self.architecture
        note = ", with the shim's own oom score 0 instead of -999" if self.patched else ""
        built = datetime.fromtimestamp((binaries / RUNSC).stat().st_mtime, tz=UTC)
        return CatalogueEntry.model_validate(
            {
                "release": release,
                "architecture": self.architecture,
                "layout": "module",
                "source": f"go build of {gobuild.MODULE}@{self.modules()[release].version} by gvisor-nodes lab{note}",
                "date": built.date(),
                "files": {name: f"sha512:{_sha512(binaries / name)}" for name in _BINARIES},
            }
        )


def _sha512(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").hexdigest()
