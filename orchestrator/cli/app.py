"""The entry point: the commands by name, errors as text and exit code, help in well under half a second.

``job``, ``lab``, ``releases`` and ``drivers`` are rooms of their own and are imported when they are asked for.
"""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from orchestrator.cli import commands, flags, generations
from orchestrator.cli.controller import controller
from orchestrator.cli.logs import logs
from orchestrator.errors import GvisorNodesError

if TYPE_CHECKING:
    from collections.abc import Sequence

LAZY = {
    "job": "orchestrator.cli.job",
    "releases": "orchestrator.cli.releases",
    "drivers": "orchestrator.cli.drivers",
    "lab": "orchestrator.cli.lab",
}
"""Groups of commands by name: modules with a typer application named ``app``."""

EXIT_CODES = {
    0: "done",
    1: "error, or stopped by Ctrl-C or --timeout; running the same command again continues",
    2: "wrong usage or invalid input, nothing was changed",
    3: "some hosts failed or could not be reached",
    4: "refused: every host that did not succeed was left as it was",
}
EPILOG = f"Exit codes: {'; '.join(f'{code} {meaning}' for code, meaning in EXIT_CODES.items())}."


class _Group(TyperGroup):
    """Adds the groups of :data:`LAZY`, each imported only when it is called or listed."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*super().list_commands(ctx), *(name for name, module in LAZY.items() if find_spec(module))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in LAZY and find_spec(LAZY[cmd_name]):
            mounted: typer.Typer = importlib.import_module(LAZY[cmd_name]).app
            mounted.rich_markup_mode = None
            group = typer.main.get_group(mounted)
            group.name = cmd_name
            return group
        return super().get_command(ctx, cmd_name)


app = typer.Typer(
    name="gvisor-nodes",
    cls=_Group,
    help="gVisor on containerd nodes: installed, proved, and taken away without a trace.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,  # help without rich starts twice as fast
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"gvisor-nodes {version()}")
        raise typer.Exit


def version() -> str:
    """Return the installed version, or ``unknown`` in a checkout that is not installed."""
    from importlib.metadata import PackageNotFoundError  # noqa: PLC0415 - not needed to print help
    from importlib.metadata import version as installed  # noqa: PLC0415

    try:
        return installed("gvisor-nodes")
    except PackageNotFoundError:
        return "unknown"


@app.callback()
def _root(
    _show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


for _command in (
    commands.plan,
    commands.apply,
    commands.verify,
    commands.status,
    logs,
    generations.generations,
    generations.rollback,
    commands.remove,
    commands.inventory,
    controller,
):
    app.command(epilog=EPILOG)(_command)
app.command("flags", epilog=EPILOG)(flags.show)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="gvisor-nodes")
    except GvisorNodesError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - this is the command line
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
