"""Does the host's NVIDIA driver work with nvproxy of a given runsc? A verdict from texts alone, before a flag is set.

runsc asks the device for the driver's version and looks for exactly that version in its own table; a driver that is
not in it fails every GPU container, and every other sandbox too where the flag nvproxy is set. The driver's texts under
``/proc`` and ``/sys`` agree with the device unless an update awaits a reboot. The list is the binary's own (`runsc
nvproxy list-supported-drivers`, which needs no GPU); it pads parts with zeros, so versions are compared as numbers.
Where the list is not at hand, ``driver_history.py`` has data. Pure; who reads the files is the probe, and what a
verdict means for a change is said by ``planning/gpu.py``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from orchestrator.gvisor.releases import release_key

if TYPE_CHECKING:
    from collections.abc import Sequence

type Version = tuple[int, ...]
type Kind = Literal["supported", "allowed", "known-unsupported", "unknown", "no-gpu", "reboot-pending"]

FAILS: Final = frozenset({"known-unsupported", "unknown", "reboot-pending"})
"""Verdicts with which GPU containers fail."""

ALLOW_FLAG: Final = "nvproxy-allow-unsupported-driver"
ALLOW_FLAG_SINCE: Final = "20260615.0"
DRIVER_FLAG: Final = "nvproxy-driver-version"

# Drivers that runsc knows the interface of but does not support; with 20260615.0 or later they can be allowed by
# nvproxy-allow-unsupported-driver. Source: pkg/sentry/devices/nvproxy/version.go of gVisor 20260817.0, the same in
# 20260905.0 (a test compares it with driver_history.json).
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
            ``allowed`` (it is told otherwise); ``unknown`` (every GPU container fails); ``no-gpu`` (no driver loaded);
            ``reboot-pending`` (the texts disagree).
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


def driver_in_use(proc: str | None, module: str | None) -> str:
    """The driver's version from either text, the loaded one first; "" if neither says one."""
    return loaded_version(proc) or module_version(module)


def lists(listing: str, driver: str) -> bool:
    """Whether a binary's list has a driver."""
    version = parse_version(driver)
    return version is not None and padded(version) in {padded(known) for known in parse_supported(listing)}


def judge(
    *,
    proc: str | None,
    module: str | None,
    supported: str,
    release: str,
    flags: Sequence[str] = (),
    releases: Sequence[str] = (),
) -> Verdict:
    """The verdict on a host.

    Args:
        proc: text of ``/proc/driver/nvidia/version``, None if there is none.
        module: text of ``/sys/module/nvidia/version``, None if there is none.
        supported: output of the wanted release's `runsc nvproxy list-supported-drivers`.
        release: the wanted release, for messages.
        flags: the wanted flags as runsc gets them; two of them change which driver it looks for, or minds.
        releases: releases that are known to list this driver, the best first, for the remedy.
    """
    return unusable(proc, module) or _compare(
        driver_in_use(proc, module), parse_supported(supported), release, flags, releases
    )


def unusable(proc: str | None, module: str | None) -> Verdict | None:
    """The verdict that needs no list: there is no driver, it says no version, or a reboot is pending. Else None."""
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
            "no NVIDIA driver is loaded",
            "",
        )
    versions = {padded(version) for text in (loaded, on_disk) if (version := parse_version(text))}
    if len(versions) > 1:
        return Verdict(
            "reboot-pending",
            loaded,
            "",
            f"the NVIDIA driver in use is {loaded}, but the module's own version is {on_disk}: an update is half done",
            "reboot the node (or reload the NVIDIA modules), then run the same command again",
        )
    return None


def _compare(
    driver: str, supported: dict[Version, str], release: str, flags: Sequence[str], releases: Sequence[str]
) -> Verdict:
    version = parse_version(driver)
    if version is None or not supported:
        return Verdict(
            "unknown",
            driver,
            "",
            f"runsc {release} names no supported NVIDIA drivers, so driver {driver} cannot be judged",
            "use gVisor 20231106.0 or later, the first that lists its drivers",
        )
    forced = flag_value(flags, DRIVER_FLAG)
    if forced and (forced == "latest" or lists("\n".join(supported.values()), forced)):
        text = f"runsc {release} takes NVIDIA driver {driver} for {forced} ({DRIVER_FLAG})"
        return Verdict("allowed", driver, "", text, "")
    if padded(version) in {padded(known) for known in supported}:
        return Verdict("supported", driver, driver, f"NVIDIA driver {driver} is supported by runsc {release}", "")
    nearest = supported[min(supported, key=lambda known: _distance(version, known))]
    choice = f"choose a gVisor release that supports {driver}"
    if releases:
        choice += f" ({', '.join(releases[:3])})"
    if padded(version) in KNOWN_UNSUPPORTED:
        allowable = release_key(release) >= release_key(ALLOW_FLAG_SINCE)
        if allowable and flag_value(flags, ALLOW_FLAG) == "true":
            text = f"NVIDIA driver {driver} is not supported by runsc {release}, and allowed by {ALLOW_FLAG}"
            return Verdict("allowed", driver, nearest, text, "")
        return Verdict(
            "known-unsupported",
            driver,
            nearest,
            f"NVIDIA driver {driver} is known to gVisor but not supported by runsc {release}, "
            f"so {_consequence(flags)}; the nearest supported one is {nearest}",
            f"install driver {nearest} on the node, or {choice}"
            + (f", or allow it with the flag {ALLOW_FLAG}" if allowable else ""),
        )
    return Verdict(
        "unknown",
        driver,
        nearest,
        f"NVIDIA driver {driver} is unknown to runsc {release}, so {_consequence(flags)}; "
        f"the nearest supported one is {nearest}",
        f"install driver {nearest} on the node, or {choice}",
    )


def _consequence(flags: Sequence[str]) -> str:
    if flag_value(flags, "nvproxy") == "true":
        return "with nvproxy no sandbox would start"
    return "every GPU container would fail"


def flag_value(flags: Sequence[str], name: str) -> str:
    """The value of a flag among rendered lines, "" if it is not there."""
    return next((flag.partition("=")[2] for flag in flags if flag.startswith(f"--{name}=")), "")


def padded(version: Version) -> Version:
    """Three parts, as runsc reads a version of two."""
    return (*version, 0, 0)[:3]


def _distance(version: Version, known: Version) -> tuple[int, ...]:
    """Same branch first (drivers of one branch differ least), then the nearest; of equally near ones the newer."""
    ours, theirs = padded(version), padded(known)
    return (*(abs(a - b) for a, b in zip(ours, theirs, strict=True)), *(-part for part in theirs))
