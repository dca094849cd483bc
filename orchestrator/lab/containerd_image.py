"""The node image with another containerd: a Debian node image and a layer with the built programs, first in PATH.

A layer takes seconds where debootstrap takes a minute, and shares the Debian tree with the nodes that have only that.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import GvisorNodesError
from orchestrator.lab import pause
from orchestrator.lab.containerd import PROGRAMS, SUMS, default_configuration
from orchestrator.lab.engine import IMAGE_LABEL
from orchestrator.lab.image import REPOSITORY, NodeImage, default_sandbox_image, image_lock
from orchestrator.lab.kinds import LOCAL_PROGRAMS, PAUSE_ARCHIVE, ContainerdKind
from orchestrator.lab.paths import cache_directory
from orchestrator.lab.program import Progress, silent

if TYPE_CHECKING:
    from orchestrator.lab.capabilities import Capabilities
    from orchestrator.lab.engine import Engine

# Part of the image's hash: count it up when the code below changes what an image holds.
_RECIPE = 1

_CONFIGURATION = "/etc/containerd/config.toml"


@dataclass(frozen=True, slots=True)
class ContainerdImage:
    """An image that is to be there: ``ensure`` builds it unless it is."""

    kind: ContainerdKind
    base: NodeImage

    @classmethod
    def of(cls, kind: ContainerdKind, capabilities: Capabilities) -> ContainerdImage:
        """Return the image of this kind that works with this machine's capabilities."""
        return cls(kind=kind, base=NodeImage.of(kind.base, capabilities))

    @property
    def tag(self) -> str:
        """The full name of the image in the engine."""
        content = [_RECIPE, self.base.tag, self.kind.version, SUMS[self.kind.version], self.kind.files]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return f"{REPOSITORY}/{self.kind.name}:{digest[:16]}"

    def ensure(self, engine: Engine, binaries: Path, progress: Progress = silent) -> str:
        """Build the image from ``base``, which is there, and the built programs, unless it is there; return its tag.

        Raises:
            MissingComponentError: gcc is missing.
            GvisorNodesError: the build failed; nothing of it stays.
        """
        tag = self.tag
        if engine.has_image(tag):
            return tag
        with image_lock(self.kind.name, progress):
            if engine.has_image(tag):
                return tag
            progress(f"image {self.kind.name}: containerd {self.kind.version} on top of {self.kind.base.name}")
            with tempfile.TemporaryDirectory(prefix="image-", dir=cache_directory()) as work:
                archive = Path(work) / "layer.tar"
                self._write_layer(archive, binaries)
                engine.add_layer(
                    self.base.tag, archive, [str(Path(_CONFIGURATION).parent)], tag, {IMAGE_LABEL: self.kind.name}
                )
        return tag

    def _write_layer(self, archive: Path, binaries: Path) -> None:
        defaults = default_configuration(binaries)
        texts = dict(self.kind.files)
        if self.base.restrict_oom_score:
            texts[_CONFIGURATION] = minimal_configuration(defaults)
        with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
            for name in PROGRAMS:
                _add(tar, f"{LOCAL_PROGRAMS}/{name}", (binaries / name).read_bytes(), mode=0o755)
            _add(tar, PAUSE_ARCHIVE, pause.pause_archive(default_sandbox_image(defaults)), mode=0o644)
            for path, text in sorted(texts.items()):
                _add(tar, path, text.encode(), mode=0o644)


def minimal_configuration(defaults: str) -> str:
    """Return the least configuration that lets ``oom_score_adj`` alone, in the version that ``defaults`` has.

    Args:
        defaults: what ``containerd config default`` prints, of containerd 2.x.
    """
    version = tomllib.loads(defaults).get("version")
    if not isinstance(version, int) or version < 3:  # noqa: PLR2004 -- 3 is the first with this plugin
        raise GvisorNodesError(
            "The node image's containerd has another configuration than the lab knows",
            why=f"`containerd config default` prints version {version!r}; 3 is the first of containerd 2.x",
            remedy="look at orchestrator/lab/containerd_image.py",
        )
    return f"""\
version = {version}

[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
"""


def _add(tar: tarfile.TarFile, path: str, content: bytes, *, mode: int) -> None:
    member = tarfile.TarInfo(path.removeprefix("/"))
    member.size, member.mode = len(content), mode
    tar.addfile(member, io.BytesIO(content))
