"""containerd 2.x for lab nodes: built once from its published Go module, as its own release builds are.

Debian's containerd is 1.6 or 1.7. Build tags, linker flags and the label ``v2.4.2`` are those of containerd's own
Makefile for a release, minus btrfs and device mapper, which need C libraries. No code is changed.
"""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from orchestrator.gvisor import gomodule
from orchestrator.lab.kept_build import KeptBuild
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


def ensure_containerd(version: str, progress: Progress = silent, cache: Path | None = None) -> Path:
    """Build this version (a key of :data:`SUMS`) unless it is there, in one process at a time; return its directory.

    Raises:
        MissingComponentError: there is no Go.
        RefusedError: the module has another sum than pinned.
        GvisorNodesError: the build failed; nothing of it stays.
    """
    return KeptBuild("containerd", _module(version), platform.machine()).ensure(progress, cache)


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
