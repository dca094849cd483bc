"""``gvisor-nodes releases``: which gVisor releases are known, fetch them, check them, add hashes.

``fetch --to`` makes the directory that an air-gapped site gives as ``runsc_artifacts_directory``; ``verify`` shows
every check that such a directory passes or fails. Errors go up as they are: the main program maps them to exit codes.
"""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence


class Output(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


app = typer.Typer(no_args_is_help=True, help="gVisor releases: list, fetch, verify, import hashes.")

OutputOption = Annotated[Output, typer.Option("--output", "-o", help="How to print the result.")]
CatalogueOption = Annotated[
    list[Path] | None, typer.Option("--releases-file", help="Catalogue file for this run; may be given several times.")
]
ArchOption = Annotated[str | None, typer.Option("--arch", help="x86_64 or aarch64; default: this machine's.")]


@app.command("list")
def list_releases(output: OutputOption = Output.TABLE, releases_file: CatalogueOption = None) -> None:
    """Show the known releases, newest first, with the source and date of their hashes."""
    from orchestrator.gvisor import cache  # noqa: PLC0415
    from orchestrator.gvisor.catalogue import Catalogue  # noqa: PLC0415
    from orchestrator.gvisor.releases import DEFAULT_RELEASE  # noqa: PLC0415

    where = cache.default_cache()
    rows = [
        {
            "release": entry.release,
            "architecture": entry.architecture,
            "layout": entry.layout,
            "default": entry.release == DEFAULT_RELEASE,
            "cached": cache.is_cached(entry, where),
            "catalogue": origin,
            "source": entry.source,
            "date": entry.date.isoformat(),
            "files": dict(sorted(entry.files.items())),
            **({"module": entry.module.model_dump()} if entry.module else {}),
        }
        for origin, entry in Catalogue.load(releases_file or ()).entries()
    ]
    print_result(output, rows, ("release", "architecture", "layout", "default", "cached", "date", "source"))


@app.command()
def fetch(
    release: Annotated[str, typer.Argument(help="For example 20260905.0.")],
    *,
    arch: ArchOption = None,
    to: Annotated[
        Path | None, typer.Option(help="Copy the files to DIRECTORY/RELEASE/ARCHITECTURE, for an air-gapped site.")
    ] = None,
    directory: Annotated[Path | None, typer.Option(help="Take the files from this directory, use no network.")] = None,
    releases_file: CatalogueOption = None,
    bucket: Annotated[str | None, typer.Option(help="URL of a mirror of the release bucket.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Use no network.")] = False,
    go_module: Annotated[bool, typer.Option(help="Build releases that are known as a Go module only.")] = True,
    output: OutputOption = Output.TABLE,
) -> None:
    """Fetch a release into the cache, checked, and show its files."""
    from orchestrator.gvisor.artifacts import DEFAULT_BUCKET, ArtifactSources, resolve  # noqa: PLC0415
    from orchestrator.gvisor.catalogue import Catalogue  # noqa: PLC0415
    from orchestrator.gvisor.elf import host_architecture  # noqa: PLC0415
    from orchestrator.gvisor.mirror import export  # noqa: PLC0415

    sources = ArtifactSources(
        directory=directory,
        releases_files=tuple(releases_file or ()),
        bucket=bucket or DEFAULT_BUCKET,
        offline=offline,
        go_module=go_module,
    )
    found = resolve(release, arch or host_architecture(), sources, _tell)
    place = found.directory
    if to is not None:
        place = export(found, Catalogue.load(sources.releases_files).entry(release, found.architecture), to)
    for warning in found.warnings:
        _tell(f"warning: {warning}")
    rows = [{"file": file.path, "size": file.size, "sha512": file.sha512} for file in found.files]
    if output is not Output.TABLE:
        summary = {
            "release": found.release,
            "architecture": found.architecture,
            "directory": str(place),
            "source": found.source,
            "shim_containerd": found.shim_containerd,
            "warnings": list(found.warnings),
            "files": rows,
        }
        print_result(output, summary, ())
        return
    short = [{"file": file.path, "size": file.size, "sha512": f"{file.sha512[:16]}…"} for file in found.files]
    print_result(output, short, ("file", "size", "sha512"))
    typer.echo(f"gVisor {found.release} for {found.architecture}: {place}\nfrom {found.source}")


@app.command()
def verify(
    directory: Annotated[Path, typer.Argument(help="Directory as given for runsc_artifacts_directory.")],
    release: Annotated[str, typer.Argument(help="For example 20260905.0.")],
    arch: ArchOption = None,
    releases_file: CatalogueOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Check the files of a release in a directory and show every check; exit 2 if one fails."""
    from orchestrator.errors import InvalidInputError  # noqa: PLC0415
    from orchestrator.gvisor import cache, mirror  # noqa: PLC0415
    from orchestrator.gvisor.artifacts import ArtifactSources, resolve  # noqa: PLC0415
    from orchestrator.gvisor.catalogue import Catalogue  # noqa: PLC0415
    from orchestrator.gvisor.elf import host_architecture  # noqa: PLC0415
    from orchestrator.gvisor.inspection import inspect  # noqa: PLC0415
    from orchestrator.gvisor.storage import Digests  # noqa: PLC0415

    entry = Catalogue.load(releases_file or ()).entry(release, arch or host_architecture())
    found = mirror.find(directory, entry)
    in_archive = found.is_file()
    if in_archive:
        sources = ArtifactSources(directory=directory, releases_files=tuple(releases_file or ()))
        found = resolve(entry.release, entry.architecture, sources, _tell).directory
    inspection = inspect(found, entry, Digests(cache.default_cache() / "digests"), hashes_needed=not in_archive)
    rows = [
        {
            "file": check.file,
            "check": check.subject,
            "ok": check.ok,
            "expected": check.expected,
            "found": check.found,
            "remedy": check.remedy,
        }
        for check in inspection.checks
    ]
    print_result(output, rows, ("file", "check", "ok", "expected", "found"))
    for warning in inspection.warnings:
        _tell(f"warning: {warning}")
    inspection.require(InvalidInputError)


@app.command("import")
def import_releases(
    file: Annotated[Path, typer.Argument(help="Catalogue file (JSON) with hashes, their source and date.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Add the entries of a catalogue file to your own catalogue."""
    from orchestrator.gvisor.catalogue import import_file, user_file  # noqa: PLC0415

    entries = import_file(file)
    rows = [
        {
            "release": entry.release,
            "architecture": entry.architecture,
            "layout": entry.layout,
            "source": entry.source,
            "date": entry.date.isoformat(),
        }
        for entry in entries
    ]
    print_result(output, rows, ("release", "architecture", "layout", "date", "source"))
    _tell(f"imported into {user_file()}")


def _tell(line: str) -> None:
    """Say something that is not the result: on stderr, so that the result can be piped."""
    typer.echo(line, err=True)


def print_result(output: Output, value: Any, columns: Sequence[str]) -> None:
    """Print a document, or the named columns of its rows as a table."""
    if output is Output.JSON:
        typer.echo(json.dumps(value, indent=2))
        return
    if output is Output.YAML:
        import yaml  # noqa: PLC0415

        typer.echo(yaml.safe_dump(value, sort_keys=False), nl=False)
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in value:
        table.add_row(*(escape(_cell(row[column])) for column in columns))
    Console(highlight=False).print(table)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
