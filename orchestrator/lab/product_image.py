"""The image of the product: its controller and its Jobs, built from this checkout without a registry.

    image = ensure(find_engine(), releases=("20260905.0",))
    image.name      # what a pod's container names
    image.archive   # a docker-archive that `ctr images import` reads

What goes in is prepared here as a build context, from locked packages (by hash), this checkout and releases that the
lab has built; `images/gvisor-nodes/Containerfile` only copies it and compiles bytecode. So a build fetches nothing, and
what did not change is a layer that is there. The base is any image with Python 3.12 or newer and nsenter, by default
Debian by debootstrap.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.errors import InvalidInputError, MissingComponentError
from orchestrator.gvisor.gomodule import GOARCH
from orchestrator.lab import capabilities, sbom
from orchestrator.lab.artifacts import DEFAULT_RELEASE, LabReleases
from orchestrator.lab.engine import IMAGE_LABEL
from orchestrator.lab.kept import is_kept, keep
from orchestrator.lab.lock import held
from orchestrator.lab.paths import cache_directory
from orchestrator.lab.product_base import ProductBase
from orchestrator.lab.program import Progress, call, silent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orchestrator.lab.engine import Engine

REPOSITORY: Final = "localhost/gvisor-nodes"
CHECKOUT: Final = Path(__file__).resolve().parents[2]
CONTAINERFILE: Final = CHECKOUT / "images" / "gvisor-nodes" / "Containerfile"
PREFIX: Final = "/opt/gvisor-nodes"

# Part of the key of an image: count it up when the code below changes what an image holds.
_RECIPE: Final = 2
_DEADLINE: Final = 1800
_ARCHIVE: Final = "image.tar"
_SBOM: Final = "sbom.cdx.json"
_PARTS: Final = "parts.json"
# Archives of a third of a gigabyte: those of the last few states of the code, others may be testing one of them.
_KEPT: Final = 3
_SOURCES: Final = ("orchestrator", "playbooks", "roles", "inventories", "ansible.cfg", "pyproject.toml", "README.md")
# What the product never loads, by what was found to be large (docs/image.md): the Kubernetes client for asyncio with
# what only that needs, the models and calls of the other, which are loaded by a name that nobody here says, Ansible's
# own tests.
_UNUSED: Final = (
    *("kubernetes/aio", "kubernetes/client/models/[!_]*", "kubernetes/client/api/[!_]*", "ansible_test"),
    *(f"{name}{suffix}" for name in ("aiohttp", "multidict", "yarl", "propcache") for suffix in ("", "-*.dist-info")),
)


@dataclass(frozen=True, slots=True)
class ProductImage:
    """An image that was built, and the archive to take it to a node with."""

    name: str
    archive: Path
    sbom: Path


def ensure(
    engine: Engine,
    *,
    releases: Sequence[str] = (DEFAULT_RELEASE,),
    architecture: str = "",
    base: str = "",
    progress: Progress = silent,
) -> ProductImage:
    """Build the image of this checkout as it is now, unless that is there; in one process at a time.

    Args:
        engine: what builds it, and has it afterwards.
        releases: the gVisor releases that its Jobs can install.
        architecture: ``x86_64`` or ``aarch64``; this machine's where empty.
        base: an image that the engine has or can pull; Debian's own where empty.
        progress: told what begins.

    Raises:
        InvalidInputError: another architecture without a base.
        MissingComponentError: debootstrap, uv, Go or a package that is locked is missing.
        GvisorNodesError: a build failed; nothing of it stays.
    """
    architecture = architecture or platform.machine()
    if architecture != platform.machine() and not base:
        raise InvalidInputError(
            f"The image for {architecture} needs a base",
            why=f"debootstrap makes one for {platform.machine()} here",
            remedy="name one with --base; the engine must be able to run its programs (binfmt_misc and qemu-user)",
        )
    gvisor = replace(LabReleases.of(patched=not capabilities.probe().lowers_oom_score), architecture=architecture)
    for release in releases:
        gvisor.ensure(release, progress)
    base = base or ProductBase().ensure(engine, progress)
    runtime = _Runtime(engine, base, architecture, gvisor, tuple(releases))
    parts = runtime.ensure(progress)
    key = _digest([runtime.key], _source_files())
    target = cache_directory() / "product" / key[:16]
    image = ProductImage(f"{REPOSITORY}:{key[:16]}", target / _ARCHIVE, target / _SBOM)

    def is_there() -> bool:
        return is_kept(target, key, (_ARCHIVE, _SBOM)) and engine.has_image(image.name)

    if not is_there():
        with held(target.parent / "build.lock", what="building the image", timeout=_DEADLINE, progress=progress):
            if not is_there():
                keep(
                    target,
                    key,
                    lambda work, output: _build(
                        runtime, parts, image.name, work=work, output=output, progress=progress
                    ),
                )
                _forget_old(engine, target)
    return image


@dataclass(frozen=True, slots=True)
class _Runtime:
    """The image below the project: the base with packages and releases, which change seldom; and its list of parts."""

    engine: Engine
    base: str
    architecture: str
    gvisor: LabReleases
    releases: tuple[str, ...]

    @property
    def key(self) -> str:
        content = [_RECIPE, self.base, self.architecture, *self.releases]
        return _digest(content, [CONTAINERFILE, CHECKOUT / "requirements" / "run.txt", self.gvisor.releases_file])

    @property
    def name(self) -> str:
        return f"localhost/gvisor-nodes-lab/runtime:{self.key[:16]}"

    @property
    def platform(self) -> str:
        return f"linux/{GOARCH[self.architecture]}"

    def ensure(self, progress: Progress) -> list[sbom.Component]:
        target = cache_directory() / "product-runtime" / self.key[:16]
        with held(target.parent / "build.lock", what="building the runtime", timeout=_DEADLINE, progress=progress):
            if not (is_kept(target, self.key, (_PARTS,)) and self.engine.has_image(self.name)):
                keep(target, self.key, lambda work, output: self._build(work, output, progress))
        found: list[sbom.Component] = json.loads((target / _PARTS).read_text(encoding="utf-8"))
        return found

    def _build(self, work: Path, output: Path, progress: Progress) -> None:
        context = work / "context"
        python = python_of(self.engine, self.base)
        progress("image: locked packages")
        site = _environment(context / "environment", python, self.architecture)
        progress(f"image: gVisor {', '.join(self.releases)}")
        _artifacts(context / "artifacts", self.gvisor, self.releases, self.architecture)
        packages = self.engine.call(
            *("run", "--rm", "--network=none", *self.engine.build_options, "--entrypoint=dpkg-query", self.base),
            *("--show", "--showformat=${Package}\\t${Version}\\t${Architecture}\\n"),
            what="The base's packages are not known",
        ).stdout
        programs = sorted((context / "artifacts").glob(f"*/{self.architecture}/*"))
        parts = sbom.components(python=[site], debian=packages, binaries=programs)
        (output / _PARTS).write_text(json.dumps(parts), encoding="utf-8")
        shutil.copy(CONTAINERFILE, context / "Containerfile")
        progress(f"image: {self.engine.name} build of packages and releases")
        self.engine.build(
            context,
            self.name,
            {"BASE": self.base, "PYTHON": python["name"]},
            {IMAGE_LABEL: "runtime"},
            platform=self.platform,
            target="runtime",
        )


def _build(
    runtime: _Runtime, parts: list[sbom.Component], name: str, *, work: Path, output: Path, progress: Progress
) -> None:
    engine, context = runtime.engine, work / "context"
    progress("image: this checkout")
    _code(context / "code", work)
    document = sbom.document(_version(), [*parts, *sbom.components(python=[context / "code"])])
    for path in (context / _SBOM, output / _SBOM):
        path.write_text(document, encoding="utf-8")
    shutil.copy(CONTAINERFILE, context / "Containerfile")
    python = python_of(engine, runtime.base)
    arguments = {
        "BASE": runtime.base,
        "RUNTIME": runtime.name,
        "PYTHON": python["name"],
        "VERSION": _version(),
        "REVISION": _revision(),
    }
    progress(f"image: {engine.name} build")
    engine.build(context, name, arguments, {IMAGE_LABEL: "product"}, platform=runtime.platform)
    progress("image: archive")
    engine.save(name, output / _ARCHIVE)


def python_of(engine: Engine, base: str) -> dict[str, str]:
    """What the base's Python is called, and where it lies: the virtual environment refers to it."""
    program = (
        "import json, os, sys; print(json.dumps({'name': 'python%d.%d' % sys.version_info[:2],"
        " 'version': '%d.%d' % sys.version_info[:2], 'home': os.path.dirname(os.path.realpath(sys.executable))}))"
    )
    done = engine.call(
        *("run", "--rm", "--network=none", *engine.build_options, "--entrypoint=python3", base, "-c", program),
        what=f"The base {base} has no Python",
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def _environment(directory: Path, python: dict[str, str], architecture: str) -> Path:
    """A virtual environment with the locked packages, made without the Python that it is for; where they are."""
    target = directory / "lib" / python["name"] / "site-packages"
    _install(
        target,
        *("--python-version", python["version"], "--python-platform", f"{architecture}-manylinux_2_28"),
        *("--only-binary", ":all:", "--require-hashes", "--requirements", str(CHECKOUT / "requirements" / "run.txt")),
    )
    for pattern in _UNUSED:
        for path in target.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (directory / "pyvenv.cfg").write_text(f"home = {python['home']}\ninclude-system-site-packages = false\n")
    programs = directory / "bin"
    programs.mkdir()
    (programs / "python3").symlink_to(f"{python['home']}/python3")
    (programs / python["name"]).symlink_to("python3")
    # Written by who installed for another Python than the one that it ran with, so their first line is not right.
    for name, module in (
        ("gvisor-nodes", "orchestrator.cli.app"),
        ("ansible-playbook", "ansible.cli.playbook"),
    ):
        (programs / name).write_text(
            f"#!{PREFIX}/bin/python3 -P\nimport sys\nfrom {module} import main\nsys.exit(main())\n"
        )
        (programs / name).chmod(0o755)
    shutil.rmtree(target / "bin", ignore_errors=True)
    return target


def _code(directory: Path, work: Path) -> None:
    """The package with its playbooks, as the wheel has them."""
    wheels = work / "wheel"
    call(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(wheels), str(CHECKOUT)],
        what="The package cannot be built",
        timeout=300,
    )
    _install(directory, *map(str, wheels.glob("*.whl")))
    shutil.rmtree(directory / "bin", ignore_errors=True)


