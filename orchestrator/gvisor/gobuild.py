"""Build runsc and its shim from gVisor's published Go module, at a pinned version.

For releases that are known as a module only, and for test builds with a patched copy. A build has no sidecars (they
come from another build system) and other bytes than the publisher's binaries, so it never stands in for a release that
is known by hash. How a pinned module is built is in :mod:`orchestrator.gvisor.gomodule`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.errors import InvalidInputError
from orchestrator.gvisor import gomodule
from orchestrator.gvisor.releases import RUNSC, SHIM, check_architecture, release_key, release_label

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orchestrator.gvisor.catalogue_entry import GoModule

MODULE: Final = "gvisor.dev/gvisor"
_PACKAGES: Final = {RUNSC: f"{MODULE}/runsc", SHIM: f"{MODULE}/shim"}
# gVisor's sentry reads a goroutine's number at a fixed place of Go's own structure (pkg/goid), which moved in Go 1.25.
# A release that was written for an older Go builds with a newer one, and its sandboxes then panic now and then
# ("running on goroutine …": 20250205 built with Go 1.26, on a busy machine).
_OWN_GO_BELOW: Final = (1, 25)
_VERSION_VARIABLE: Final = f"{MODULE}/runsc/version.version"


def _silent(_message: str) -> None:
    """Tell nobody."""


def build(
    release: str,
    architecture: str,
    output: Path,
    *,
    module_directory: Path | None = None,
    module: GoModule | None = None,
    offline: bool = False,
    progress: Callable[[str], None] = _silent,
) -> None:
    """Build ``output/runsc`` and ``output/containerd-shim-runsc-v1``, static and labelled with the release.

    Args:
        release: for example ``20260905.0``; becomes the label ``release-20260905.0``.
        architecture: ``x86_64`` or ``aarch64``; cross builds need nothing more.
        output: directory, made if missing. Files of these names are replaced only after both are built.
        module_directory: a (patched) copy of the module's tree to build instead of the published one. Its bytes are the
            caller's responsibility: no sum is compared.
        module: version and sum; by default the built-in catalogue's for this release.
        offline: use the module cache only.
        progress: told what runs.

    Raises:
        MissingComponentError: there is no ``go``.
        InvalidInputError: the release is not known as a module.
        RefusedError: the module has another sum than pinned.
        GvisorNodesError: the download or the build fails.
    """
    release_key(release)
    check_architecture(architecture)
    module = module or _builtin_module(release, architecture)
    wanted = gomodule.ModuleBuild(
        label=f"gVisor {release_label(release)}",
        path=MODULE,
        version=module.version,
        sum=module.sum,
        programs=_PACKAGES,
        link=f"-X {_VERSION_VARIABLE}={release_label(release)}",
        remedy=", or give a directory with the finished files",
        own_go_below=_OWN_GO_BELOW,
    )
    gomodule.build(wanted, architecture, output, module_directory=module_directory, offline=offline, progress=progress)


def _builtin_module(release: str, architecture: str) -> GoModule:
    from orchestrator.gvisor.catalogue import builtin  # noqa: PLC0415 - only needed when the caller names no module

    for entry in builtin():
        if (entry.release, entry.architecture) == (release, architecture) and entry.module is not None:
            return entry.module
    raise InvalidInputError(
        f"release {release} is not known as a Go module",
        why="the catalogue has no module version and sum for it",
        remedy="give a catalogue file with an entry of layout 'module'",
    )
