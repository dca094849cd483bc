"""What a gVisor release consists of: its name, its files, and which sidecars exist since when.

These are facts about gVisor's publishing, kept as data so that a new sidecar is one line. Hashes are not here, they are
in the catalogue (``catalogue.py``), because a hash needs a source and a date. The next step is ``artifacts.py``, which
turns a release name into files on this machine.

Sources: the release bucket's layout and issue google/gvisor#13718 (tarball since 20260721.0, loose files up to
20260817.0); ``runsc/gvisorbinaries`` of the Go module for the sidecar names; published manifests of 20260817.0 and
20260831.0 (six files), 20260914.0 and 20261005.0 (seven files, with ``runsc-fd-parking``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from orchestrator.errors import InvalidInputError

RUNSC: Final = "runsc"
SHIM: Final = "containerd-shim-runsc-v1"
ARCHIVE: Final = "gvisor.tar.bz2"
SIDECAR_DIRECTORY: Final = "gvisor-bin"

ARCHITECTURES: Final = ("x86_64", "aarch64")
"""As the release bucket and ``uname -m`` name them."""

DEFAULT_RELEASE: Final = "20260209.1"
"""The newest release of the built-in catalogue with cited hashes for every architecture (a test holds it to that)."""

DEFAULT_BUCKET: Final = "https://storage.googleapis.com/gvisor/releases/release"

SIDECARS_MANDATORY_SINCE: Final = "20261005.0"
"""From here runsc refuses to start a sandbox without sidecars (``--sidecar-usage-policy`` DEFAULT acts as STRICT);
before, it warns and boots itself. Observed with 20261005.0; where after 20260905.0 it changed is not known."""

_RELEASE = re.compile(r"(?P<day>20[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01]))\.(?P<number>0|[1-9][0-9]{0,2})")


@dataclass(frozen=True, slots=True)
class Sidecar:
    """A program that runsc starts from ``gvisor-bin/`` beside itself.

    Attributes:
        name: file name below ``gvisor-bin/``.
        since: first release in which it must be there; empty if it is never required.
        labelled: whether the binary carries ``release-YYYYMMDD.N``. The small C programs do not: the prewarmer's
            bytes are the same in 20260817.0 and 20261005.0.
    """

    name: str
    since: str
    labelled: bool

    @property
    def path(self) -> str:
        """Path below the release directory."""
        return f"{SIDECAR_DIRECTORY}/{self.name}"


SIDECARS: Final = (
    Sidecar("checkpointgofer", "20260721.0", labelled=True),
    Sidecar("runsc-metric-server", "20260721.0", labelled=True),
    Sidecar("gvisor_sentry", "20260810.0", labelled=True),
    Sidecar("gvisor-sentry-prewarmer", "20260817.0", labelled=False),
    Sidecar("runsc-fd-parking", "20260914.0", labelled=False),  # not in 20260831.0; between the two it is accepted
    Sidecar("gvisor_sentry_plugin_stack", "", labelled=True),  # only for network=plugin, in no published tarball so far
)


def release_key(release: str) -> tuple[int, int]:
    """Sort key of a release name.

    Args:
        release: ``YYYYMMDD.N``, for example ``20260905.0``.

    Returns:
        Day and number as integers.

    Raises:
        InvalidInputError: the name does not have that shape.
    """
    match = _RELEASE.fullmatch(release)
    if match is None:
        raise InvalidInputError(
            f"{release!r} is not the name of a gVisor release",
            why="a release is a day and a number, YYYYMMDD.N, for example 20260905.0",
            remedy="gvisor-nodes releases list",
        )
    return int(match["day"]), int(match["number"])


def is_release(text: str) -> bool:
    """Whether a text has the shape of a release name."""
    return _RELEASE.fullmatch(text) is not None


def check_architecture(architecture: str) -> None:
    """Refuse an architecture gVisor does not publish.

    Raises:
        InvalidInputError: anything but x86_64 and aarch64.
    """
    if architecture not in ARCHITECTURES:
        raise InvalidInputError(
            f"{architecture!r} is not an architecture of gVisor",
            why=f"gVisor is published for {' and '.join(ARCHITECTURES)}",
            remedy="give the node's `uname -m`",
        )


def release_label(release: str) -> str:
    """The text that ``runsc --version`` and labelled sidecars carry."""
    return f"release-{release}"


def required_sidecars(release: str) -> tuple[Sidecar, ...]:
    """The sidecars a complete set of this release has, in a fixed order."""
    key = release_key(release)
    return tuple(sidecar for sidecar in SIDECARS if sidecar.since and release_key(sidecar.since) <= key)


def known_paths() -> frozenset[str]:
    """Every path that may lie in a release directory."""
    return frozenset({RUNSC, SHIM, *(sidecar.path for sidecar in SIDECARS)})
