"""Build programs of a published Go module, at a pinned version, and nothing but what was pinned.

What is built here comes from a module proxy, so the module's zip is compared with the pinned ``h1:`` sum before
anything is compiled, and the Go command compares it, and every dependency with the module's own ``go.sum``, once more.
Which module, which programs and how they are labelled is the caller's: :mod:`orchestrator.gvisor.gobuild` for gVisor.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.errors import GvisorNodesError, MissingComponentError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GOARCH: Final = {"x86_64": "amd64", "aarch64": "arm64"}
"""What Go, and with it the OCI image specification, calls what uname calls …"""

_DOWNLOAD_TIMEOUT: Final = 900.0
_BUILD_TIMEOUT: Final = 1800.0  # cold on one busy core; two idle cores need two minutes


@dataclass(frozen=True, slots=True)
class ModuleBuild:
    """What is to be built.

    Attributes:
        label: what it is to people, for progress and errors: ``release 20260905.0``, ``containerd 2.4.2``.
        path: the module's path.
        version: its version, as ``go.mod`` writes it.
        sum: the sum of its zip, as ``go.sum`` writes it (``h1:…``).
        programs: the packages to build, by the name of the file that each becomes.
        link: the linker's flags (``-ldflags``).
        tags: build tags.
        remedy: what to do where there is no Go, beside installing it.
        replacements: the version of each module that the module's own ``go.mod`` replaces by a directory beside it,
            which nobody has who builds the module from outside.
        sums: lines of ``go.sum`` for those, and for what else the module's own file lacks: pinned as ``sum`` is.
        files: files of the module that are wanted as they are: their paths in it, by the names that they get.
        own_go_below: a module whose go.mod names an older Go than this one, such as (1, 25), is built with exactly the
            Go that it names, which the Go command fetches as it fetches modules. (0, 0): with the Go at hand.
    """

    label: str
    path: str
    version: str
    sum: str
    programs: Mapping[str, str]
    link: str
    tags: tuple[str, ...] = ()
    remedy: str = ""
    replacements: Mapping[str, str] = field(default_factory=dict)
    sums: str = ""
    own_go_below: tuple[int, int] = (0, 0)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def module(self) -> str:
        """The module with its version, as the Go command takes it."""
        return f"{self.path}@{self.version}"


def _silent(_message: str) -> None:
    """Tell nobody."""


def build(
    wanted: ModuleBuild,
    architecture: str,
    output: Path,
    *,
    module_directory: Path | None = None,
    offline: bool = False,
    progress: Callable[[str], None] = _silent,
) -> None:
    """Build the programs, static, into ``output``, and copy the files there.

    Args:
        wanted: the module and its programs.
        architecture: ``x86_64`` or ``aarch64``; cross builds need nothing more.
        output: directory, made if missing. What is there of these names is replaced only after all are built.
        module_directory: a (patched) copy of the module's tree to build instead of the published one. Its bytes are the
            caller's responsibility: no sum is compared.
        offline: use the module cache only.
        progress: told what runs.

    Raises:
        MissingComponentError: there is no ``go``.
        RefusedError: the module has another sum than pinned.
        GvisorNodesError: the download or the build fails.
    """
    go = shutil.which("go")
    if go is None:
        raise MissingComponentError(
            f"{wanted.label} is built from the Go module {wanted.path}, and there is no Go",
            why="no program `go` in PATH",
            remedy="apt-get install golang-go (the version that the module's go.mod asks for)" + wanted.remedy,
        )
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOOS": "linux",
        "GOARCH": GOARCH[architecture],
        "GOFLAGS": "-mod=mod",
        "GOWORK": "off",
        **({"GOPROXY": "off"} if offline else {}),
    }
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".gobuild-", dir=output) as name:
        work = Path(name)
        if module_directory is None:
            progress(f"fetching the Go module {wanted.module}")
            directory = _download(go, wanted, work, environment)
        else:
            directory = module_directory.absolute()
        named = named_go(directory)
        if tuple(map(int, named.split(".")[:2])) < wanted.own_go_below:
            progress(f"using Go {named}, for which {wanted.label} was written")
            environment["GOTOOLCHAIN"] = f"go{named}"
        _write_module_files(work, wanted, directory, named, replace=module_directory is not None)
        options = ["-trimpath", "-buildvcs=false", "-ldflags", wanted.link]
        if wanted.tags:
            options += ["-tags", ",".join(wanted.tags)]
        for file, package in wanted.programs.items():
            progress(f"building {file} of {wanted.label} for {architecture}")
            argv = [go, "build", *options, "-o", str(work / file), package]
            _run(argv, work, environment, _BUILD_TIMEOUT, f"{file} of {wanted.label} cannot be built")
        for file, path in wanted.files.items():
            _copy(directory / path, work / file, wanted)
        for file in (*wanted.programs, *wanted.files):
            (work / file).chmod(0o755 if file in wanted.programs else 0o644)
            (work / file).replace(output / file)


def _copy(source: Path, target: Path, wanted: ModuleBuild) -> None:
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        raise GvisorNodesError(
            f"{source.name} of {wanted.label} cannot be copied",
            why=f"{source}: {error.strerror}",
            remedy="look whether this version of the module has it; an incomplete module cache is emptied by "
            "`go clean -modcache`",
        ) from error


def _download(go: str, wanted: ModuleBuild, work: Path, environment: dict[str, str]) -> Path:
    (work / "go.mod").write_text("module gvisor-nodes.invalid/build\n")
    text = _run(
        [go, "mod", "download", "-json", wanted.module],
        work,
        environment,
        _DOWNLOAD_TIMEOUT,
        f"the Go module {wanted.module} cannot be fetched",
    )
    try:
        answer = json.loads(text)
        found, directory = str(answer["Sum"]), Path(answer["Dir"])
    except (ValueError, KeyError, TypeError) as error:
        raise GvisorNodesError(
            f"the Go module {wanted.module} cannot be fetched",
            why=f"`go mod download -json` printed {text[:300]!r}",
            remedy="check the Go installation with `go version`",
        ) from error
    if found != wanted.sum:
        raise RefusedError(
            f"the Go module {wanted.module} has another sum than pinned",
            why=f"expected {wanted.sum}, found {found}",
            remedy="do not use it; empty the module cache (go clean -modcache) and look at `go env GOPROXY`",
        )
    return directory


def named_go(directory: Path) -> str:
    """The version of Go that the module in this directory names, such as ``1.23.1``; 1.24 where it names none."""
    lines = (directory / "go.mod").read_text(encoding="utf-8").splitlines()
    found = (re.fullmatch(r"go\s+(\d+\.\d+(?:\.\d+)?)\s*(?://.*)?", line) for line in lines)
    return next((match[1] for match in found if match), "1.24")


def _write_module_files(work: Path, wanted: ModuleBuild, directory: Path, named: str, *, replace: bool) -> None:
    """A main module of our own, because a dependency's main packages are built from outside it."""
    text = f"module gvisor-nodes.invalid/build\n\ngo {named}\n\nrequire {wanted.path} {wanted.version}\n"
    for path, version in wanted.replacements.items():
        text += f"\nreplace {path} => {path} {version}\n"
    if replace:
        text += f"\nreplace {wanted.path} => {json.dumps(str(directory))}\n"
    (work / "go.mod").write_text(text)
    sums = directory / "go.sum"
    content = (sums.read_text() if sums.exists() else "") + wanted.sums
    if not replace:
        content += f"{wanted.path} {wanted.version} {wanted.sum}\n"  # the Go command compares it once more
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
