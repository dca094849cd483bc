"""What is going on, host by host, on standard error: live on a terminal, one line a step elsewhere."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.execution.results import HostEvent

_MARKS = {
    "ok": "[green]✓[/]", "changed": "[yellow]✓[/]", "skipped": "[dim]-[/]",
    "failed": "[red]✗[/]", "refused": "[red]✗[/]", "invalid": "[red]✗[/]", "unreachable": "[red]✗[/]",
}  # fmt: skip


@contextmanager
def shown(*, quiet: bool = False) -> Iterator[Callable[[HostEvent], None]]:
    """Yield what takes the events while the block runs."""
    if quiet:
        yield lambda _event: None
    elif sys.stderr.isatty():
        with _live() as take:
            yield take
    else:
        yield _print


def line(event: HostEvent) -> str:
    """Return one event as ``host step status message``."""
    return " ".join(part for part in (event.host, event.step, event.status, event.message) if part)


def _print(event: HostEvent) -> None:
    if event.status != "started":
        sys.stderr.write(line(event) + "\n")
        sys.stderr.flush()


@contextmanager
def _live() -> Iterator[Callable[[HostEvent], None]]:
    from rich.console import Console  # noqa: PLC0415 - only needed on a terminal
    from rich.markup import escape  # noqa: PLC0415
    from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    columns = (
        SpinnerColumn(finished_text=" "),
        TextColumn("[bold]{task.fields[host]}[/]"),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    console = Console(stderr=True, highlight=False)
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console, transient=True) as progress:

        def take(event: HostEvent) -> None:
            if event.host not in tasks:
                tasks[event.host] = progress.add_task("", total=None, host=escape(event.host))
            mark = _MARKS.get(event.status, "[dim]…[/]")
            text = escape(" ".join(part for part in (event.step, event.message) if part))
            progress.update(tasks[event.host], description=f"{mark} {text}")

        yield take
