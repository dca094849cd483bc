"""``gvisor-nodes lab``: throw-away nodes and clusters by hand, in the words that users of kind and k3d know."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.errors import GvisorNodesError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.lab.program import Progress


class Output(StrEnum):
    """How a list is printed."""

    TABLE = "table"
    JSON = "json"


app = typer.Typer(no_args_is_help=True, help="Throw-away nodes: systemd, sshd and containerd in podman.")
cluster = typer.Typer(
    no_args_is_help=True,
    help="A throw-away Gardener seed and shoot: API servers and resource manager as processes, nodes on request.",
)
app.add_typer(cluster, name="cluster")

Kinds = Annotated[
    list[str] | None, typer.Option(help="Kind of node; may be given several times.", show_default="debian13")
]
Name = Annotated[str, typer.Option("--name", help="Name of the lab.")]
ClusterName = Annotated[str, typer.Option("--name", help="Name of the cluster.")]


@contextmanager
def _progress() -> Iterator[Progress]:
    """Print each step with the seconds since the start, and a spinner while it lasts where that is a terminal."""
    import time  # noqa: PLC0415

    from rich.console import Console  # noqa: PLC0415

    console = Console(stderr=True, highlight=False)
    begin = time.monotonic()

    def tell(line: str) -> None:
        console.print(f"[dim]{time.monotonic() - begin:6.1f} s[/]  {line}", soft_wrap=True)
        status.update(line)

    with console.status("look at this machine") as status:
        yield tell


@app.command()
def up(
    name: Name = "lab",
    nodes: Annotated[
        int | None,
        typer.Option(
            min=1, max=50, help="How many nodes at least; by default 2, or one of each kind.", show_default=False
        ),
    ] = None,
    release: Annotated[str | None, typer.Option(help="gVisor release that the inventory asks for.")] = None,
    kind: Kinds = None,
) -> None:
    """Start the lab's nodes, or make sure that they run, and write their inventory.

    Kinds of nodes: debian13 (containerd 1.7, the default), debian12 (containerd 1.6), containerd2 (containerd 2.4 on
    Debian 13) and containerd2.0 to containerd2.4. Several kinds go to the nodes in turn: with --kind debian12 --kind
    containerd2 the first and the third node are debian12. Nodes that are there stay as they are. A lab that is there
    keeps its release and its kinds unless others are named.
    """
    from orchestrator.lab import Lab  # noqa: PLC0415

    with _progress() as progress:
        lab = Lab.up(name, nodes, release=release, kinds=kind or (), on_progress=progress)
        progress(f"{len(lab.nodes)} nodes are ready: {', '.join(f'{node.name} ({node.kind})' for node in lab.nodes)}")
    typer.echo(lab.inventory)


@app.command()
def down(
    name: Name = "lab",
    everything: Annotated[bool, typer.Option("--all", help="All labs of this user.")] = False,
) -> None:
    """Remove a lab: its containers with their volumes, its network, its keys and its inventory."""
    from orchestrator.lab import removal  # noqa: PLC0415

    with _progress() as progress:
        for each in removal.left_overs() if everything else [name]:
            removed = removal.down(each, progress)
            progress(f"the lab {each} is gone" if removed else f"there was no lab {each}")


@app.command(name="list")
def list_(
    output: Annotated[Output, typer.Option("--output", "-o", help="How to print it.")] = Output.TABLE,
) -> None:
    """Show the nodes of all labs."""
    from orchestrator.lab.lab import Lab  # noqa: PLC0415
    from orchestrator.lab.paths import lab_names  # noqa: PLC0415

    rows = [row for name in lab_names() for row in Lab.describe(name)]
    if output is Output.JSON:
        typer.echo(json.dumps(rows, indent=2))
        return
    from rich.table import Table  # noqa: PLC0415

    from orchestrator.cli.tables import console  # noqa: PLC0415

    if not rows:
        typer.echo("there is no lab; make one: gvisor-nodes lab up", err=True)
        return
    table = Table(box=None, pad_edge=False)
    for column in ("lab", "node", "state", "ssh port", "kind"):
        table.add_column(column, no_wrap=True, overflow="ignore")  # people copy names
    for row in rows:
        table.add_row(*(str(row[key] or "-") for key in ("lab", "node", "state", "port", "kind")))
    console().print(table)
    for inventory in sorted({str(row["inventory"]) for row in rows if row["inventory"]}):
        typer.echo(f"inventory: {inventory}")


@app.command(context_settings={"ignore_unknown_options": True})
def ssh(
    node: Annotated[str, typer.Argument(help="Name or number of the node.")],
    command: Annotated[list[str] | None, typer.Argument(help="Command; without it a shell.")] = None,
    name: Name = "lab",
    user: Annotated[str, typer.Option(help="root, admin (sudo without password) or operator (with).")] = "root",
) -> None:
    """Log in to a node, or run a command on it."""
    from orchestrator.lab.lab import Lab  # noqa: PLC0415

    found = Lab.load(name).node(node)
    argv = [*found.ssh_arguments(user), *(command or [])]
    os.execvp(argv[0], argv)  # noqa: S606 -- ssh takes the terminal over


@app.command()
def build(
    release: Annotated[list[str] | None, typer.Option(help="gVisor release; may be given several times.")] = None,
    kind: Kinds = None,
) -> None:
    """Build node images and gVisor releases into the cache, without starting anything."""
    from orchestrator.lab import DEFAULT_RELEASE  # noqa: PLC0415
    from orchestrator.lab.lab import build as build_lab  # noqa: PLC0415

    with _progress() as progress:
        for line in build_lab(release or [DEFAULT_RELEASE], kind or (), progress):
            typer.echo(line)


@app.command()
def clean() -> None:
    """Remove all labs and clusters, the node images and what was built for them, and nothing else."""
    from orchestrator.lab import removal  # noqa: PLC0415

    with _progress() as progress:
        removal.clean(progress)


@cluster.command(name="up")
def cluster_up(
    name: ClusterName = "lab",
    output: Annotated[Path, typer.Option(help="Directory for the kubeconfigs.", file_okay=False)] = Path("dev"),
    nodes: Annotated[
        int | None,
        typer.Option(min=1, max=50, help="How many nodes the shoot has at least; by default none.", show_default=False),
    ] = None,
    kind: Kinds = None,
) -> None:
    """Start a seed and a shoot on this machine, or make sure that they run, and write their kubeconfigs.

    etcd, two API servers, Gardener's ContainerRuntimes, Clusters and ManagedResources in the seed, and the real
    gardener-resource-manager, which keeps in the shoot what ManagedResources in the seed's namespace shoot--foo--bar
    hold. Everything runs as processes on loopback ports and goes on after this command; no container and no root is
    needed. What is missing is built, which takes some ten minutes the first time. A cluster that was up and has
    processes that ended gets them again, with everything in it.

    With --nodes the shoot has nodes, too: lab nodes with real kubelets and kube-proxies, a scheduler and all
    controllers. They need root and podman, and the API servers listen where the nodes reach them. Several kinds go to
    the nodes in turn, as in lab up; nodes that are there stay as they are.
    """
    from orchestrator.lab import background  # noqa: PLC0415

    with _progress() as progress:
        # Who names kinds wants nodes.
        wanted = nodes or (len(kind) if kind else 0)
        made = background.up(name, output, progress, nodes=wanted, kinds=kind or ())
        progress(f"the cluster {name} {'is up' if made.started else 'runs already'}")
    seed, shoot = (_from_here(path) for path in (made.seed, made.shoot))
    option = "" if name == "lab" else f" --name {name}"
    typer.echo("", err=True)
    typer.echo(
        f"the seed:   kubectl --kubeconfig {seed} --namespace {background.NAMESPACE} get managedresources", err=True
    )
    seen = "nodes" if made.nodes else "runtimeclasses"
    typer.echo(f"the shoot:  kubectl --kubeconfig {shoot} get {seen}", err=True)
    typer.echo(f"the end:    gvisor-nodes lab cluster down{option}", err=True)
    typer.echo(seed)


@cluster.command(name="down")
def cluster_down(name: ClusterName = "lab") -> None:
    """End a cluster's processes, and remove its nodes, everything in it and its kubeconfigs."""
    from orchestrator.lab import background  # noqa: PLC0415

    with _progress() as progress:
        removed = background.down(name, progress)
        progress(f"the cluster {name} is gone" if removed else f"there was no cluster {name}")


def _from_here(path: Path) -> Path:
    """The path as people type it: relative where it is below the working directory."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    try:
        app()
    except GvisorNodesError as error:
        typer.echo(str(error), err=True)
        raise SystemExit(error.exit_code) from error
