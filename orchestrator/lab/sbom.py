"""What is in the product's image, as a CycloneDX 1.6 document: Python packages, Debian packages, gVisor's Go modules.

It says what the installed things say of themselves (their metadata, dpkg's list, the build information in each Go
program) and nothing more: no licences that were not declared, no vulnerabilities. Same image, same bytes.
Source of the form: https://cyclonedx.org/docs/1.6/json/, of the identifiers: https://github.com/package-url/purl-spec.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from importlib.metadata import distributions
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from orchestrator.lab.program import call, require

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_NAMESPACE: Final = uuid.UUID("5f0c5d1f-6d0e-4f4e-9d8e-2f6f4b8f7a10")


type Component = dict[str, Any]


def components(*, python: Sequence[Path] = (), debian: str = "", binaries: Iterable[Path] = ()) -> list[Component]:
    """Return the parts.

    Args:
        python: directories with installed packages.
        debian: what ``dpkg-query`` shows: name, version and architecture by tabs, a package a line.
        binaries: Go programs, named by the two directories above them (release, architecture).
    """
    return [*_python(python), *_debian(debian), *(part for path in binaries for part in _go(path))]


def document(version: str, parts: Iterable[Component]) -> str:
    """Return the document of the product's ``version`` with these parts."""
    unique = {part["bom-ref"]: part for part in parts}
    ordered = [unique[key] for key in sorted(unique)]
    serial = uuid.uuid5(_NAMESPACE, json.dumps([version, ordered], sort_keys=True))
    product = {"type": "container", "name": "gvisor-nodes", "version": version, "bom-ref": "gvisor-nodes"}
    found = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": product},
        "components": ordered,
    }
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


def _component(kind: str, name: str, version: str, purl: str, **more: Any) -> Component:
    return {"type": kind, "name": name, "version": version, "purl": purl, "bom-ref": purl, **more}


def _python(directories: Sequence[Path]) -> list[Component]:
    found = []
    for distribution in distributions(path=[str(directory) for directory in directories]):
        name, version = distribution.metadata["Name"], distribution.version
        declared = distribution.metadata.get("License-Expression")
        licences = {"licenses": [{"expression": declared}]} if declared else {}
        normal = name.lower().replace("_", "-").replace(".", "-")
        found.append(_component("library", name, version, f"pkg:pypi/{normal}@{quote(version)}", **licences))
    return found


def _debian(listing: str) -> list[Component]:
    found = []
    for line in listing.splitlines():
        name, version, architecture = line.split("\t")
        purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={architecture}"
        found.append(_component("library", name, version, purl))
    return found


def _go(path: Path) -> list[Component]:
    """The program itself with its hash, and the modules that it was built of."""
    release, architecture = path.parent.parent.name, path.parent.name
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").hexdigest()
    purl = f"pkg:generic/gvisor/{path.name}@{release}?arch={architecture}"
    hashes = [{"alg": "SHA-512", "content": digest}]
    found = [_component("application", path.name, release, purl, hashes=hashes)]
    told = call(
        [require("go"), "version", "-m", str(path)], what=f"{path.name} does not say what it was built of"
    ).stdout
    for line in told.splitlines():
        words = line.split()
        if words[:1] in (["mod"], ["dep"]) and len(words) > 2:  # noqa: PLR2004 -- kind, module, version, maybe a sum
            module, version = words[1], words[2]
            found.append(_component("library", module, version, f"pkg:golang/{quote(module)}@{quote(version)}"))
    return found
