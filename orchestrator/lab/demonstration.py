"""What a demo prints: its stages with their seconds, and claims, each with a mark that says whether it holds."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Demonstration:
    """One run of a demo.

    Attributes:
        console: where it prints.
        failures: the claims that do not hold.
        stages: titles with their seconds.
    """

    def __init__(self) -> None:
        self.console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
        self.failures: list[str] = []
        self.stages: list[tuple[str, float]] = []
        self._begin = time.monotonic()

    @contextmanager
    def stage(self, title: str) -> Iterator[None]:
        """Print a title, and remember the seconds."""
        self.console.print(f"\n[bold]{title}[/]")
        begin = time.monotonic()
        yield
        self.stages.append((title, time.monotonic() - begin))

    def claim(self, text: str, *, holds: bool, found: str = "") -> None:
        """Print one claim with a mark; remember it if it does not hold."""
        detail = f": {found}" if found and not holds else ""
        mark = "[green]✓[/]" if holds else "[bold red]✗[/]"
        self.console.print(f"  {mark} {escape(text + detail)}", soft_wrap=True)
        if not holds:
            self.failures.append(text)

    def say(self, text: str, style: str = "dim") -> None:
        """Print a line."""
        self.console.print(f"[{style}]{escape(text)}[/]", soft_wrap=True)

    def table(self, *columns: str) -> Table:
        """A table as all of them look; it is printed by whoever fills it."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for column in columns:
            table.add_column(column, overflow="fold")
        return table

    def end(self, title: str, commands: Mapping[str, str]) -> int:
        """Print how long everything took, what did not hold, and what to do next; return the exit code.

        Args:
            title: above the commands.
            commands: with what each is good for.
        """
        seconds = time.monotonic() - self._begin
        said = ", ".join(f"{title.lower()} {took:.0f}" for title, took in self.stages)
        self.console.print(f"\n[bold]{seconds:.0f} s[/]: {said}")
        if self.failures:
            self.console.print(f"[bold red]{len(self.failures)} claims do not hold:[/]")
            for text in self.failures:
                self.console.print(f"  {escape(text)}", soft_wrap=True)
        self.console.print(f"\n[bold]{title}[/]")
        for command, purpose in commands.items():
            self.console.print(f"  {escape(command)}\n      [dim]{purpose}[/]", soft_wrap=True)
        return 1 if self.failures else 0
