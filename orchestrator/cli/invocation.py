"""One playbook run as a command: run it, show it while it lasts, write its results, give the exit code.

Results go to standard output, everything else to standard error, so that ``--output json`` can be piped anywhere.
"""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from orchestrator.cli import progress, summary
from orchestrator.cli.options import Output
from orchestrator.errors import GvisorNodesError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from orchestrator.cli.variables import Wanted
    from orchestrator.execution.content import Content
    from orchestrator.execution.results import HostResult, RunResult
    from orchestrator.execution.runner import Options

REFUSED = 4


def invoke(
    command: str,
    playbook: str,
    inventory: Sequence[str],
    *,
    wanted: Wanted,
    options: Options,
    output: Output,
    row: Callable[[HostResult], dict[str, Any]],
    layout: str | None = None,
    content: Content | None = None,
) -> int:
    """Run ``playbook`` for ``command`` and print what came of it.

    Args:
        command: the name that the document carries.
        playbook: its name in the content.
        inventory: what was given after ``-i``.
        wanted: what becomes extra variables.
        options: for ansible-playbook.
        output: the form of the results.
        row: what is said about a host.
        layout: the table to print, default the one named like the command.
        content: where the playbooks are, default: those of this package.

    Returns:
        The exit code.

    Raises:
        GvisorNodesError: nothing could be run; with ``--output json`` or ``yaml`` its document is already written.
    """
    with errors_as_documents(command, output):
        variables = wanted.variables()
        from orchestrator.execution.runner import run  # noqa: PLC0415 - not needed to print help

        with progress.shown() as take:
            result = run(playbook, inventory, extra_vars=variables, options=options, on_event=take, content=content)
        rows = [row(host) for host in result.hosts.values()]
        code = exit_code(result, rows)
        for warning in result.warnings:
            print(warning, file=sys.stderr)  # noqa: T201 - this is the command line
        if output is Output.table:
            _show(layout or command, result, rows)
        else:
            write(summary.document(command, result, rows, code), output)
        if result.interrupted:
            _say_stopped(result)
        return code


def exit_code(result: RunResult, rows: list[dict[str, Any]]) -> int:
    """Return the exit code; a plan that names a refusal ends like the refusal itself would."""
    if result.exit_code == 0 and any(row.get("refusals") for row in rows):
        return REFUSED
    return result.exit_code


@contextmanager
def errors_as_documents(command: str, output: Output) -> Iterator[None]:
    """Write the document of an error that leaves the block, where documents were asked for."""
    try:
        yield
    except GvisorNodesError as error:
        if output is not Output.table:
            fields = {name: getattr(error, name) for name in ("what", "why", "remedy", "host", "step")}
            write(summary.error_document(command, fields, error.exit_code), output)
        raise


def write(document: dict[str, Any], output: Output) -> None:
    """Write a document to standard output."""
    if output is Output.yaml:
        import yaml  # noqa: PLC0415 - not needed to print help

        text = yaml.safe_dump(document, sort_keys=False, width=1000)
    else:
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    sys.stdout.write(text)


def _show(layout: str, result: RunResult, rows: list[dict[str, Any]]) -> None:
    from orchestrator.cli import tables  # noqa: PLC0415 - rich is not needed to print documents

    out = tables.console()
    tables.show_diffs(out, result)
    if rows:
        tables.show(out, layout, rows)
    tables.show_warnings(out, rows)
    tables.show_failures(out, result.hosts.values())


def _say_stopped(result: RunResult) -> None:
    reason = "stopped: --timeout is over" if result.timed_out else "stopped"
    states = {True: [], False: []}  # type: dict[bool, list[str]]
    for host in result.hosts.values():
        states[host.succeeded].append(host.host)
    lines = [
        f"{reason}. Running the same command again continues from each node's journal.",
        f"  done:     {', '.join(states[True]) or 'no host'}",
        f"  not done: {', '.join(states[False]) or 'no host'} (and any host that was not reached yet)",
    ]
    print("\n".join(lines), file=sys.stderr)  # noqa: T201 - this is the command line
