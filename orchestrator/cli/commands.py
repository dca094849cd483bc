"""The commands that run playbooks, and the one that writes an inventory."""

from __future__ import annotations

import os
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli import invocation, summary
from orchestrator.cli import options as o
from orchestrator.cli.variables import Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.execution.runner import Options


def plan(
    *,
    inventory: o.Inventory,
    limit: o.Limit = None,
    user: o.User = None,
    become: o.Become = False,
    ask_become_pass: o.AskBecomePass = False,
    connect_timeout: o.ConnectTimeout = None,
    release: o.Release = None,
    flag: o.Flag = None,
    artifacts: o.Artifacts = None,
    releases_file: o.ReleasesFile = None,
    directory: o.Directory = None,
    forks: o.Forks = None,
    timeout: o.Timeout = None,
    output: o.OutputFormat = o.Output.table,
) -> None:
    """Say what every host needs and why, and whether containerd would be restarted. Changes nothing."""
    code = invocation.invoke(
        "plan",
        "probe",
        inventory,
        wanted=_wanted(release, flag, artifacts, releases_file, directory),
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
        row=summary.plan_row,
    )
    raise typer.Exit(code)


def apply(
    *,
    inventory: o.Inventory,
    limit: o.Limit = None,
    user: o.User = None,
    become: o.Become = False,
    ask_become_pass: o.AskBecomePass = False,
    connect_timeout: o.ConnectTimeout = None,
    release: o.Release = None,
    flag: o.Flag = None,
    artifacts: o.Artifacts = None,
    releases_file: o.ReleasesFile = None,
    directory: o.Directory = None,
    check: o.Check = False,
    diff: o.Diff = False,
    forks: o.Forks = None,
    timeout: o.Timeout = None,
    output: o.OutputFormat = o.Output.table,
) -> None:
    """Install gVisor on every host, or bring it to the wanted release and flags, and prove that it works."""
    code = invocation.invoke(
        "apply",
        "install",
        inventory,
        wanted=_wanted(release, flag, artifacts, releases_file, directory),
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
        # In check mode nothing was proved; what would be done is what there is to say.
        row=summary.plan_row if check else summary.apply_row,
        layout="plan" if check else None,
    )
    raise typer.Exit(code)


def verify(
    *,
    inventory: o.Inventory,
    limit: o.Limit = None,
    user: o.User = None,
    become: o.Become = False,
    ask_become_pass: o.AskBecomePass = False,
    connect_timeout: o.ConnectTimeout = None,
    release: o.Release = None,
    flag: o.Flag = None,
    directory: o.Directory = None,
    forks: o.Forks = None,
    timeout: o.Timeout = None,
    output: o.OutputFormat = o.Output.table,
) -> None:
    """Start a sandbox on every host through containerd and look at it. Changes nothing that stays."""
    code = invocation.invoke(
        "verify",
        "verify",
        inventory,
        wanted=_wanted(release, flag, None, None, directory),
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
        row=summary.apply_row,
    )
    raise typer.Exit(code)


def status(
    *,
    inventory: o.AnyInventory = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            help="Instead of an inventory: the nodes of a ContainerRuntime's pool as the controller has left them;"
            " `all` for every pool.",
            metavar="NAMESPACE/NAME",
        ),
    ] = None,
    kubeconfig: Annotated[
        str,
        typer.Option(help="Of the cluster that has the ContainerRuntime; KUBECONFIG if not given.", metavar="FILE"),
    ] = "",
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="With --cluster: go on, and show every change, until Ctrl-C.")
    ] = False,
    limit: o.Limit = None,
    user: o.User = None,
    become: o.Become = False,
    ask_become_pass: o.AskBecomePass = False,
    connect_timeout: o.ConnectTimeout = None,
    release: o.Release = None,
    flag: o.Flag = None,
    directory: o.Directory = None,
    forks: o.Forks = None,
    timeout: o.Timeout = None,
    output: o.OutputFormat = o.Output.table,
) -> None:
    """Say what is on every host, when it was proved, and how it differs from what is wanted.

    With --cluster no host is asked: it says how the nodes of a pool are by the marks on them and the Jobs that run. It
    ends with 3 if a node failed or could not be looked at, and with 1 if one is not ready yet.
    """
    runs = {
        "--limit": limit,
        "--user": user,
        "--become": become,
        "--ask-become-pass": ask_become_pass,
        "--connect-timeout": connect_timeout,
        "--release": release,
        "--flag": flag,
        "--directory": directory,
        "--forks": forks,
        "--timeout": timeout,
    }
    with invocation.errors_as_documents("status", output):
        _one_place(inventory, cluster, runs, {"--kubeconfig": kubeconfig, "--watch": watch})
    if cluster is not None:
        from orchestrator.cli.pool_status import pool_status  # noqa: PLC0415 - not needed to print help

        raise typer.Exit(pool_status(cluster, kubeconfig, output=output, watch=watch))
    code = invocation.invoke(
        "status",
        "probe",
        inventory or [],
        wanted=_wanted(release, flag, None, None, directory),
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
        row=summary.status_row,
    )
    raise typer.Exit(code)


