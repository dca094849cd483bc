"""The node image of a Debian: debootstrap's tree with what makes it a node, imported into the engine, built once.

The tag is a hash of everything that goes into it, so a changed package list or file is another image, and two
checkouts that want the same image share it. Images with another containerd are made of these, in
:mod:`orchestrator.lab.containerd_image`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import GvisorNodesError
from orchestrator.lab import pause
from orchestrator.lab.engine import IMAGE_LABEL
from orchestrator.lab.kinds import PAUSE_ARCHIVE, PAUSE_UNIT, NodeKind
from orchestrator.lab.lock import held
from orchestrator.lab.mirror import debian_mirror
from orchestrator.lab.paths import cache_directory
from orchestrator.lab.program import Progress, call, require, silent

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from orchestrator.lab.capabilities import Capabilities
    from orchestrator.lab.engine import Engine

REPOSITORY = "localhost/gvisor-nodes-lab"

# Part of the image's hash: count it up when the code below changes what an image holds.
_RECIPE = 1

# Seconds: debootstrap takes one minute on two cores with a near mirror, ten with a far one.
_BUILD_DEADLINE = 1800

_USERS = ("admin", "operator")

_CRI_TABLE = '[plugins."io.containerd.grpc.v1.cri"]'


@dataclass(frozen=True, slots=True)
class NodeImage:
    """An image that is to be there: ``ensure`` builds it unless it is."""

    kind: NodeKind
    restrict_oom_score: bool

    @classmethod
    def of(cls, kind: NodeKind, capabilities: Capabilities) -> NodeImage:
        """Return the image of this kind that works with this machine's capabilities."""
        return cls(kind=kind, restrict_oom_score=not capabilities.lowers_oom_score)

    @property
    def tag(self) -> str:
        """The full name of the image in the engine."""
        content = {
            "recipe": _RECIPE,
            "kind": asdict(self.kind),
            "restrict_oom_score": self.restrict_oom_score,
            "pause": pause.SOURCE.read_text(encoding="utf-8"),
        }
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        return f"{REPOSITORY}/{self.kind.name}:{digest[:16]}"

    def ensure(self, engine: Engine, progress: Progress = silent) -> str:
        """Build the image unless it is there, in one process at a time, and return its tag.

        Raises:
            MissingComponentError: debootstrap, gcc or a mirror is missing.
            GvisorNodesError: the build failed; nothing of it stays.
        """
        tag = self.tag
        if engine.has_image(tag):
            return tag
        cache = cache_directory()
        with image_lock(self.kind.name, progress):
            if engine.has_image(tag):
                return tag
            # Not in the temporary directory: that may be memory, or forbid device files.
            with tempfile.TemporaryDirectory(prefix="image-", dir=cache) as work:
                self._build(Path(work) / "root", progress)
                progress(f"image {self.kind.name}: import into {engine.name}")
                engine.import_directory(Path(work) / "root", tag, {IMAGE_LABEL: self.kind.name})
        return tag

    def _build(self, root: Path, progress: Progress) -> None:
        debootstrap = require("debootstrap")
        mirror = debian_mirror()
        progress(f"image {self.kind.name}: debootstrap {self.kind.suite} (about a minute)")
        call(
            [
                debootstrap,
                "--variant=minbase",
                f"--include={','.join(self.kind.packages)}",
                self.kind.suite,
                str(root),
                mirror,
            ],
            what=f"debootstrap did not make a {self.kind.suite} tree",
            remedy=f"see whether apt-get update works; the mirror was {mirror}",
            timeout=_BUILD_DEADLINE,
        )
        progress(f"image {self.kind.name}: users, units, pause image")
        self._forget_identity(root)
        for path, text in self.kind.files.items():
            _write(root, path, text.encode(), mode=0o440 if path.startswith("/etc/sudoers.d/") else 0o644)
        for unit in self.kind.masked_units:
            link = root / "etc/systemd/system" / unit
            link.unlink(missing_ok=True)
            link.symlink_to("/dev/null")
        wants = root / "etc/systemd/system/multi-user.target.wants"
        for unit in self.kind.enabled_units:
            (wants / unit).symlink_to(f"/etc/systemd/system/{unit}")
        for user in _USERS:
            # In the group users: Debian has a group "operator" of its own.
            _inside(root, "useradd", "--create-home", "--gid=users", "--shell=/bin/bash", user)
        defaults = _inside(root, "containerd", "config", "default")
        _write(root, PAUSE_ARCHIVE, pause.pause_archive(default_sandbox_image(defaults)), mode=0o644)
        if self.restrict_oom_score:
            _restrict_oom_score(root / "etc/containerd/config.toml")

    @staticmethod
    def _forget_identity(root: Path) -> None:
        """Remove what must differ from node to node: it is made on a node's first start."""
        for key in (root / "etc/ssh").glob("ssh_host_*"):
            key.unlink()
        # Empty, not missing: systemd then fills it in, and does not think that it must set up the machine.
        (root / "etc/machine-id").chmod(0o644)
        (root / "etc/machine-id").write_bytes(b"")
        bus = root / "var/lib/dbus/machine-id"
        bus.unlink(missing_ok=True)
        bus.symlink_to("/etc/machine-id")
        shutil.rmtree(root / "var/cache/apt/archives")
        (root / "var/cache/apt/archives/partial").mkdir(parents=True)


def image_lock(kind: str, progress: Progress) -> AbstractContextManager[None]:
    """Return the lock under which one process at a time builds an image of this kind."""
    path = cache_directory() / f"image-{kind}.lock"
    return held(path, what=f"building the image {kind}", timeout=_BUILD_DEADLINE, progress=progress)


def default_sandbox_image(defaults: str) -> str:
    """Return the name of the image that containerd begins every pod with.

    Args:
        defaults: what ``containerd config default`` prints. In the configuration versions 1 and 2 (containerd 1.x) one
            CRI plugin has the name, from version 3 (2.x) the plugin that keeps images.
    """
    plugins = tomllib.loads(defaults).get("plugins", {})
    pinned = plugins.get("io.containerd.cri.v1.images", {}).get("pinned_images", {})
    name = pinned.get("sandbox") or plugins.get("io.containerd.grpc.v1.cri", {}).get("sandbox_image")
    if not isinstance(name, str):
        raise GvisorNodesError(
            "The node image's containerd does not say which image a pod begins with",
            why="no sandbox_image and no pinned_images.sandbox in what `containerd config default` prints",
            remedy=f"this kind of node needs another way; its units are {PAUSE_UNIT} and containerd.service",
        )
    return name


def _inside(root: Path, *argv: str) -> str:
    # debootstrap leaves what it used; PATH is fixed because the caller's may not have Debian's directories.
    path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
    return call([require("chroot"), str(root), "/usr/bin/env", path, *argv], what=f"{argv[0]} in the image").stdout


def _write(root: Path, path: str, content: bytes, *, mode: int) -> None:
    target = root / path.removeprefix("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    target.chmod(mode)


def _restrict_oom_score(config: Path) -> None:
    """Let containerd leave ``oom_score_adj`` alone where nobody may lower it; one line, the rest stays as shipped."""
    text = config.read_text(encoding="utf-8")
    before, table, after = text.partition(_CRI_TABLE)
    if not table:
        raise GvisorNodesError(
            "The node image's containerd configuration is not the one that the lab knows",
            why=f"{config.name} has no table {_CRI_TABLE}",
            remedy="look at the containerd package of this suite, then at orchestrator/lab/image.py",
        )
    config.write_text(f"{before}{table}\n    restrict_oom_score_adj = true{after}", encoding="utf-8")
