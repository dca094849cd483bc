"""From the events of a run to what each host did. Pure: dictionaries in, values out.

Input are ansible-runner's event dictionaries, as the child passes them on and as recorded in the tests. Our own action
plugins put a ``gvisor`` object into every result (``step``, ``status``, ``message``, ``cause``, ``remedy``, ``data``);
any other task counts only when it changed something or failed. The values are in ``orchestrator.execution.results``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.errors import GvisorNodesError, InvalidInputError
from orchestrator.execution import difference, unreachable
from orchestrator.execution.results import BAD, HostEvent, HostResult, Outcome, RunResult, StepResult, StepStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_STATUSES: dict[str, StepStatus] = {
    "ok": "ok",
    "changed": "changed",
    "failed": "failed",
    "refused": "refused",
    "invalid": "invalid",
    "unreachable": "unreachable",
    "skipped": "skipped",
}
_FAILING_EVENTS = {"runner_on_failed", "runner_item_on_failed", "runner_on_async_failed"}
_RESULT_EVENTS = _FAILING_EVENTS | {"runner_on_ok", "runner_item_on_ok", "runner_on_unreachable"}
_NO_HOSTS = "leaves us with no hosts to target"


@dataclass(slots=True)
class _Host:
    name: str
    steps: list[StepResult] = field(default_factory=list)
    data: dict[str, dict[str, Any]] = field(default_factory=dict)
    running: str = ""
    changed: bool = False
    seconds: float = 0.0
    items: bool = False
    warnings: list[str] = field(default_factory=list)
    reasons: set[str] = field(default_factory=set)


class Collector:
    """Takes the events of one run in order; :meth:`finish` gives the result."""

    def __init__(self, on_event: Callable[[HostEvent], None] | None = None) -> None:
        self.timed_out = False
        self._on_event = on_event or (lambda _event: None)
        self._hosts: dict[str, _Host] = {}
        self._stats: dict[str, Any] | None = None
        self._output: list[str] = []

    def add(self, event: dict[str, Any]) -> None:
        """Take one ansible-runner event."""
        kind, data = str(event.get("event", "")), event.get("event_data") or {}
        if kind == "playbook_on_stats":
            self._stats = data
        elif kind == "runner_on_start":
            host = self._host(data)
            host.running, host.items = str(data.get("task", "")), False
            self._on_event(HostEvent(host.name, host.running, "started"))
        elif kind in _RESULT_EVENTS:
            self._result(kind, data)
        elif kind == "runner_on_skipped":
            self._host(data).running = ""
        elif "host" not in data and not kind.startswith("playbook_on_") and (text := event.get("stdout")):
            self._output.append(str(text))

    def _host(self, data: dict[str, Any]) -> _Host:
        name = str(data.get("host", ""))
        return self._hosts.setdefault(name, _Host(name))

    def _result(self, kind: str, data: dict[str, Any]) -> None:
        host, res = self._host(data), data.get("res") or {}
        seconds = float(data.get("duration") or 0.0)
        item = "_item_" in kind
        if not item:
            host.seconds += seconds
            host.running = ""
        host.changed = host.changed or bool(res.get("changed"))
        if data.get("ignore_errors") or (host.items and not item and "results" in res):
            return  # a failure that the playbook expects; or the summary of a loop whose items were taken one by one
        host.items = item
        if kind in _FAILING_EVENTS:
            reason = str(res.get("msg") or "")
            if reason and reason in host.reasons and "gvisor" not in res:
                return  # a rescue that is over fails with the reason for which it began, which is told already
            host.reasons.add(reason)
        step = _step(kind, str(data.get("task", "")), host.name, res, seconds)
        if step is None:
            return
        host.steps.append(step)
        own = res.get("gvisor")
        if isinstance(own, dict) and isinstance(own.get("warnings"), list):
            host.warnings += map(str, own["warnings"])
        if isinstance(own, dict) and isinstance(own.get("data"), dict):
            host.data[step.step] = {**host.data.get(step.step, {}), **own["data"]}
        self._on_event(HostEvent(host.name, step.step, step.status, step.message, seconds))

    def finish(
        self,
        *,
        interrupted: bool = False,
        failure: GvisorNodesError | None = None,
        seconds: float = 0.0,
        inventory: Sequence[str] = (),
    ) -> RunResult:
        """Return what each host did.

        Args:
            interrupted: the run was asked to stop; it counts only if it did not reach its end all the same.
            failure: why the run has no ordinary end, if it has none.
            seconds: how long it took.
            inventory: the sources, for messages.

        Raises:
            InvalidInputError: the inventory could not be read, or no host matched.
            GvisorNodesError: the run ended before its end, and nobody asked it to.
        """
        stopped = interrupted and self._stats is None
        if not stopped:
            if failure is not None:
                raise failure
            self._require_stats(" ".join(inventory))
        stats = self._stats or {}
        for name in stats.get("processed") or {}:
            self._hosts.setdefault(name, _Host(name))
        return RunResult(
            hosts={name: _host_result(host, stats, stopped=stopped) for name, host in self._hosts.items()},
            seconds=seconds,
            interrupted=stopped,
            timed_out=self.timed_out and stopped,
            warnings=tuple(_foreign_warnings(self._output, self._hosts.values())),
        )

    def _require_stats(self, inventory: str) -> None:
        if self._stats is not None and self._stats.get("processed"):
            return
        text = "\n".join(self._output)
        _, found, error = text.rpartition("[ERROR]: ")
        if self._stats is not None or _NO_HOSTS in error:
            raise InvalidInputError(
                f"the inventory {inventory} has no host for this",
                why="it is empty, or --limit leaves none of its hosts",
                remedy="look at its hosts: ansible-inventory --graph -i FILE",
            )
        if "parse inventory" in error or "inventory source" in error:
            reasons = [line.partition(": ")[2] for line in _warnings(self._output) if "Failed to parse" in line]
            raise InvalidInputError(
                f"the inventory {inventory} cannot be read",
                why="; ".join(dict.fromkeys(reasons)) or error.strip(),
                remedy="correct the file; ansible-inventory --graph -i FILE shows what Ansible makes of it",
            )
        raise GvisorNodesError(
            "ansible-playbook ended before it was done", why=(error if found else text).strip() or "it printed nothing"
        )


def _warnings(output: list[str]) -> list[str]:
    return [line for text in output for line in text.splitlines() if line.startswith("[WARNING]: ")]


def _foreign_warnings(output: list[str], hosts: Iterable[_Host]) -> list[str]:
    """What Ansible warned of by itself; our own warnings belong to their hosts."""
    own = {f"[WARNING]: {host.name}: {text}" for host in hosts for text in host.warnings}
    return [line for line in _warnings(output) if line not in own]


def _step(kind: str, task: str, host: str, res: dict[str, Any], seconds: float) -> StepResult | None:
    diff = difference.unified(res.get("diff"))
    own = res.get("gvisor")
    failed = kind in _FAILING_EVENTS
    if isinstance(own, dict):
        status = _STATUSES.get(str(own.get("status")), "ok")
        if failed and status not in BAD:
            status = "failed"
        message, cause, remedy = (str(own.get(key) or "") for key in ("message", "cause", "remedy"))
        return StepResult(str(own.get("step") or task), status, message, cause, remedy, seconds, diff)
    words = str(res.get("msg") or "").strip()
    if kind == "runner_on_unreachable":
        explanation, cause = unreachable.explain_connection(words, host)
        return StepResult("connect", "unreachable", explanation.message, cause, explanation.remedy, seconds)
    if failed:
        details = str(res.get("module_stderr") or res.get("stderr") or "").strip()
        if known := unreachable.explain_module(f"{words}\n{details}", host):
            return StepResult(task, "failed", known.message, words, known.remedy, seconds, diff)
        return StepResult(task, "failed", words or "failed without a message", details, "", seconds, diff)
    return StepResult(task, "changed", words, seconds=seconds, diff=diff) if res.get("changed") else None


def _host_result(host: _Host, stats: dict[str, Any], *, stopped: bool) -> HostResult:
    steps = list(host.steps)
    if stopped and "report" not in host.data and not any(step.status in BAD for step in steps):
        done = ", ".join(step.step for step in steps) or "nothing"
        steps.append(
            StepResult(
                host.running or "stop",
                "failed",
                "stopped before it was done",
                f"the run was interrupted; done before: {done}",
                "run the same command again: it continues from the journal on the node",
            )
        )
    outcome = _outcome(host, steps, stats, stopped=stopped)
    reported = (host.data.get("report") or {}).get("warnings")
    warnings = dict.fromkeys(map(str, host.warnings if reported is None else reported))
    return HostResult(host.name, outcome, tuple(steps), host.data, host.seconds, tuple(warnings))


def _outcome(host: _Host, steps: list[StepResult], stats: dict[str, Any], *, stopped: bool) -> Outcome:
    def counted(what: str) -> bool:
        return bool((stats.get(what) or {}).get(host.name))

    first = next((step.status for step in steps if step.status in BAD), None)
    if counted("dark") or (stopped and first == "unreachable"):
        return "unreachable"
    # A step that says failed is a failure even where Ansible saw none, unless the playbook rescued the host.
    if counted("failures") or (first is not None and not counted("rescued")):
        if first in {"refused", "invalid"} and not host.changed:
            return "refused" if first == "refused" else "invalid"
        return "failed"
    return "changed" if host.changed else "ok"
