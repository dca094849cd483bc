"""``gvisor-nodes status --cluster``: how the nodes of pools are, once or for as long as somebody watches.

On a terminal a watch is one table that is drawn again when something changes; elsewhere it is a line for each change.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from orchestrator.cli import invocation
from orchestrator.cli.options import Output

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.controller.nodes.survey import Sight

type Row = dict[str, Any]

_FIELDS = ("name", "state", "release", "generation", "step", "message", "since")
_READY, _FAILED, _UNKNOWN, _ASLEEP = "Ready", "Failed", "Unknown", "Hibernated"
_NOT_YET, _SOME_FAILED = 1, 3


def pool_status(name: str, kubeconfig: str, *, output: Output, watch: bool) -> int:
    """Print how nodes are.

    Args:
        name: of a ContainerRuntime, as namespace/name, or ``all``.
        kubeconfig: of the cluster that has it; empty for what the environment says.
        output: the form of it.
        watch: go on until Ctrl-C.

    Returns:
        The exit code.

    Raises:
        GvisorNodesError: the cluster cannot be asked.
    """
    with invocation.errors_as_documents("status", output):
        from orchestrator.controller.nodes.survey import Survey  # noqa: PLC0415 - the client takes a second

        with Survey(name, kubeconfig, os.environ) as survey:
            sights = survey.sights()
            if not watch:
                _print(sights, output)
                return exit_code(rows(sights))
            show = _live if sys.stdout.isatty() and output is Output.table else changes_until_ctrl_c
            return show(sights, survey.wait, survey.sights, output)


def rows(sights: Sequence[Sight]) -> list[Row]:
    """One for each node, and one for each pool without nodes."""
    found: list[Row] = []
    for sight in sights:
        if sight.seen is None:
            found.append(_row(sight.pool, state=_ASLEEP if sight.asleep else _UNKNOWN, message=sight.why))
        elif not sight.seen.states:
            found.append(_row(sight.pool, message="it has no node"))
        else:
            found += _nodes(sight)
    return found


def document(sights: Sequence[Sight]) -> dict[str, Any]:
    """The whole of it, for programs."""
    pools = [
        {
            "pool": sight.pool,
            "why": sight.why or None,
            "fingerprint": sight.seen.fingerprint if sight.seen is not None else None,
            "nodes": [{key: row[key] for key in _FIELDS} for row in _nodes(sight)],
        }
        for sight in sights
    ]
    return {"command": "status", "exit_code": exit_code(rows(sights)), "pools": pools}


def exit_code(found: Sequence[Row]) -> int:
    """3 if a node failed or could not be looked at, 1 if one is not ready yet, 0 if all are."""
    states = {row["state"] for row in found}
    if states & {_FAILED, _UNKNOWN}:
        return _SOME_FAILED
    return 0 if states <= {_READY, _ASLEEP, None} else _NOT_YET


def changes_until_ctrl_c(
    sights: Sequence[Sight], wait: Callable[[], None], look: Callable[[], Sequence[Sight]], output: Output
) -> int:
    """Print a line for every change, the first state included, until Ctrl-C.

    Args:
        sights: what there is at first.
        wait: returns when something may have changed.
        look: what there is then.
        output: the form of a line.

    Returns:
        The exit code of what was seen last.
    """
    before: dict[tuple[str, str | None], Row] = {}
    now = sights
    try:
        while True:
            found = {(row["pool"], row["name"]): row for row in rows(now)}
            gone = [_row(pool, name=name, state="Gone") for pool, name in before if (pool, name) not in found]
            changes = [row for key, row in found.items() if before.get(key) != row]
            # Before anything is written: who has read a line and ends the watch gets the exit code of that line.
            before = found
            for row in [*gone, *changes]:
                sys.stdout.write(_change(row, output))
            sys.stdout.flush()
            wait()
            now = look()
    except KeyboardInterrupt:
        return exit_code(list(before.values()))


def line(row: Row) -> str:
    """One row as ``pool node state release step message``."""
    step = f"[{row['step']}]" if row["step"] else None
    parts = (row["pool"], row["name"], row["state"], row["release"], step, row["message"])
    return " ".join(str(part) for part in parts if part)


def _nodes(sight: Sight) -> list[Row]:
    from orchestrator.controller.nodes.report import described  # noqa: PLC0415 - not needed to print help

    states = sight.seen.states if sight.seen is not None else ()
    return [_row(sight.pool, **described(one)) for one in sorted(states, key=lambda one: one.node.name)]


def _row(pool: str, **known: Any) -> Row:
    return {"pool": pool, **dict.fromkeys(_FIELDS), **known}


def _print(sights: Sequence[Sight], output: Output) -> None:
    if output is not Output.table:
        invocation.write(document(sights), output)
        return
    from orchestrator.cli import tables  # noqa: PLC0415 - rich is not needed to print documents

    if found := rows(sights):
        tables.show(tables.console(), "nodes", found)
    else:
        print("there is no ContainerRuntime of type gvisor", file=sys.stderr)  # noqa: T201 - this is the command line


def _live(
    sights: Sequence[Sight], wait: Callable[[], None], look: Callable[[], Sequence[Sight]], output: Output
) -> int:
    """Draw the table again for every change, until Ctrl-C."""
    from rich.live import Live  # noqa: PLC0415 - only needed on a terminal

    from orchestrator.cli import tables  # noqa: PLC0415

    del output
    before = rows(sights)
    try:
        with Live(tables.table("nodes", before), console=tables.console(), auto_refresh=False) as live:
            while True:
                wait()
                now = rows(look())
                if now != before:
                    before = now
                    live.update(tables.table("nodes", now), refresh=True)
    except KeyboardInterrupt:
        return exit_code(before)


def _change(row: Row, output: Output) -> str:
    if output is Output.table:
        return line(row) + "\n"
    if output is Output.json:
        return json.dumps(row, ensure_ascii=False) + "\n"
    import yaml  # noqa: PLC0415 - not needed to print help

    return yaml.safe_dump(row, sort_keys=False, width=1000, explicit_start=True)
