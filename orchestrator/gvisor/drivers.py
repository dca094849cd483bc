"""Does the host's NVIDIA driver work with nvproxy of a given runsc? A verdict from texts alone, before a flag is set.

runsc asks the device for the driver's version and looks for exactly that version in its own table; a driver that is
not in it fails every GPU container. The driver's texts under ``/proc`` and ``/sys`` agree with the device unless an
update awaits a reboot. The list is the binary's own (`runsc nvproxy list-supported-drivers`, which needs no GPU); it
pads parts with zeros, so versions are compared as numbers. Pure; who reads the files is the probe.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

type Version = tuple[int, ...]
type Kind = Literal["supported", "known-unsupported", "unknown", "no-gpu", "reboot-pending"]

# Drivers that runsc knows the interface of but does not support; with 20260615.0 or later they can be allowed by
# nvproxy-allow-unsupported-driver. Source: pkg/sentry/devices/nvproxy/version.go of gVisor 20260817.0.
KNOWN_UNSUPPORTED: Final = frozenset(
    {
        (535, 104, 5),
        (535, 113, 1),
        (545, 23, 6),
        (550, 40, 7),
        (550, 54, 14),
        (550, 90, 7),
        (555, 42, 2),
        (560, 28, 3),
        (565, 57, 1),
        (570, 86, 15),
        (575, 51, 2),
        (580, 95, 5),
        (590, 44, 1),
        (595, 71, 5),
        (610, 43, 2),
    },
)

_VERSION = re.compile(r"[1-9][0-9]{2,3}(?:\.[0-9]{1,4}){1,2}")
# "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 …" and
# "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.14  Release Build  (dvs-builder@U16…)".
# The line names other numbers too (x86_64, dates, build hosts), so the first version behind "Module" is taken.
_NVRM = re.compile(rf"^NVRM version:.*?\bModule\b.*?\s(?P<version>{_VERSION.pattern})(?=\s|$)", re.MULTILINE)
_MODULE = re.compile(_VERSION.pattern)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said of a host's driver.

    Args:
        kind: ``supported``; ``known-unsupported`` (runsc knows the driver and refuses it unless told otherwise);
            ``unknown`` (every GPU container fails); ``no-gpu`` (no driver loaded); ``reboot-pending`` (the texts
            disagree).
        driver: the version in use, as the driver writes it, or "".
        nearest: the supported version next to it, as the binary lists it, or "".
        message: one sentence for people.
        remedy: what to do, or "".
    """

    kind: Kind
    driver: str
    nearest: str
    message: str
    remedy: str


def parse_version(text: str) -> Version | None:
    """A version of two or three parts as numbers (``570.09`` and ``570.9`` are the same), or None if it is none."""
    stripped = text.strip()
    return tuple(int(part) for part in stripped.split(".")) if _VERSION.fullmatch(stripped) else None


def loaded_version(proc: str | None) -> str:
    """The version in the text of ``/proc/driver/nvidia/version``, of the closed or the open module; "" if none."""
    match = _NVRM.search(proc or "")
    return match["version"] if match else ""


def module_version(module: str | None) -> str:
    """The version in the text of ``/sys/module/nvidia/version``; "" if none."""
    stripped = (module or "").strip()
    return stripped if _MODULE.fullmatch(stripped) else ""


def parse_supported(listing: str) -> dict[Version, str]:
    """The output of `runsc nvproxy list-supported-drivers`: versions, and how the binary writes them.

    Lines that are no version (warnings, an error text of a release without the command) are left out.
    """
    found = {}
    for line in listing.splitlines():
        version = parse_version(line)
        if version is not None:
            found[version] = line.strip()
    return found


def judge(*, proc: str | None, module: str | None, supported: str, release: str) -> Verdict:
    """The verdict on a host.

    Args:
        proc: text of ``/proc/driver/nvidia/version``, None if there is none.
        module: text of ``/sys/module/nvidia/version``, None if there is none.
        supported: output of the wanted release's `runsc nvproxy list-supported-drivers`.
        release: the wanted release, for messages.
    """
    loaded, on_disk = loaded_version(proc), module_version(module)
    driver = loaded or on_disk
    if not driver:
        if (proc or "").strip() or (module or "").strip():
            return Verdict(
                "unknown",
                "",
                "",
                "an NVIDIA driver is loaded, but its version cannot be read",
                "look at /proc/driver/nvidia/version on the node",
            )
        return Verdict(
            "no-gpu",
            "",
            "",
            "no NVIDIA driver is loaded; nvproxy is set and has no effect until there is one",
            "",
        )
    if loaded and on_disk and parse_version(loaded) != parse_version(on_disk):
        return Verdict(
            "reboot-pending",
            loaded,
            "",
            f"the NVIDIA driver in use is {loaded}, but the module's own version is {on_disk}: an update is half done",
            "reboot the node (or reload the NVIDIA modules), then run the same command again",
        )
    return _compare(driver, parse_supported(supported), release)


def _compare(driver: str, supported: dict[Version, str], release: str) -> Verdict:
    version = parse_version(driver)
    if version is None or not supported:
        return Verdict(
            "unknown",
            driver,
            "",
            f"runsc {release} names no supported NVIDIA drivers, so driver {driver} cannot be judged",
            "use gVisor 20231106.0 or later, the first that lists its drivers",
        )
    if _padded(version) in {_padded(known) for known in supported}:
        return Verdict("supported", driver, driver, f"NVIDIA driver {driver} is supported by runsc {release}", "")
    nearest = supported[min(supported, key=lambda known: _distance(version, known))]
    if _padded(version) in KNOWN_UNSUPPORTED:
        return Verdict(
            "known-unsupported",
            driver,
            nearest,
            f"NVIDIA driver {driver} is known to gVisor but not supported by runsc {release}; the nearest is {nearest}",
            f"install driver {nearest} on the node, or choose a gVisor release that supports {driver}",
        )
    return Verdict(
        "unknown",
        driver,
        nearest,
        f"NVIDIA driver {driver} is unknown to runsc {release}, so every GPU container would fail; "
        f"the nearest supported one is {nearest}",
        f"install driver {nearest} on the node, or choose a gVisor release that supports {driver}",
    )


def _padded(version: Version) -> Version:
    """Three parts, as runsc reads a version of two."""
    return (*version, 0, 0)[:3]


def _distance(version: Version, known: Version) -> tuple[int, ...]:
    """Same branch first (drivers of one branch differ least), then the nearest; of equally near ones the newer."""
    ours, theirs = _padded(version), _padded(known)
    return (*(abs(a - b) for a, b in zip(ours, theirs, strict=True)), *(-part for part in theirs))
