"""The commands about a node's generations: what there is, and going back."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli import invocation, summary
from orchestrator.cli import options as o
from orchestrator.cli.commands import run_options
from orchestrator.cli.variables import Wanted


def generations(
    host: Annotated[
        str | None, typer.Argument(help="Only this host, or any pattern that --limit takes.", metavar="HOST")
    ] = None,
    *,
    inventory: o.Inventory,
    limit: o.Limit = None,
    user: o.User = None,
    become: o.Become = False,
    ask_become_pass: o.AskBecomePass = False,
    connect_timeout: o.ConnectTimeout = None,
    directory: o.Directory = None,
    forks: o.Forks = None,
    timeout: o.Timeout = None,
    output: o.OutputFormat = o.Output.table,
) -> None:
    """Say which generations (a release with its flags) a host has, which pods run in which, and why each is kept."""
    code = invocation.invoke(
        "generations",
        "probe",
        inventory,
        wanted=Wanted(directory=directory),
        options=run_options(
            limit=host or limit,
            forks=forks,
            user=user,
            become=become,
            ask_become_pass=ask_become_pass,
            connect_timeout=connect_timeout,
            timeout=timeout,
        ),
        output=output,
        row=summary.generations_row,
    )
    raise typer.Exit(code)


def rollback(
    *,
    inventory: o.Inventory,
    limit: o.Limit = None,
    user: o.User = None,
    become: o.Become = False,
    ask_become_pass: o.AskBecomePass = False,
    connect_timeout: o.ConnectTimeout = None,
    to: Annotated[
        int | None,
        typer.Option("--to", help="Go to this generation; to the previous one if not given.", min=1, metavar="NUMBER"),
    ] = None,
    directory: o.Directory = None,
    check: o.Check = False,
    diff: o.Diff = False,
    forks: o.Forks = None,
    timeout: o.Timeout = None,
    output: o.OutputFormat = o.Output.table,
) -> None:
    """Make the previous generation current again and prove it. No restart; running pods keep theirs. Twice: forward."""
    code = invocation.invoke(
        "rollback",
        "rollback",
        inventory,
        wanted=Wanted(directory=directory, generation=to),
        options=run_options(
            limit=limit,
            forks=forks,
            user=user,
            become=become,
            ask_become_pass=ask_become_pass,
            connect_timeout=connect_timeout,
            timeout=timeout,
            check=check,
            diff=diff,
        ),
        output=output,
        row=summary.plan_row if check else summary.apply_row,
        layout="plan" if check else None,
    )
    raise typer.Exit(code)
