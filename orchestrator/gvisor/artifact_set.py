"""The checked files of one release: what resolving ends with and what the way to a node begins with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class ArtifactFile:
    """One file of a release.

    Attributes:
        path: below the release directory, ``runsc`` or ``gvisor-bin/gvisor_sentry``.
        sha512: hex digest of its bytes.
        size: bytes.
    """

    path: str
    sha512: str
    size: int


@dataclass(frozen=True, slots=True)
class ArtifactSet:
    """The checked files of one release for one architecture.

    Attributes:
        release: for example ``20260905.0``.
        architecture: ``x86_64`` or ``aarch64``.
        directory: where the files lie on this machine; read-only for the caller.
        files: ``runsc``, the shim, then sidecars by name.
        source: where the bytes came from, for people.
        warnings: what works today and deserves a word.
        shim_containerd: the containerd library the shim was built on, for example ``2.1.5+unknown``. 2.x needs
            containerd >= 1.7 on the node. Empty if unknown (a foreign architecture without build information).
    """

    release: str
    architecture: str
    directory: Path
    files: tuple[ArtifactFile, ...]
    source: str
    warnings: tuple[str, ...]
    shim_containerd: str = ""
