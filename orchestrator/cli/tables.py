"""Rows as tables for people, and below them every host that did not succeed: step, what, why, what to do."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.execution.results import BAD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orchestrator.execution.results import HostResult, RunResult

type Row = dict[str, Any]

_COLOURS = {
    "ok": "green",
    "changed": "yellow",
    "failed": "bold red",
    "refused": "red",
    "invalid": "red",
    "unreachable": "bold red",
}
_HOSTS_NAMED = 10
_PLAIN_WIDTH = 200  # in a file or a pipe nothing is wrapped for a terminal that is not there


def console() -> Console:
    """Return the console for results: standard output, without colour and wrapping where that is no terminal."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PLAIN_WIDTH)


def show(out: Console, command: str, rows: list[Row]) -> None:
    """Print the table of ``command``, one of the keys of the layouts below."""
    with out.capture() as captured:
        out.print(table(command, rows))
    # the padding of the last column would only be noise in a file or a paste
    print("\n".join(line.rstrip() for line in captured.get().splitlines()), file=out.file)
    if command in _FOOTERS:
        for text in _FOOTERS[command](rows):
            out.print(text, soft_wrap=True)


def table(command: str, rows: Iterable[Row]) -> Table:
    """Return the table of ``command``."""
    columns, cells = _LAYOUTS[command]
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        made.add_column(column, overflow="fold", no_wrap=column in {"HOST", "NODE"})
    for row in rows:
        for line in cells(row):
            made.add_row(*line)
    return made


def _outcome(row: Row) -> Text:
    return Text(str(row["outcome"]), style=_COLOURS.get(str(row["outcome"]), ""))


def _cell(value: object) -> Text:
    if value is None or value == "":
        return Text("-", style="dim")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    return Text(str(value))


def _apply(row: Row) -> Iterable[list[Text]]:
    fields = ("host", "containerd", "release", "restarts", "proof", "seconds")
    yield [*(_cell(row[name]) for name in fields), _outcome(row)]


def _remove(row: Row) -> Iterable[list[Text]]:
    yield [*(_cell(row[name]) for name in ("host", "removed", "restarts", "seconds")), _outcome(row)]


def _plan(row: Row) -> Iterable[list[Text]]:
    if row["needed"] is None:
        yield [_cell(row["host"]), _outcome(row), _cell(None), _cell(None)]
        return
    lines = [
        *([Text("refused", style="red"), _cell(one.get("what")), _cell(one.get("why"))] for one in row["refusals"]),
        *([_cell(row["restart"]), _cell(one.get("what")), _cell(one.get("why"))] for one in row["changes"]),
    ] or [[_cell(row["restart"]), Text("nothing", style="green"), Text("everything is as wanted")]]
    lines += [[Text(), Text(what), why] for what, why in map(_pod, row["pods"])]
    for index, (restart, what, why) in enumerate(lines):
        yield [_cell(row["host"]) if index == 0 else Text(), restart if index == 0 else Text(), what, why]


def _pod(pod: Row) -> tuple[str, Text]:
    from orchestrator.planning.generations import pod_title  # noqa: PLC0415 - only a plan with pods needs it

    name = pod_title(pod["namespace"], pod["name"], pod["sandbox"])
    where = f"stays on generation {pod['generation']}" if pod["generation"] else "is on no generation that is known"
    words = f"release {pod['release']}, flags {' '.join(pod['flags']) or 'none'}" if pod["release"] else ""
    if pod["note"]:
        return f"pod {name} {where}", Text("; ".join(filter(None, (words, pod["note"]))), style="red")
    return f"pod {name} {where}", Text(words)


def _generations(row: Row) -> Iterable[list[Text]]:
    if not row["generations"]:
        yield [_cell(row["host"]), _outcome(row) if row["outcome"] in BAD else Text("none"), *[_cell(None)] * 7]
    for index, one in enumerate(row["generations"]):
        place = "current" if one["current"] else "previous" if one["previous"] else ""
        kept = Text("nothing: apply removes it", style="yellow") if not one["kept"] else Text(one["kept"])
        values = (one["generation"], one["release"], " ".join(one["flags"]), place, one["pods"])
        first = _cell(row["host"]) if index == 0 else Text()
        yield [first, *map(_cell, values), _cell(one["made"]), _cell(one["proved"]), kept]


def _status(row: Row) -> Iterable[list[Text]]:
    if row["installed"] is None:
        yield [_cell(row["host"]), *[_cell(None)] * 6, _outcome(row)]
        return
    if not row["installed"]:
        drift = Text("not installed", style="yellow")
    elif row["drift"]:
        drift = Text("\n".join(row["drift"]), style="yellow")
    else:
        drift = Text("none", style="green")
    values = (row["containerd"], row["release"], " ".join(row["flags"]), row["generation"], _count(row), row["proved"])
    yield [_cell(row["host"]), *map(_cell, values), drift]


def _count(row: Row) -> str:
    """Return how many pods there are, and on which generations those are that have not the current one."""
    counts: dict[str, int] = row["pods"]
    others = [f"{count} on {number or 'none'}" for number, count in counts.items() if number != row["generation"]]
    return f"{sum(counts.values())}" + (f" ({', '.join(others)})" if others else "")


