"""The process that holds ansible-runner, one per run: ``python -m orchestrator.execution.child``.

Why a process of its own: ansible-runner forks a pseudo terminal (deadlocks beside threads), installs signal handlers,
copies its whole environment into its artifacts, and its cancel leaves processes behind. Here it has one thread, an
environment in which every variable was chosen, and a subreaper around it. ``orchestrator.execution.runner`` starts this
process and reads what it writes.

Input: one JSON object on stdin, see :class:`Spec`. Output: JSON lines on the descriptor it names, ansible-runner's
events first, ``{"event": "end", "status", "rc", "killed", "error"}`` last. On SIGTERM the playbook is asked to stop,
and killed after the grace period.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import time
import traceback
from typing import Any, TypedDict

from orchestrator.execution import processes

_POLL_SECONDS = 0.2  # how often ansible-runner looks at the cancel callback
_RESULT_BYTES = 16_000_000  # above its 700 kB default ansible-runner silently empties a result


class Spec(TypedDict):
    """What to run.

    ``directory`` is the run's private directory, ``cwd`` where ansible-playbook starts, ``playbook`` an absolute path,
    ``cmdline`` its other arguments in one shell-quoted string, ``environment`` what is added to this process's own,
    ``events`` a file descriptor, ``grace`` seconds between SIGTERM and SIGKILL, ``parent`` the starter's process id.
    """

    directory: str
    cwd: str
    playbook: str
    cmdline: str
    environment: dict[str, str]
    events: int
    grace: float
    parent: int


class _Stop:
    """What SIGTERM and SIGINT do: ask the playbook to stop, then let ansible-runner kill it after the grace period."""

    def __init__(self, grace: float) -> None:
        self.grace = grace
        self.deadline: float | None = None
        self._asked: set[int] = set()

    def requested(self, _signal: int, _frame: object) -> None:
        if self.deadline is None:
            self.deadline = time.monotonic() + self.grace
            self._ask()

    def overdue(self) -> bool:
        if self.deadline is None:
            return False
        self._ask()  # the playbook may have been started only after the signal came
        return time.monotonic() > self.deadline

    def _ask(self) -> None:
        # ansible-playbook passes the signal on to its workers, and they to what they started. A second would kill it.
        for pid in processes.children(os.getpid()) - self._asked:
            self._asked.add(pid)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


def main() -> int:
    """Run what stdin says; always ends every process below and removes the private directory."""
    spec: Spec = json.load(sys.stdin)
    os.umask(0o077)
    processes.become_subreaper()
    stop = _Stop(spec["grace"])
    signal.signal(signal.SIGTERM, stop.requested)
    signal.signal(signal.SIGINT, stop.requested)
    processes.end_with_parent(spec["parent"])
    status, rc, error, killed = "failed", -1, "", 0
    with os.fdopen(spec["events"], "w", encoding="utf-8", buffering=1) as pipe:
        try:
            if stop.deadline is None:
                status, rc = _run(spec, stop, pipe)
        except Exception:  # noqa: BLE001 - whatever happens here must reach the person who started the run
            error = traceback.format_exc(limit=-3)
        finally:
            killed = processes.end(lambda: processes.descendants(os.getpid()), grace=1.0)
            shutil.rmtree(spec["directory"], ignore_errors=True)
        if stop.deadline is not None:
            status = "canceled"
        _append(pipe, {"event": "end", "status": status, "rc": rc, "killed": killed, "error": error})
    return 0


def _run(spec: Spec, stop: _Stop, pipe: Any) -> tuple[str, int]:
    import ansible_runner  # noqa: PLC0415 - a cancel that comes early need not wait for it

    def handle(event: dict[str, Any]) -> bool:
        # A slow handler breaks the run, so this one only appends; False keeps ansible-runner from writing a file.
        _append(pipe, _trimmed(event))
        return False

    runner = ansible_runner.run(
        private_data_dir=spec["directory"],
        project_dir=spec["cwd"],
        playbook=spec["playbook"],
        # Everything else goes through the command line: ansible-runner rewrites inventories that it is given.
        inventory=[],
        cmdline=spec["cmdline"],
        envvars={**spec["environment"], "MAX_EVENT_RES": str(_RESULT_BYTES)},
        fact_cache_type="memory",  # its default keeps every fact of every host in files
        settings={"pexpect_timeout": _POLL_SECONDS, "suppress_output_file": True},
        quiet=True,
        event_handler=handle,
        cancel_callback=stop.overdue,
    )
    return str(runner.status), int(runner.rc if runner.rc is not None else -1)


def _trimmed(event: dict[str, Any]) -> dict[str, Any]:
    """Leave out what nobody reads and what could hold more than it should: arguments, and text shown twice."""
    data = event.get("event_data") or {}
    result = data.get("res")
    if isinstance(result, dict):
        data["res"] = {key: value for key, value in result.items() if key not in {"invocation", "ansible_facts"}}
        event.pop("stdout", None)
    data.pop("task_args", None)
    data.pop("playbook_uuid", None)
    return event


def _append(pipe: Any, line: dict[str, Any]) -> None:
    try:
        pipe.write(json.dumps(line) + "\n")
    except BrokenPipeError:  # the starter is gone: the parent death signal ends this run
        return


if __name__ == "__main__":
    sys.exit(main())