def _one_place(
    inventory: list[str] | None, cluster: str | None, runs: Mapping[str, object], looks: Mapping[str, object]
) -> None:
    """Insist on an inventory or a cluster, and on options that mean something there.

    Raises:
        InvalidInputError: it is neither, both, or an option of the other one.
    """
    from orchestrator.errors import InvalidInputError  # noqa: PLC0415 - not needed to print help

    if inventory and cluster is not None:
        raise InvalidInputError(
            "--inventory and --cluster cannot be combined",
            why="an inventory's hosts are asked themselves, a cluster's nodes are looked up in it",
            remedy="leave one of them out",
        )
    if not inventory and cluster is None:
        raise InvalidInputError(
            "it is not known whose status is wanted",
            remedy="give --inventory PATH, or --cluster NAMESPACE/NAME, or --cluster all",
        )
    place, strange = ("--cluster", runs) if cluster is not None else ("--inventory", looks)
    if given := [name for name, value in strange.items() if value not in (None, False, "", [])]:
        raise InvalidInputError(f"{', '.join(given)} has no meaning with {place}", remedy="leave it out")


def remove(
    *,
    inventory: o.Inventory,
    limit: o.Limit = None,
    user: o.User = None,
    become: o.Become = False,
    ask_become_pass: o.AskBecomePass = False,
    connect_timeout: o.ConnectTimeout = None,
    directory: o.Directory = None,
    check: o.Check = False,
    diff: o.Diff = False,
    forks: o.Forks = None,
    timeout: o.Timeout = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before removing.")] = False,
    output: o.OutputFormat = o.Output.table,
) -> None:
    """Take gVisor away from every host and leave it as it was before. Refuses while pods still use it."""
    if not (yes or check) and sys.stdin.isatty():
        where = f"the hosts {limit} of {', '.join(inventory)}" if limit else f"all hosts of {', '.join(inventory)}"
        typer.confirm(f"Remove gVisor from {where}?", abort=True, err=True)
    code = invocation.invoke(
        "remove",
        "uninstall",
        inventory,
        wanted=_wanted(None, None, None, None, directory),
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
        row=summary.remove_row,
    )
    raise typer.Exit(code)


def inventory(
    *,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", help="NAME, NAME:PORT, NAME=ADDRESS or NAME=ADDRESS:PORT. Repeatable.", metavar="HOST"),
    ] = None,
    nodes_file: Annotated[
        Path | None,
        typer.Option(help="File with one such host a line, or from kubectl get nodes -o json.", metavar="FILE"),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(help="The nodes of a ContainerRuntime's pool and what they shall be.", metavar="NAMESPACE/NAME"),
    ] = None,
    kubeconfig: Annotated[
        str,
        typer.Option(help="Of the cluster that has the ContainerRuntime; KUBECONFIG if not given.", metavar="FILE"),
    ] = "",
    user: Annotated[str | None, typer.Option(help="Log in as this user.", metavar="NAME")] = None,
    become: Annotated[bool, typer.Option("--become", help="Become root with sudo.")] = False,
    output: Annotated[
        o.Output, typer.Option("--output", "-o", help="Form of the inventory; table means yaml.")
    ] = o.Output.yaml,
) -> None:
    """Write an inventory of hosts to standard output. Same hosts, same bytes."""
    from orchestrator.errors import InvalidInputError  # noqa: PLC0415
    from orchestrator.planning import inventory as planning  # noqa: PLC0415 - not needed to print help

    with invocation.errors_as_documents("inventory", o.Output.table):
        hosts = [planning.parse_host(text) for text in host or []]
        variables: Mapping[str, object] = {}
        if nodes_file is not None:
            try:
                hosts += planning.parse_nodes(nodes_file.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError) as error:
                raise InvalidInputError(f"{nodes_file} cannot be read", why=str(error)) from error
        if cluster is not None:
            if hosts:
                raise InvalidInputError(
                    "--cluster cannot be combined with other hosts", remedy="leave --host and --nodes-file out"
                )
            from orchestrator.controller.pool_inventory import read_pool  # noqa: PLC0415 - the client takes a second

            pool = read_pool(cluster, kubeconfig, os.environ)
            hosts, variables = list(pool.hosts), pool.variables
        built = planning.build(hosts, user=user, become=become, variables=variables)
    render = planning.render_json if output is o.Output.json else planning.render_yaml
    sys.stdout.write(render(built))


def _wanted(
    release: str | None,
    flag: list[str] | None,
    artifacts: Path | None,
    releases_file: list[Path] | None,
    directory: str | None,
) -> Wanted:
    return Wanted(
        release=release,
        flags=flag or (),
        artifacts=artifacts,
        releases_files=releases_file or (),
        directory=directory,
    )


def run_options(
    *,
    limit: str | None,
    forks: int | None,
    user: str | None,
    become: bool,
    ask_become_pass: bool,
    connect_timeout: int | None,
    timeout: float | None,
    check: bool = False,
    diff: bool = False,
) -> Options:
    """Return the options of a run as the command line gave them; asks for a password where that is wanted."""
    from orchestrator.execution.runner import Options  # noqa: PLC0415 - not needed to print help

    password = None
    if ask_become_pass:
        password = typer.prompt("sudo password", hide_input=True, err=True)
    return Options(
        limit=limit,
        forks=forks,
        check=check,
        diff=diff,
        user=user,
        become=become or ask_become_pass,
        become_password=password,
        connect_timeout=connect_timeout,
        timeout=timeout,
    )
