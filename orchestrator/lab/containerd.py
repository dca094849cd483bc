"""containerd 2.x for lab nodes: built once from its published Go module, as its own release builds are.

Debian's containerd is 1.6 or 1.7. Build tags, linker flags and the label ``v2.4.2`` are those of containerd's own
Makefile for a release, minus btrfs and device mapper, which need C libraries. No code is changed.
"""

from __future__ import annotations

import hashlib
import json
import platform
from typing import TYPE_CHECKING

from orchestrator.gvisor import gomodule
from orchestrator.lab.kept import is_kept, keep
from orchestrator.lab.lock import held
from orchestrator.lab.paths import cache_directory
from orchestrator.lab.program import Progress, call, silent

if TYPE_CHECKING:
    from pathlib import Path

MODULE = "github.com/containerd/containerd/v2"
PROGRAMS = ("containerd", "ctr", "containerd-shim-runc-v2")

SUMS = {
    "2.0.14": "h1:f+wIN6XMP+EsDTD8eKc4aCTMxmb184p/ICs0KQYCYBg=",
    "2.1.9": "h1:lOQQ3qVEtauZCHKh8S2Xph5fGXFX2uZxMHmaslOZtW0=",
    "2.2.9": "h1:ddw9THGOXhcKnHORjkKoXtazPjwtcPwmqk8AVyRpfZw=",
    "2.3.4": "h1:c2PJo/9UGVdiiw8SwrxuLxWGY+9b3jQ6Xp9zntneIvI=",
    "2.4.2": "h1:p6Qg+xbEz8lvwdhHDx0U469xENvp4LgGBx+E7djXkGw=",
}
"""The versions that can be built: the last of each minor version, and the sum of its module's zip (as in go.sum)."""

# Part of the key of what was built: count it up when the way of building changes.
_RECIPE = 1

# Seconds: one minute on two idle cores, ten and more where others build too.
_BUILD_DEADLINE = 3600


def ensure_containerd(version: str, progress: Progress = silent, cache: Path | None = None) -> Path:
    """Build this version (a key of :data:`SUMS`) unless it is there, in one process at a time; return its directory.

    Raises:
        MissingComponentError: there is no Go.
        RefusedError: the module has another sum than pinned.
        GvisorNodesError: the build failed; nothing of it stays.
    """
    architecture = platform.machine()
    directory = (cache or cache_directory()) / "containerd"
    target = directory / version / architecture
    key = _key(version, architecture)
    if is_kept(target, key, PROGRAMS):
        return target
    with held(
        directory / "build.lock", what=f"building containerd {version}", timeout=_BUILD_DEADLINE, progress=progress
    ):
        if not is_kept(target, key, PROGRAMS):
            progress(f"containerd {version}: go build (a minute or two the first time)")
            keep(
                target, key, lambda _, output: gomodule.build(_module(version), architecture, output, progress=progress)
            )
    return target


def default_configuration(binaries: Path) -> str:
    """Return what this machine's copy of the daemon says a node without a configuration file has (TOML)."""
    argv = [str(binaries / "containerd"), "config", "default"]
    return call(argv, what="containerd does not tell its defaults", timeout=60).stdout


def _module(version: str) -> gomodule.ModuleBuild:
    return gomodule.ModuleBuild(
        label=f"containerd {version}",
        path=MODULE,
        version=f"v{version}",
        sum=SUMS[version],
        programs={name: f"{MODULE}/cmd/{name}" for name in PROGRAMS},
        link=f"-s -w -X {MODULE}/version.Version=v{version}",
        tags=("no_btrfs", "no_devmapper"),
    )


def _key(version: str, architecture: str) -> str:
    content = json.dumps([_RECIPE, version, SUMS[version], architecture])
    return hashlib.sha256(content.encode()).hexdigest()
