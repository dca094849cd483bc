"""Every check that the files of a release pass before a node sees them, as a list that can be shown.

``artifacts.resolve`` raises on the first failed check, ``gvisor-nodes releases verify`` prints them all. Nothing is
executed before its hash is right.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.gvisor import selfreport
from orchestrator.gvisor.artifact_set import ArtifactFile
from orchestrator.gvisor.elf import host_architecture, read_elf
from orchestrator.gvisor.releases import (
    RUNSC,
    SHIM,
    SIDECAR_DIRECTORY,
    SIDECARS,
    SIDECARS_MANDATORY_SINCE,
    release_key,
    release_label,
    required_sidecars,
)

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.errors import GvisorNodesError
    from orchestrator.gvisor.catalogue_entry import CatalogueEntry
    from orchestrator.gvisor.storage import Digests


@dataclass(frozen=True, slots=True)
class Check:
    """One check of one file.

    Attributes:
        file: path below the release directory.
        subject: what was checked: present, regular, executable, sha512, elf, architecture, static, version, label.
        ok: whether it passed.
        expected: what had to be there.
        found: what was there.
        remedy: what to do if it failed.
    """

    file: str
    subject: str
    ok: bool
    expected: str
    found: str
    remedy: str = ""


@dataclass(slots=True)
class Inspection:
    """The checks of one directory, in the order they were made, and what they learned.

    Attributes:
        directory: what was looked at.
        checks: passed and failed ones.
        files: files with their hashes, ``runsc`` first, then the shim, then sidecars by name.
        warnings: what works today and deserves a word.
        shim_containerd: containerd library of the shim, for example ``2.1.5+unknown``; empty if unknown.
    """

    directory: Path
    checks: list[Check] = field(default_factory=list)
    files: list[ArtifactFile] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    shim_containerd: str = ""

    @property
    def failed(self) -> list[Check]:
        """The checks that did not pass."""
        return [check for check in self.checks if not check.ok]

    def require(self, error: type[GvisorNodesError], where: str = "") -> None:
        """Raise the first failed check as an error of the given class.

        Args:
            error: the class that says who has to act.
            where: the place to name instead of the directory, for files in a temporary one.
        """
        for check in self.failed:
            raise error(
                f"{where or self.directory}: {check.file} failed the check '{check.subject}'",
                why=f"expected {check.expected}, found {check.found}",
                remedy=check.remedy,
            )


def inspect(directory: Path, entry: CatalogueEntry, digests: Digests, *, hashes_needed: bool) -> Inspection:
    """Check the files of a release in a directory.

    Args:
        directory: holds ``runsc``, ``containerd-shim-runsc-v1`` and perhaps ``gvisor-bin/``.
        entry: what the catalogue says about the release.
        digests: computes hashes.
        hashes_needed: whether a file without a hash in the catalogue fails (an operator's directory) or not (unpacked
            from an archive whose hash was right, or built here).
    """
    result = Inspection(directory)
    paths = _wanted(directory, entry, result)
    good = [path for path in paths if _check_file(path, entry, digests, result, hashes_needed=hashes_needed)]
    if not result.failed:
        _check_versions(directory, entry, good, result)
    return result


def _wanted(directory: Path, entry: CatalogueEntry, result: Inspection) -> list[str]:
    """The paths to look at: what must be there, and what is there besides."""
    required = [sidecar.path for sidecar in required_sidecars(entry.release)]
    folder = directory / SIDECAR_DIRECTORY
    present = sorted(f"{SIDECAR_DIRECTORY}/{item.name}" for item in folder.iterdir()) if folder.is_dir() else []
    known = {sidecar.path for sidecar in SIDECARS} | entry.members.keys()
    for path in present:
        if path not in known:
            result.checks.append(
                Check(
                    path,
                    "known",
                    ok=False,
                    expected=f"only {', '.join(sorted(sidecar.name for sidecar in SIDECARS))}",
                    found="another file",
                    remedy="remove it; if it is a new sidecar, update gvisor-nodes or import a catalogue that names it",
                )
            )
    listed = [path for path in entry.members if path.startswith(f"{SIDECAR_DIRECTORY}/")]
    mandatory = release_key(entry.release) >= release_key(SIDECARS_MANDATORY_SINCE)
    if entry.layout == "tarball" or present or listed or mandatory:
        # one missing sidecar beside others breaks every pod, so it is all or nothing
        return [RUNSC, SHIM, *sorted({*required, *listed, *(set(present) & known)})]
    if required:
        result.warnings.append(
            f"release {entry.release} without its sidecars ({', '.join(path.partition('/')[2] for path in required)}): "
            "runsc falls back to itself with a warning, and later releases refuse that"
        )
    return [RUNSC, SHIM]


def _check_file(path: str, entry: CatalogueEntry, digests: Digests, result: Inspection, *, hashes_needed: bool) -> bool:
    file = result.directory / path

    def check(subject: str, expected: str, found: str, remedy: str, *, ok: bool) -> bool:
        result.checks.append(Check(path, subject, ok, expected, found, "" if ok else remedy))
        return ok

    try:
        mode = os.lstat(file).st_mode
    except OSError as error:
        return check(
            "present",
            "the file",
            error.strerror or str(error),
            f"take all files of release {entry.release}",
            ok=False,
        )
    regular = stat.S_ISREG(mode)
    kind = "a regular file" if regular else "a link or something else that is no file"
    if not check("regular", "a regular file", kind, "put the file itself there", ok=regular):
        return False
    executable = mode & 0o111 == 0o111  # noqa: PLR2004 - runsc runs itself as another user
    check("executable", "mode 0755", f"mode {stat.S_IMODE(mode):04o}", f"chmod 0755 {file}", ok=executable)

    expected = entry.members.get(path)
    if expected is not None:
        algorithm, _, wanted = expected.partition(":")
        found = digests.digest(file, algorithm)
        remedy = f"take the file of {entry.source}, or correct the catalogue entry"
        check(algorithm, wanted, found, remedy, ok=found == wanted)
    elif hashes_needed:
        check(
            "sha512",
            "a hash in the catalogue",
            f"none for {path} of release {entry.release}",
            "give the release tarball itself, or add the hash: gvisor-nodes releases import FILE",
            ok=False,
        )

    facts = read_elf(file)
    found = facts.problem or "one"
    if check("elf", "an ELF binary", found, "take the file of the release again", ok=not facts.problem):
        arch = entry.architecture
        check("architecture", arch, facts.machine, f"take the files for {arch}", ok=facts.machine == arch)
        asks = " and ".join([*([facts.interpreter] if facts.interpreter else []), *facts.needed])
        check(
            "static",
            "a static binary",
            f"one that needs {asks}" if asks else "one",
            "build with CGO_ENABLED=0; a dynamic runsc starts no sandbox",
            ok=facts.static,
        )
    result.files.append(ArtifactFile(path, digests.digest(file), file.stat().st_size))
    return True


def _check_versions(directory: Path, entry: CatalogueEntry, paths: list[str], result: Inspection) -> None:
    label = release_label(entry.release)
    remedy = f"take the files of release {entry.release}, all from one place"
    native = entry.architecture == host_architecture()

    def check(path: str, subject: str, expected: str, found: str, *, ok: bool) -> None:
        result.checks.append(Check(path, subject, ok, expected, found, "" if ok else remedy))

    if native:
        try:
            version = selfreport.runsc_version(directory / RUNSC)
        except selfreport.NoAnswerError as error:
            version = str(error)
        check(RUNSC, "version", label, version, ok=version == label)
        try:
            result.shim_containerd = selfreport.shim_version(directory / SHIM)
            check(SHIM, "version", "a containerd version", result.shim_containerd, ok=True)
        except selfreport.NoAnswerError as error:
            check(SHIM, "version", "a containerd version", str(error), ok=False)
    else:
        found = selfreport.labels(directory / RUNSC)
        check(RUNSC, "label", label, ", ".join(found) or "no release label", ok=label in found)
        result.shim_containerd = selfreport.shim_library(directory / SHIM)
    for sidecar in SIDECARS:
        if sidecar.labelled and sidecar.path in paths:
            found = selfreport.labels(directory / sidecar.path)
            check(sidecar.path, "label", label, ", ".join(found) or "no release label", ok=label in found)
