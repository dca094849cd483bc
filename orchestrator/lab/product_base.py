"""What the product's image is built on where nobody names another base: a Debian of the smallest kind with Python.

Without what a container has no use for: the package manager's caches, documents, manual pages, translations.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.lab.engine import IMAGE_LABEL
from orchestrator.lab.lock import held
from orchestrator.lab.mirror import debian_mirror
from orchestrator.lab.paths import cache_directory
from orchestrator.lab.program import Progress, call, require, silent

if TYPE_CHECKING:
    from orchestrator.lab.engine import Engine

# Part of the image's hash: count it up when the code below changes what an image holds.
_RECIPE: Final = 1
_DEADLINE: Final = 1800
# What debootstrap leaves and a container has no use for. dpkg's list of packages stays, who scans images reads it; so
# does each package's copyright.
_NEEDLESS: Final = (
    *("var/cache/apt", "var/lib/apt/lists", "var/log"),
    *("usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/lintian", "usr/share/bash-completion"),
)


@dataclass(frozen=True, slots=True)
class ProductBase:
    """An image that is to be there: ``ensure`` builds it unless it is."""

    suite: str = "trixie"
    packages: tuple[str, ...] = ("python3",)

    @property
    def tag(self) -> str:
        """The full name of the image in the engine."""
        content = json.dumps([_RECIPE, self.suite, self.packages])
        return f"localhost/gvisor-nodes-lab/base-{self.suite}:{hashlib.sha256(content.encode()).hexdigest()[:16]}"

    def ensure(self, engine: Engine, progress: Progress = silent) -> str:
        """Build the image unless it is there, in one process at a time, and return its tag.

        Raises:
            MissingComponentError: debootstrap or a mirror is missing.
            GvisorNodesError: the build failed; nothing of it stays.
        """
        tag = self.tag
        if engine.has_image(tag):
            return tag
        lock = cache_directory() / f"image-base-{self.suite}.lock"
        with held(lock, what=f"building the base {self.suite}", timeout=_DEADLINE, progress=progress):
            if engine.has_image(tag):
                return tag
            # Not in the temporary directory: that may be memory, or forbid device files.
            with tempfile.TemporaryDirectory(prefix="image-", dir=cache_directory()) as work:
                root = Path(work) / "root"
                self._build(root, progress)
                engine.import_directory(root, tag, {IMAGE_LABEL: f"base-{self.suite}"})
        return tag

    def _build(self, root: Path, progress: Progress) -> None:
        mirror = debian_mirror()
        progress(f"base of the image: debootstrap {self.suite} (about a minute)")
        call(
            [
                *(require("debootstrap"), "--variant=minbase", f"--include={','.join(self.packages)}"),
                *(self.suite, str(root), mirror),
            ],
            what=f"debootstrap did not make a {self.suite} tree",
            remedy=f"see whether apt-get update works; the mirror was {mirror}",
            timeout=_DEADLINE,
        )
        for name in _NEEDLESS:
            shutil.rmtree(root / name, ignore_errors=True)
        for path in (root / "usr/share/doc").glob("*/*"):
            if path.name != "copyright" and not path.is_symlink():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        (root / "var/log").mkdir()
        (root / "etc/apt/sources.list").unlink(missing_ok=True)  # the mirror of who built it
        (root / "etc/machine-id").unlink(missing_ok=True)
        (root / "etc/resolv.conf").unlink(missing_ok=True)
        (root / "etc/hostname").unlink(missing_ok=True)
        account = "gvisor-nodes:x:65532:65532:gvisor-nodes:/nonexistent:/usr/sbin/nologin\n"
        with (root / "etc/passwd").open("a", encoding="utf-8") as users:
            users.write(account)
        with (root / "etc/group").open("a", encoding="utf-8") as groups:
            groups.write("gvisor-nodes:x:65532:\n")
