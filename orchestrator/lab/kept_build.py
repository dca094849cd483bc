"""What is built of a published Go module once and kept: whole with the key of what it was built from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.errors import MissingComponentError
from orchestrator.gvisor import gomodule
from orchestrator.lab.kept import is_kept, keep
from orchestrator.lab.lock import held
from orchestrator.lab.paths import cache_directory
from orchestrator.lab.program import Progress, silent

if TYPE_CHECKING:
    from pathlib import Path

# Part of the key of what was built: count it up when the way of building changes.
_RECIPE: Final = 1

# Seconds: four minutes for the largest on two idle cores, many times that where others build too.
_BUILD_DEADLINE: Final = 3600


@dataclass(frozen=True, slots=True)
class KeptBuild:
    """What is built, and under which name it is kept.

    Attributes:
        name: the directory of the cache.
        module: the module, its version, and what is wanted of it.
        architecture: ``x86_64`` or ``aarch64``.
    """

    name: str
    module: gomodule.ModuleBuild
    architecture: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the programs and files."""
        return (*self.module.programs, *self.module.files)

    def ensure(self, progress: Progress = silent, cache: Path | None = None) -> Path:
        """Build unless it is there, in one process at a time; return its directory.

        Raises:
            MissingComponentError: there is no Go.
            RefusedError: the module has another sum than pinned.
            GvisorNodesError: the build failed; nothing of it stays.
        """
        target = self._target(cache)
        if self._is_kept(target):
            return target
        lock = target.parent.parent / "build.lock"
        with held(lock, what=f"building {self.module.label}", timeout=_BUILD_DEADLINE, progress=progress):
            if not self._is_kept(target):
                if self.module.programs:
                    progress(f"{self.module.label}: go build (some minutes the first time)")
                keep(target, self._key, lambda _, output: self._build(output, progress))
        return target

    def find(self, remedy: str, cache: Path | None = None) -> Path:
        """Return the directory of what somebody has built before.

        Raises:
            MissingComponentError: nobody has, or of something else; ``remedy`` is the command that does.
        """
        target = self._target(cache)
        if not self._is_kept(target):
            raise MissingComponentError(
                f"{', '.join(self.names)} of {self.module.label} is not built",
                why=f"there is nothing in {target} that was built from this version",
                remedy=remedy,
            )
        return target

    def _target(self, cache: Path | None) -> Path:
        return (cache or cache_directory()) / self.name / self.module.version.removeprefix("v") / self.architecture

    def _build(self, output: Path, progress: Progress) -> None:
        gomodule.build(self.module, self.architecture, output, progress=progress)

    def _is_kept(self, target: Path) -> bool:
        return is_kept(target, self._key, self.names)

    @property
    def _key(self) -> str:
        module = asdict(self.module)
        if not self.module.files:
            del module["files"]  # it came later, and what was built before has no reason to be built again
        content = json.dumps([_RECIPE, module, self.architecture])
        return hashlib.sha256(content.encode()).hexdigest()
