"""Build runsc and its shim from gVisor's published Go module, at a pinned version.

For releases that are known as a module only, and for test builds with a patched copy. The module's zip is compared with
the pinned ``h1:`` sum before anything is compiled. A build has no sidecars (they come from another build system) and
other bytes than the publisher's binaries, so it never stands in for a release that is known by hash.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.errors import GvisorNodesError, InvalidInputError, MissingComponentError, RefusedError
from orchestrator.gvisor.releases import RUNSC, SHIM, check_architecture, release_key, release_label

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.gvisor.catalogue_entry import GoModule

MODULE: Final = "gvisor.dev/gvisor"
_PACKAGES: Final = {RUNSC: f"{MODULE}/runsc", SHIM: f"{MODULE}/shim"}
_VERSION_VARIABLE: Final = f"{MODULE}/runsc/version.version"
_GOARCH: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_DOWNLOAD_TIMEOUT: Final = 900.0
_BUILD_TIMEOUT: Final = 1800.0  # cold on one busy core; two idle cores need two minutes


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
    go = shutil.which("go")
    if go is None:
        raise MissingComponentError(
            f"release {release} is built from gVisor's Go module, and there is no Go",
            why="no program `go` in PATH",
            remedy="apt-get install golang-go (the version that the module's go.mod asks for), or give a directory "
            "with the finished files",
        )
    module = module or _builtin_module(release, architecture)
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOOS": "linux",
        "GOARCH": _GOARCH[architecture],
        "GOFLAGS": "-mod=mod",
        "GOWORK": "off",
        **({"GOPROXY": "off"} if offline else {}),
    }
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".gobuild-", dir=output) as name:
        work = Path(name)
        if module_directory is None:
            progress(f"fetching the Go module {MODULE}@{module.version}")
            directory = _download(go, module, work, environment)
        else:
            directory = module_directory.absolute()
        _write_module_files(work, module, directory, replace=module_directory is not None)
        for file, package in _PACKAGES.items():
            progress(f"building {file} {release_label(release)} for {architecture}")
            flags = f"-X {_VERSION_VARIABLE}={release_label(release)}"
            argv = [go, "build", "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", str(work / file), package]
            _run(argv, work, environment, _BUILD_TIMEOUT, f"{file} of release {release} cannot be built")
        for file in _PACKAGES:
            (work / file).chmod(0o755)
            (work / file).replace(output / file)


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


def _download(go: str, module: GoModule, work: Path, environment: dict[str, str]) -> Path:
    (work / "go.mod").write_text("module gvisor-nodes.invalid/build\n")
    text = _run(
        [go, "mod", "download", "-json", f"{MODULE}@{module.version}"],
        work,
        environment,
        _DOWNLOAD_TIMEOUT,
        f"the Go module {MODULE}@{module.version} cannot be fetched",
    )
    try:
        answer = json.loads(text)
        found, directory = str(answer["Sum"]), Path(answer["Dir"])
    except (ValueError, KeyError, TypeError) as error:
        raise GvisorNodesError(
            f"the Go module {MODULE}@{module.version} cannot be fetched",
            why=f"`go mod download -json` printed {text[:300]!r}",
            remedy="check the Go installation with `go version`",
        ) from error
    if found != module.sum:
        raise RefusedError(
            f"the Go module {MODULE}@{module.version} has another sum than pinned",
            why=f"expected {module.sum}, found {found}",
            remedy="do not use it; empty the module cache (go clean -modcache) and look at `go env GOPROXY`",
        )
    return directory


def _write_module_files(work: Path, module: GoModule, directory: Path, *, replace: bool) -> None:
    """A main module of our own, because a dependency's main packages are built from outside it."""
    toolchain = next(
        (line for line in (directory / "go.mod").read_text().splitlines() if line.startswith("go ")), "go 1.24"
    )
    text = f"module gvisor-nodes.invalid/build\n\n{toolchain}\n\nrequire {MODULE} {module.version}\n"
    if replace:
        text += f"\nreplace {MODULE} => {json.dumps(str(directory))}\n"
    (work / "go.mod").write_text(text)
    sums = directory / "go.sum"
    content = sums.read_text() if sums.exists() else ""
    if not replace:
        content += f"{MODULE} {module.version} {module.sum}\n"  # the Go command compares it once more
    (work / "go.sum").write_text(content)


def _run(argv: list[str], work: Path, environment: dict[str, str], timeout: float, what: str) -> str:
    remedy = "look at the message; the network or the proxy in `go env GOPROXY`, the Go version, and free space in "
    remedy += "`go env GOCACHE GOMODCACHE` are the usual causes"
    try:
        done = subprocess.run(
            argv, cwd=work, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise GvisorNodesError(what, why=f"`go {argv[1]}` took more than {timeout:.0f} s", remedy=remedy) from error
    except OSError as error:
        raise GvisorNodesError(what, why=f"`go` cannot be run: {error.strerror}", remedy=remedy) from error
    text = done.stdout.decode(errors="replace")
    if done.returncode != 0:
        lines = (done.stderr.decode(errors="replace").strip() or text.strip()).splitlines()
        raise GvisorNodesError(what, why=" / ".join(lines[-4:]) or f"exit code {done.returncode}", remedy=remedy)
    return text