def _drivers(row: Row) -> Iterable[list[Text]]:
    host = [_cell(row["host"]), _cell(row["driver"] or ("none" if row["driver"] is not None else None))]
    if not row["releases"]:
        problems = Text("\n".join(row["problems"]), style="red") if row["problems"] else _cell(None)
        yield [*host, *[_cell(None)] * 2, problems, *[_cell(None)] * 2]
        return
    for index, one in enumerate(row["releases"]):
        style = "bold red" if one["fails"] and one["asked"] else "red" if one["fails"] else "green"
        verdict = Text(one["verdict"] + (", drops the driver" if one["drops"] else ""), style=style)
        part = host if index == 0 else [Text(), Text()]
        yield [*part, _cell(one["release"]), _cell(one["in_use"]), verdict, _cell(one["basis"]), _cell(one["nearest"])]


def _impact(rows: list[Row]) -> Iterable[Text]:
    """Which hosts lose support by switching, release by release."""
    hosts: dict[str, list[str]] = {}
    for row in rows:
        for release in row["loses_support_by"]:
            hosts.setdefault(release, []).append(str(row["host"]))
    for release, names in hosts.items():
        count = f"{len(names)} host{'s' * (len(names) > 1)}"
        yield Text(f"\nA switch to {release} takes the GPUs of {count}: {', '.join(names)}", style="red")


_FOOTERS: dict[str, Callable[[list[Row]], Iterable[Text]]] = {"drivers": _impact}


def _logs(row: Row) -> Iterable[list[Text]]:
    fields = ("host", "containers", "files", "left_out", "size", "file")
    yield [*(_cell(row[name]) for name in fields), _outcome(row)]


_STATES = {"Ready": "green", "Running": "yellow", "Removing": "yellow", "Failed": "bold red", "Unknown": "bold red"}


def _nodes(row: Row) -> Iterable[list[Text]]:
    state = Text(str(row["state"]), style=_STATES.get(row["state"], "")) if row["state"] else _cell(None)
    first = [_cell(row["pool"]), _cell(row["name"]), state]
    yield [*first, *(_cell(row[name]) for name in ("release", "generation", "since", "step", "message"))]


_PROVED = ("HOST", "CONTAINERD", "GVISOR", "RESTARTS", "PROOF", "SECONDS", "RESULT")
_LAYOUTS: dict[str, tuple[tuple[str, ...], Callable[[Row], Iterable[list[Text]]]]] = {
    "apply": (_PROVED, _apply),
    "verify": (_PROVED, _apply),
    "plan": (("HOST", "RESTART", "WHAT", "WHY"), _plan),
    "status": (("HOST", "CONTAINERD", "GVISOR", "FLAGS", "GENERATION", "PODS", "PROVED", "DRIFT"), _status),
    "nodes": (("POOL", "NODE", "STATE", "GVISOR", "GENERATION", "SINCE", "STEP", "WHY"), _nodes),
    "generations": (
        ("HOST", "GENERATION", "GVISOR", "FLAGS", "IS", "PODS", "MADE", "PROVED", "KEPT BECAUSE"),
        _generations,
    ),
    "drivers": (("HOST", "DRIVER", "RELEASE", "IN USE", "VERDICT", "BY", "NEAREST"), _drivers),
    "logs": (("HOST", "CONTAINERS", "LOGS", "LEFT OUT", "BYTES", "FILE", "RESULT"), _logs),
    "rollback": (_PROVED, _apply),
    "remove": (("HOST", "REMOVED", "RESTARTS", "SECONDS", "RESULT"), _remove),
}


def show_diffs(out: Console, result: RunResult) -> None:
    """Print what changes in files, host by host."""
    for host in result.hosts.values():
        for step in host.steps:
            if step.diff:
                out.print(Text(f"\n{host.host} {step.step}", style="bold"))
                for line in step.diff.splitlines():
                    style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
                    out.print(Text(line, style=style), soft_wrap=True)


def show_warnings(out: Console, rows: Iterable[Row]) -> None:
    """Print what the rows warn of, each text once with its hosts."""
    hosts: dict[str, list[str]] = {}
    for row in rows:
        for text in row.get("warnings") or []:
            hosts.setdefault(text, []).append(str(row["host"]))
    for text, names in hosts.items():
        shown = ", ".join(names[:_HOSTS_NAMED]) + (
            f" and {len(names) - _HOSTS_NAMED} more" * (len(names) > _HOSTS_NAMED)
        )
        out.print(Text.assemble("\n", (f"{shown} warning", "yellow"), f"\n  {text}"), soft_wrap=True)


def show_failures(out: Console, hosts: Iterable[HostResult]) -> None:
    """Print every host that did not succeed, with each step that went wrong (undoing a change may fail as well)."""
    for host in hosts:
        if host.succeeded:
            continue
        told: set[str] = set()
        for step in host.steps:
            if step.status in BAD and step.message not in told:
                told.add(step.message)
                out.print(Text.assemble("\n", (f"{host.host} [{step.step}] {step.status}", "bold red")), soft_wrap=True)
                for label, text in (("what", step.message), ("why", step.cause), ("to do", step.remedy)):
                    if text:
                        indented = text.strip().replace("\n", "\n" + " " * 9)
                        out.print(Text.assemble((f"  {label:<7}", "dim"), indented), soft_wrap=True)
        if not told:
            out.print(Text(f"\n{host.host} {host.outcome}", style="bold red"))
