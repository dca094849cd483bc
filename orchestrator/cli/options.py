"""The options that commands share, each defined once so that a name means the same everywhere."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Output(StrEnum):
    """How results are written to standard output."""

    table = "table"
    json = "json"
    yaml = "yaml"


Inventory = Annotated[
    list[str],
    typer.Option(
        "--inventory",
        "-i",
        help="Inventory file or directory, or a comma separated list of hosts. Repeatable.",
        metavar="PATH",
    ),
]
AnyInventory = Annotated[
    list[str] | None,
    typer.Option(
        "--inventory",
        "-i",
        help="Inventory file or directory, or a comma separated list of hosts. Repeatable.",
        metavar="PATH",
    ),
]
Limit = Annotated[
    str | None,
    typer.Option(help="Only these hosts or groups of the inventory.", metavar="PATTERN"),
]
User = Annotated[str | None, typer.Option(help="Log in as this user.", metavar="NAME")]
Become = Annotated[bool, typer.Option("--become", help="Become root with sudo.")]
AskBecomePass = Annotated[bool, typer.Option("--ask-become-pass", help="Ask for the sudo password. Implies --become.")]
ConnectTimeout = Annotated[
    int | None,
    typer.Option(
        help="Seconds until a connection attempt is given up; 15 if not given.", min=1, max=600, metavar="SECONDS"
    ),
]

Release = Annotated[
    str | None,
    typer.Option(help="gVisor release, such as 20260817.0.", metavar="RELEASE"),
]
Flag = Annotated[
    list[str] | None,
    typer.Option("--flag", help="runsc flag. Repeatable; replaces the flags of the inventory.", metavar="NAME=VALUE"),
]
Artifacts = Annotated[
    Path | None,
    typer.Option(help="Directory on this machine that holds the release's files.", metavar="DIR"),
]
ReleasesFile = Annotated[
    list[Path] | None,
    typer.Option("--releases-file", help="Further release catalogue. Repeatable.", metavar="FILE"),
]
Directory = Annotated[
    str | None,
    typer.Option(help="Where gVisor is on the nodes; /opt/gvisor-nodes if not given.", metavar="DIR"),
]

Check = Annotated[bool, typer.Option("--check", help="Change nothing, say what would be done.")]
Diff = Annotated[bool, typer.Option("--diff", help="Show what changes in files.")]
Forks = Annotated[
    int | None,
    typer.Option(help="Hosts at the same time; 20 if not given.", min=1, max=500, metavar="N"),
]
Timeout = Annotated[
    float | None,
    typer.Option(help="Stop the run after this many seconds.", min=1, metavar="SECONDS"),
]
OutputFormat = Annotated[Output, typer.Option("--output", "-o", help="How results are written to standard output.")]