def _install(target: Path, *what: str) -> None:
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        raise MissingComponentError("The image needs uv", why=f"there is no {uv}", remedy="make setup")
    call(
        [str(uv), "pip", "install", "--quiet", "--no-deps", "--link-mode=copy", "--target", str(target), *what],
        what="The image's packages cannot be installed",
        remedy="see whether `make setup` works: it takes the same packages from the same place",
        timeout=600,
    )
    (target / ".lock").unlink(missing_ok=True)
    for record in target.glob("*.dist-info/direct_url.json"):  # where the wheel lay, which is nobody's business
        record.unlink()


def _artifacts(directory: Path, gvisor: LabReleases, releases: Iterable[str], architecture: str) -> None:
    for release in releases:
        shutil.copytree(gvisor.directory / release / architecture, directory / release / architecture)
    entries = json.loads(gvisor.releases_file.read_text(encoding="utf-8"))
    (directory / "releases.json").write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")


def _digest(content: Sequence[object], files: Iterable[Path]) -> str:
    digest = hashlib.sha256(json.dumps(content).encode())
    for path in files:
        digest.update(
            f"{str(path).removeprefix(str(CHECKOUT))}\0".encode() + hashlib.sha256(path.read_bytes()).digest()
        )
    return digest.hexdigest()


def _source_files() -> list[Path]:
    found = []
    for name in _SOURCES:
        path = CHECKOUT / name
        found += [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return sorted(path for path in found if "__pycache__" not in path.parts)


def _version() -> str:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def _revision() -> str:
    """The commit of the checkout; ``unknown`` outside of one."""
    done = call(["git", "-C", str(CHECKOUT), "rev-parse", "HEAD"], what="git", check=False, timeout=20)
    return done.stdout.strip() or "unknown"


def _forget_old(engine: Engine, newest: Path) -> None:
    others = [path for path in newest.parent.iterdir() if path.is_dir() and path != newest and "." not in path.name]
    for path in sorted(others, key=lambda one: one.stat().st_mtime, reverse=True)[_KEPT - 1 :]:
        path.with_name(f"{path.name}.key").unlink(missing_ok=True)
        shutil.rmtree(path)
        engine.remove_image(f"{REPOSITORY}:{path.name}")
