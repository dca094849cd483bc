"""``gvisor-nodes logs``: the debug logs of one node as a file on this machine."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path  # typer reads the annotations
from typing import Annotated

import typer

from orchestrator.cli import invocation, summary
from orchestrator.cli import options as o
from orchestrator.cli.variables import Wanted
from orchestrator.errors import InvalidInputError

_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedLogs(Wanted):
    """Which logs, and the file to make; None means: not asked for."""

    to: Path
    pod: str | None = None
    container: str | None = None
    since: str | None = None
    size: int | None = None

    def variables(self) -> dict[str, object]:
        """Return the extra variables.

        Raises:
            InvalidInputError: a pod, container, time, size or path that is none.
        """
        from orchestrator.planning.log_collection import read_collection  # noqa: PLC0415 - not needed to print help

        given = {
            "pod": self.pod,
            "container": self.container,
            "since": self.since,
            "size": self.size,
            "to": os.path.abspath(self.to),  # noqa: PTH100 - of a file that is not there yet, links unresolved
        }
        found: dict[str, object] = {f"debug_logs_collect_{name}": value for name, value in given.items() if value}
        read_collection(found)
        return {**Wanted(directory=self.directory).variables(), **found}


def logs(
    *,
    host: Annotated[str, typer.Argument(help="One host of the inventory.", metavar="HOST")],
    inventory: o.Inventory,
    pod: Annotated[
        str | None, typer.Option(help="Only logs of this pod, running or gone.", metavar="NAMESPACE/NAME")
    ] = None,
    container: Annotated[
        str | None, typer.Option(help="Only logs of the container whose id begins like this.", metavar="ID")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="Only logs that changed since then: 90m, 2h, 1d, or 2026-11-25T10:00:00Z.", metavar="TIME"),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            help="MiB of logs to take, newest first; 256 if not given. Compressed they are about a tenth.",
            min=1,
            max=1000000,
            metavar="MIB",
        ),
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(
            help="File to write, or a directory that exists; HOST-gvisor-logs-TIME.tar.gz here if not given.",
            metavar="PATH",
        ),
    ] = None,
    user: o.User = None,
    become: o.Become = False,
    ask_become_pass: o.AskBecomePass = False,
    connect_timeout: o.ConnectTimeout = None,
    directory: o.Directory = None,
    timeout: o.Timeout = None,
    output: o.OutputFormat = o.Output.table,
) -> None:
    """Fetch gVisor's debug logs from a host, with a manifest. They may hold secrets; the file's mode is 0600."""
    from orchestrator.execution.runner import Options  # noqa: PLC0415 - not needed to print help
    from orchestrator.planning.log_collection import file_name  # noqa: PLC0415

    with invocation.errors_as_documents("logs", output):
        if not _HOST.fullmatch(host):
            raise InvalidInputError(f"{host!r} is not one host", remedy="for several: playbooks/collect_logs.yml")
    password = typer.prompt("sudo password", hide_input=True, err=True) if ask_become_pass else None
    code = invocation.invoke(
        "logs",
        "collect_logs",
        inventory,
        wanted=WantedLogs(
            to=to or Path(file_name(host, datetime.now(UTC))),
            pod=pod,
            container=container,
            since=since,
            size=size,
            directory=directory,
        ),
        options=Options(
            limit=host,
            user=user,
            become=become or ask_become_pass,
            become_password=password,
            connect_timeout=connect_timeout,
            timeout=timeout,
        ),
        output=output,
        row=summary.logs_row,
    )
    raise typer.Exit(code)
