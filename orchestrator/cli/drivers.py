"""``gvisor-nodes drivers``: which NVIDIA drivers a release supports, and what a switch does to the GPUs of a fleet.

``check`` runs the playbook ``drivers``, which judges on the controller what one probe of each host has read; ``list``
asks nobody but the release's binary, or the data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli import invocation
from orchestrator.cli import options as o
from orchestrator.cli.commands import run_options
from orchestrator.cli.releases import ArchOption, CatalogueOption, Output, OutputOption, print_result
from orchestrator.cli.variables import Wanted

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.execution.results import HostResult

app = typer.Typer(no_args_is_help=True, help="NVIDIA drivers: check hosts against releases, list what one supports.")


@app.command()
def check(
    *,
    inventory: o.Inventory,
    limit: o.Limit = None,
    user: o.User = None,
    become: o.Become = False,
    ask_become_pass: o.AskBecomePass = False,
    connect_timeout: o.ConnectTimeout = None,
    release: Annotated[
        list[str] | None,
        typer.Option(help="Release to compare with; the inventory's if not given. Repeatable.", metavar="RELEASE"),
    ] = None,
    flag: o.Flag = None,
    artifacts: o.Artifacts = None,
    releases_file: o.ReleasesFile = None,
    directory: o.Directory = None,
    forks: o.Forks = None,
    timeout: o.Timeout = None,
    output: o.OutputFormat = o.Output.table,
) -> None:
    """Say for every host whether its NVIDIA driver works with releases, and what a switch would drop.

    Changes nothing. Exit code 3 if GPU containers of a host would fail.
    """
    code = invocation.invoke(
        "drivers check",
        "drivers",
        inventory,
        wanted=Wanted(
            check_releases=release or (),
            flags=flag or (),
            artifacts=artifacts,
            releases_files=releases_file or (),
            directory=directory,
        ),
        options=run_options(
            limit=limit,
            forks=forks,
            user=user,
            become=become,
            ask_become_pass=ask_become_pass,
            connect_timeout=connect_timeout,
            timeout=timeout,
        ),
        output=output,
        row=row,
        layout="drivers",
    )
    raise typer.Exit(code)


def row(host: HostResult) -> dict[str, Any]:
    """Return what ``check`` says of a host: its driver, one entry for each release, and which of these drop it."""
    report = host.data.get("drivers") or {}
    releases = report.get("rows") or []
    return {
        "host": host.host,
        "outcome": host.outcome,
        "driver": report.get("driver"),
        "gpus": report.get("gpus"),
        "problems": report.get("problems") or [],
        "releases": releases,
        "loses_support_by": [one["release"] for one in releases if one["drops"]],
        "warnings": report.get("warnings") or [],
    }


@app.command("list")
def list_drivers(
    *,
    release: Annotated[
        str | None, typer.Option(help="For example 20260905.0; the default release if not given.")
    ] = None,
    driver: Annotated[
        str | None, typer.Option(help="Show the known releases that support this driver.", metavar="VERSION")
    ] = None,
    arch: ArchOption = None,
    artifacts: o.Artifacts = None,
    releases_file: CatalogueOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show the drivers that a release supports, by its own binary where that is here, else by the data.

    With a driver instead: the known releases that support it.
    """
    from orchestrator.errors import InvalidInputError  # noqa: PLC0415
    from orchestrator.gvisor.releases import DEFAULT_RELEASE  # noqa: PLC0415

    if driver is not None and release is not None:
        raise InvalidInputError("--driver and --release do not go together", remedy="give one of the two")
    if driver is not None:
        print_result(output, _releases(driver, arch, releases_file or []), ("release", "support", "basis"))
        return
    rows, note = _drivers(release or DEFAULT_RELEASE, arch, artifacts, releases_file or [])
    print_result(output, rows, ("driver", "support", "basis", "listed"))
    if note:
        typer.echo(f"by the data that came with gvisor-nodes: {note}", err=True)


def _drivers(
    release: str, arch: str | None, artifacts: Path | None, files: list[Path]
) -> tuple[list[dict[str, Any]], str]:
    from orchestrator.gvisor import driver_history, driver_lists, drivers  # noqa: PLC0415
    from orchestrator.gvisor.artifacts import ArtifactSources  # noqa: PLC0415
    from orchestrator.gvisor.elf import host_architecture  # noqa: PLC0415

    sources = ArtifactSources(directory=artifacts, releases_files=tuple(files))
    found = driver_lists.of_release(release, arch or host_architecture(), sources, fetch=False)
    rows = [
        {"driver": name, "support": "supported", "basis": found.basis, "listed": driver_history.lifetime(name)}
        for name in drivers.parse_supported(found.listing).values()
    ]
    return rows, found.note


def _releases(driver: str, arch: str | None, files: list[Path]) -> list[dict[str, Any]]:
    from orchestrator.errors import InvalidInputError  # noqa: PLC0415
    from orchestrator.gvisor import driver_history, drivers  # noqa: PLC0415
    from orchestrator.gvisor.catalogue import Catalogue  # noqa: PLC0415
    from orchestrator.gvisor.elf import host_architecture  # noqa: PLC0415

    if drivers.parse_version(driver) is None:
        raise InvalidInputError(f"{driver!r} is no version of an NVIDIA driver", remedy="for example 570.172.08")
    known = [
        entry.release
        for _, entry in Catalogue.load(files).entries()
        if entry.architecture == (arch or host_architecture())
    ]
    return [
        {"release": release, "support": driver_history.predict(driver, release), "basis": "data"} for release in known
    ]
