"""What each command says about a host, as plain data: the rows of its table and the objects of its document. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.execution.results import HostResult, RunResult


def apply_row(host: HostResult) -> dict[str, Any]:
    """Return what ``apply`` and ``verify`` say: containerd, release, restarts and proof from the node's own report."""
    report = host.data.get("report") or {}
    state = (host.data.get("probe") or {}).get("state") or {}
    return {
        "host": host.host,
        "outcome": host.outcome,
        "containerd": report.get("containerd") or (state.get("containerd") or {}).get("version") or None,
        "release": report.get("release"),
        "generation": report.get("generation"),
        "restarts": report.get("restarts"),
        "proof": report.get("proof"),
        "seconds": round(host.seconds, 1),
        "round_trips": report.get("round_trips"),
        "changes": report.get("changes") or [],
        "warnings": list(host.warnings),
    }


def plan_row(host: HostResult) -> dict[str, Any]:
    """Return what ``plan`` says: whether anything is needed, what and why, what forbids it, and whether it restarts."""
    plan = (host.data.get("probe") or {}).get("plan") or {}
    return {
        "host": host.host,
        "outcome": host.outcome,
        "needed": plan.get("needed"),
        "restart": plan.get("restart"),
        "changes": plan.get("changes") or [],
        "refusals": plan.get("refusals") or [],
        "warnings": list(host.warnings),
        "pods": plan.get("pods") or [],
    }


def remove_row(host: HostResult) -> dict[str, Any]:
    """Return what ``remove`` says."""
    report = host.data.get("report") or {}
    return {
        "host": host.host,
        "outcome": host.outcome,
        "removed": report.get("removed"),
        "restarts": report.get("restarts"),
        "seconds": round(host.seconds, 1),
    }


def logs_row(host: HostResult) -> dict[str, Any]:
    """Return what ``logs`` says: the file that was written here, and what is in it; ``size`` in bytes."""
    report = host.data.get("report") or {}
    names = ("file", "size", "containers", "files", "left_out", "pods", "stopped")
    return {"host": host.host, "outcome": host.outcome, **{name: report.get(name) for name in names}}


def status_row(host: HostResult) -> dict[str, Any]:
    """Return what ``status`` says: what is on the node, when it was proved, and what differs from what is wanted."""
    probe = host.data.get("probe") or {}
    state, plan = probe.get("state") or {}, probe.get("plan") or {}
    tree = state.get("tree") or {}
    number = tree.get("current")
    generation = (tree.get("generations") or {}).get(str(number)) or {}
    sealed = (state.get("journal") or {}).get("sealed") or {}
    return {
        "host": host.host,
        "outcome": host.outcome,
        "installed": bool(number) if state else None,
        "containerd": (state.get("containerd") or {}).get("version") or None,
        "release": generation.get("release"),
        "flags": (generation.get("flags") or "").split(),
        "generation": number,
        "proved": _time(sealed.get("at")),
        "debug_logs_stopped": (state.get("retention") or {}).get("stopped") or None,
        "pods": _pods(state.get("pods") or []),
        "drift": [
            f"{change.get('what')}: {change.get('why')}"
            for change in plan.get("changes") or []
            if change.get("step") != "collect"
        ],
    }


def _pods(pods: list[dict[str, Any]]) -> dict[str, int]:
    """Return how many pods each generation has; the empty key counts those without a record."""
    numbers = sorted({str(pod["generation"]) for pod in pods}, key=lambda number: (len(number), number))
    return {number: sum(pod["generation"] == number for pod in pods) for number in numbers}


def generations_row(host: HostResult) -> dict[str, Any]:
    """Return what ``generations`` says: every generation of the node, and every pod with the one it runs in."""
    state = (host.data.get("probe") or {}).get("state") or {}
    rows = state.get("generations") or []
    return {
        "host": host.host,
        "outcome": host.outcome,
        "generations": [{**row, "made": _time(row["made"]), "proved": _time(row["proved"])} for row in rows],
        "pods": state.get("pods") or [],
    }


def _time(seconds: Any) -> str | None:
    if not isinstance(seconds, int | float):
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def document(command: str, result: RunResult, rows: list[dict[str, Any]], exit_code: int) -> dict[str, Any]:
    """Return the whole document of a run: one object a host, with its steps."""
    return {
        "command": command,
        "exit_code": exit_code,
        "interrupted": result.interrupted,
        "seconds": round(result.seconds, 1),
        "warnings": list(result.warnings),
        "hosts": [{**row, "steps": _steps(result.hosts[row["host"]])} for row in rows],
    }


def _steps(host: HostResult) -> list[dict[str, Any]]:
    return [
        {
            "step": step.step,
            "status": step.status,
            "message": step.message,
            "cause": step.cause,
            "remedy": step.remedy,
            "seconds": round(step.seconds, 2),
            **({"diff": step.diff} if step.diff else {}),
        }
        for step in host.steps
    ]


def error_document(command: str, fields: Mapping[str, str], exit_code: int) -> dict[str, Any]:
    """Return the document of a command that could not run at all."""
    return {"command": command, "exit_code": exit_code, "error": dict(fields)}
