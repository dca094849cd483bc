"""One entry of a release catalogue, and the file format that carries entries.

A hash without a source and a date is worth nothing, so every entry carries both. Format (JSON, unknown keys are
errors)::

    {"schema": 1, "releases": [{
        "release": "20260905.0", "architecture": "x86_64", "layout": "loose" | "tarball" | "module",
        "source": "who says so", "date": "2026-11-23",
        "files": {"runsc": "sha512:<128 hex>" | "sha256:<64 hex>", ...},
        "module": {"version": "v0.0.0-...", "sum": "h1:...="}}]}

``date`` is the day the source says it, or the day it was read where the source carries none. ``catalogue.py`` merges
the files of several origins.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping  # noqa: TC003 - pydantic reads the annotations at run time
from datetime import date  # noqa: TC003 - see above
from pathlib import Path  # noqa: TC003 - see above
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from orchestrator.errors import InvalidInputError
from orchestrator.gvisor.releases import ARCHIVE, RUNSC, SHIM, SIDECAR_DIRECTORY, release_key

Layout = Literal["loose", "tarball", "module"]

_MEMBER = re.compile(rf"(?:{SIDECAR_DIRECTORY}/)?[A-Za-z0-9_][A-Za-z0-9._-]*")
_MAX_BYTES = 4 * 1024 * 1024  # a catalogue of every release ever published is far below 1 MiB


def _valid_release(value: str) -> str:
    try:
        release_key(value)
    except InvalidInputError as error:
        raise ValueError(error.why) from error
    return value


class GoModule(BaseModel):
    """A version of the module ``gvisor.dev/gvisor`` and the sum of its zip, as ``go.sum`` writes them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Annotated[str, StringConstraints(pattern=r"^v[0-9]+\.[0-9]+\.[0-9]+[0-9A-Za-z.+-]*$")]
    sum: Annotated[str, StringConstraints(pattern=r"^h1:[A-Za-z0-9+/]{43}=$")]


class CatalogueEntry(BaseModel):
    """One release for one architecture: how it is laid out, which hashes, who says so."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    release: Annotated[str, AfterValidator(_valid_release)]
    architecture: Literal["x86_64", "aarch64"]
    layout: Layout
    source: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]
    date: date
    files: Mapping[str, Annotated[str, StringConstraints(pattern=r"^(sha512:[0-9a-f]{128}|sha256:[0-9a-f]{64})$")]] = (
        Field(default_factory=dict)
    )
    module: GoModule | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for path in self.files:
            if not _MEMBER.fullmatch(path):
                raise ValueError(f"files: {path!r} is not a path below a release directory")
        if self.layout == "loose" and not {RUNSC, SHIM} <= self.files.keys():
            raise ValueError(f"layout loose needs the hashes of {RUNSC} and {SHIM}")
        if self.layout == "tarball" and ARCHIVE not in self.files and not {RUNSC, SHIM} <= self.files.keys():
            raise ValueError(f"layout tarball needs the hash of {ARCHIVE}, or of its members")
        if self.layout == "module" and not self.files and self.module is None:
            raise ValueError("layout module needs 'module' (version and sum), or 'files' of a finished build")
        if self.layout == "module" and self.files and not {RUNSC, SHIM} <= self.files.keys():
            raise ValueError(f"layout module with files needs the hashes of {RUNSC} and {SHIM}")
        if self.layout != "module" and self.module is not None:
            raise ValueError("'module' belongs to layout module only: a build has other bytes than the publisher's")
        if self.layout != "tarball" and ARCHIVE in self.files:
            raise ValueError(f"{ARCHIVE} belongs to layout tarball only")
        return self

    @property
    def members(self) -> dict[str, str]:
        """Expected hashes of the files themselves, without the archive's."""
        return {path: digest for path, digest in self.files.items() if path != ARCHIVE}

    @property
    def key(self) -> str:
        """Name of the cache slot: other bytes or another way to get them make another slot."""
        content = {"layout": self.layout, "files": dict(sorted(self.files.items()))}
        if self.module is not None:
            content["module"] = self.module.model_dump()
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = Field(alias="schema")
    releases: tuple[CatalogueEntry, ...]


def render(entries: Iterable[CatalogueEntry]) -> str:
    """Write a catalogue file's text: sorted, so that the same entries give the same bytes."""
    ordered = sorted(entries, key=lambda entry: (release_key(entry.release), entry.architecture))
    releases = []
    for entry in ordered:
        data = entry.model_dump(mode="json", exclude_none=True)
        data["files"] = dict(sorted(data["files"].items()))
        releases.append(data)
    return json.dumps({"schema": 1, "releases": releases}, indent=1) + "\n"


def parse(text: str, origin: str) -> tuple[CatalogueEntry, ...]:
    """Read a catalogue file's text.

    Args:
        text: JSON.
        origin: the file's name, for messages.

    Raises:
        InvalidInputError: not JSON, not this format, or the same release and architecture twice.
    """
    what = f"{origin} is not a catalogue of gVisor releases"
    remedy = "correct the file; `gvisor-nodes releases list --output json` shows the fields"
    try:
        entries = _File.model_validate(json.loads(text)).releases
    except json.JSONDecodeError as error:
        raise InvalidInputError(
            what, why=f"not JSON: {error.msg} in line {error.lineno}, column {error.colno}", remedy=remedy
        ) from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'file'}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()[:5]
        )
        raise InvalidInputError(what, why=problems, remedy=remedy) from error
    except RecursionError as error:
        raise InvalidInputError(what, why="nested too deeply", remedy=remedy) from error
    seen: set[tuple[str, str]] = set()
    for entry in entries:
        name = (entry.release, entry.architecture)
        if name in seen:
            raise InvalidInputError(what, why=f"{name[0]} for {name[1]} is there twice", remedy="keep one of the two")
        seen.add(name)
    return entries


def read_file(path: Path) -> tuple[CatalogueEntry, ...]:
    """Read a catalogue file.

    Raises:
        InvalidInputError: it cannot be read, is too big, or is not a catalogue.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise InvalidInputError(
            f"the catalogue file {path} cannot be read",
            why=error.strerror or str(error),
            remedy="check path and permissions",
        ) from error
    if len(content) > _MAX_BYTES:
        raise InvalidInputError(
            f"{path} is not a catalogue of gVisor releases",
            why=f"it is larger than {_MAX_BYTES} bytes",
            remedy="check the path",
        )
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise InvalidInputError(
            f"{path} is not a catalogue of gVisor releases", why="it is not UTF-8 text", remedy="check the path"
        ) from error
    return parse(text, str(path))
