"""What every node of a cluster is given of this machine beside Kubernetes' programs: CNI's plugins, and nft.

Node images have neither, because a node without a kubelet needs neither. The plugins are those of Debian's package.
``nft`` is this machine's own, which podman needs, with the libraries that it is linked to and their loader, so that it
runs on any Debian.
"""

from __future__ import annotations

import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.errors import MissingComponentError
from orchestrator.lab.kept import is_kept, keep
from orchestrator.lab.lock import held
from orchestrator.lab.paths import cache_directory
from orchestrator.lab.program import Progress, call, require, silent

if TYPE_CHECKING:
    from collections.abc import Callable

CNI_PLUGINS: Final = ("bridge", "host-local", "loopback", "portmap")
_PACKAGE: Final = "containernetworking-plugins"
_SECONDS: Final = 600.0
# Count it up when the code below changes what is kept.
_RECIPE: Final = "1"
# Absolute paths in what ldd prints: the libraries, and the loader.
_LIBRARY: Final = re.compile(r"^\s*(?:\S+ => )?(/\S+) \(0x", re.MULTILINE)
_LOADER: Final = re.compile(r"/ld-linux[^/]*\.so\.\d+$")


@dataclass(frozen=True, slots=True)
class NodeParts:
    """The two directories.

    Attributes:
        cni: with the plugins.
        nft: with ``nft``, which finds its libraries there wherever it is called from, if it is mounted at ``place``.
    """

    cni: Path
    nft: Path


def ensure(place: str, progress: Progress = silent) -> NodeParts:
    """Fetch and copy what is not there.

    Args:
        place: where nodes will have nft's directory.
        progress: told what is fetched.

    Raises:
        MissingComponentError: apt has no such package, or this machine no nft.
    """
    nft = Path(require("nft")).resolve()
    status = nft.stat()
    return NodeParts(
        cni=_kept("cni", _RECIPE, CNI_PLUGINS, lambda work, output: _fetch_plugins(work, output, progress)),
        nft=_kept(
            "nft",
            f"{_RECIPE} {place} {status.st_size} {status.st_mtime_ns}",
            ("nft",),
            lambda _, output: _copy_nft(nft, output, place),
        ),
    )


def _kept(name: str, key: str, names: tuple[str, ...], make: Callable[[Path, Path], None]) -> Path:
    target = cache_directory() / name / platform.machine()
    if not is_kept(target, key, names):
        with held(target.parent / "build.lock", what=f"making {name}", timeout=_SECONDS):
            if not is_kept(target, key, names):
                keep(target, key, make)
    return target


def _fetch_plugins(work: Path, output: Path, progress: Progress) -> None:
    progress(f"fetch Debian's package {_PACKAGE}")
    # As root apt would become its own user, who may not write here.
    argv = [require("env"), "-C", str(work), require("apt-get"), "--quiet", "-o", "APT::Sandbox::User=root", "download"]
    remedy = "apt-get update, then run it again"
    call([*argv, _PACKAGE], what=f"apt does not fetch {_PACKAGE}", remedy=remedy, timeout=_SECONDS)
    for package in work.glob("*.deb"):
        call([require("dpkg-deb"), "--extract", str(package), str(work / "tree")], what=f"{package.name} is no package")
    for name in CNI_PLUGINS:
        (work / "tree/usr/lib/cni" / name).rename(output / name)


def _copy_nft(nft: Path, output: Path, place: str) -> None:
    libraries = [Path(path) for path in _LIBRARY.findall(call([require("ldd"), str(nft)], what="ldd of nft").stdout)]
    loader = next((path for path in libraries if _LOADER.search(str(path))), None)
    if loader is None:
        raise MissingComponentError("nft cannot be given to nodes", why=f"ldd names no loader of {nft}")
    lib = output / "lib"
    lib.mkdir()
    for path in libraries:
        shutil.copyfile(path, lib / path.name)
    shutil.copyfile(nft, lib / "nft")
    for program in (lib / "nft", lib / loader.name):
        program.chmod(0o755)
    script = f'#!/bin/sh\nexec {place}/lib/{loader.name} --library-path {place}/lib {place}/lib/nft "$@"\n'
    (output / "nft").write_text(script)
    (output / "nft").chmod(0o755)
