"""``gvisor-nodes flags``: the flags of runsc that are known, what they take, and what may be done with them.

No host is asked and nothing is fetched. The catalogue is imported when the command runs, so that help stays fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.options import Output, OutputFormat

if TYPE_CHECKING:
    from orchestrator.gvisor.flag_catalogue import KnownFlag

COLUMNS = ("flag", "type", "values", "default", "releases", "class", "purpose")


def show(
    release: Annotated[
        str | None, typer.Option(help="Only what this release has; default: every flag known.", metavar="RELEASE")
    ] = None,
    output: OutputFormat = Output.table,
) -> None:
    """Show the known flags of runsc: values, default, releases, class, and what is allowed without a policy."""
    from orchestrator.cli.invocation import errors_as_documents, write  # noqa: PLC0415

    with errors_as_documents("flags", output):
        rows = _rows(release or "")
    if output is Output.table:
        _show(rows)
    else:
        write({"command": "flags", "release": release or "", "flags": rows}, output)


def _rows(release: str) -> list[dict[str, Any]]:
    from orchestrator.gvisor.flag_catalogue import Presence, known_flags  # noqa: PLC0415

    return [
        _row(flag, release)
        for flag in known_flags().values()
        if not release or flag.presence(release) is not Presence.ABSENT
    ]


def _row(flag: KnownFlag, release: str) -> dict[str, Any]:
    from orchestrator.gvisor.flag_policy import DEFAULT_POLICY  # noqa: PLC0415

    return {
        "flag": flag.name,
        "type": flag.spans[-1].type,
        "values": flag.grammar.meaning,
        "default": flag.default(release),
        "releases": flag.releases,
        "since": flag.since,
        "until": flag.until,
        **({"certain": flag.presence(release).value == "there"} if release else {}),
        "class": flag.risk.value,
        "allowed": DEFAULT_POLICY.allowed(flag),
        "purpose": flag.purpose,
        "why": flag.why,
    }


def _show(rows: list[dict[str, Any]]) -> None:
    from rich.markup import escape  # noqa: PLC0415 - rich is not needed to print documents
    from rich.table import Table  # noqa: PLC0415

    from orchestrator.cli.tables import console  # noqa: PLC0415

    table = Table(box=None, pad_edge=False)
    for column in COLUMNS:
        table.add_column(column.upper(), overflow="fold")
    for row in rows:
        table.add_row(*(escape(str(row[column])) for column in COLUMNS))
    console().print(table)
