"""Debug logs as planned: their directory, and the timer that keeps them below their limits.

The timer comes with the flag ``debug`` and stays when the flag goes, because logs of older generations must go on
ageing; it leaves with everything else. Pure. What is made of this on the node is done by the module ``gvisor_files``;
the script itself is :mod:`orchestrator.gvisor.log_retention`.
"""

from __future__ import annotations

import base64
import hashlib
import posixpath
from typing import TYPE_CHECKING, Any, Final

from orchestrator.gvisor.log_retention import (
    SCRIPT_NAME,
    SYSTEMD,
    UNIT,
    Limits,
    render_script,
    render_service,
    render_timer,
)

if TYPE_CHECKING:
    from orchestrator.planning.desired import DesiredState
    from orchestrator.planning.state import Described, NodeState

TIMER: Final = f"{UNIT}.timer"
_SERVICE_PATH: Final = f"{SYSTEMD}/{UNIT}.service"
_TIMER_PATH: Final = f"{SYSTEMD}/{TIMER}"
_LINK_PATH: Final = f"{SYSTEMD}/timers.target.wants/{TIMER}"

__all__ = ["TIMER", "Limits", "log_changes", "log_files", "retention_files", "writes_logs"]


def writes_logs(flags: tuple[str, ...]) -> bool:
    """Whether these rendered flags make runsc write debug logs."""
    return any(flag.startswith("--debug-log=") for flag in flags)


def retention_files(directory: str, logs: str, limits: Limits) -> list[dict[str, Any]]:
    """What the module ``gvisor_files`` shall make so that logs do not grow for ever: the script, its units, a link.

    Args:
        directory: of releases and dispatchers.
        logs: the directory for debug logs.
        limits: what is kept.
    """
    script = posixpath.join(directory, SCRIPT_NAME)
    return [
        _file(script, render_script(logs, limits), "0755"),
        _file(_SERVICE_PATH, render_service(script), "0644"),
        _file(_TIMER_PATH, render_timer(limits), "0644"),
        # What `systemctl enable` would make, so that the journal knows it.
        {"path": _LINK_PATH, "kind": "link", "target": _TIMER_PATH},
    ]


def log_files(desired: DesiredState, state: NodeState) -> list[dict[str, Any]]:
    """What the module ``gvisor_files`` shall make for debug logs, in this order."""
    files: list[dict[str, Any]] = []
    if writes_logs(desired.flags):
        files.append(
            {
                "path": desired.debug_logs_directory,
                "kind": "directory",
                "mode": desired.debug_logs_mode,
                "group": desired.debug_logs_group,
                "tree": True,
            }
        )
    return [*files, *_retention(desired, state)]


def log_changes(desired: DesiredState, state: NodeState) -> list[tuple[str, str]]:
    """What of debug logs is not as it should be: what, and why."""
    changes: list[tuple[str, str]] = []
    if writes_logs(desired.flags):
        why = _directory(desired, state)
        if why:
            changes.append((desired.debug_logs_directory, why))
    found = state.retention.files if state.retention else {}
    wanted = _retention(desired, state)
    for file in wanted:
        there = found.get(file["path"])
        if there is None:
            changes.append((file["path"], "it is missing"))
        elif not _same(file, there):
            changes.append((file["path"], "it is not as it should be"))
    if wanted and not changes and state.host.root == "/" and state.retention and state.retention.active != "active":
        changes.append((TIMER, f"it is {state.retention.active or 'not known to systemd'}"))
    return changes


def _retention(desired: DesiredState, state: NodeState) -> list[dict[str, Any]]:
    entries = (state.journal or {}).get("entries", [])
    if not writes_logs(desired.flags) and not any(entry["path"] == _TIMER_PATH for entry in entries):
        return []
    return retention_files(desired.directory, desired.debug_logs_directory, desired.debug_logs_limits)


def _directory(desired: DesiredState, state: NodeState) -> str:
    """Why the directory is not as it should be; one that was there before us keeps its mode and group."""
    if state.logs is None:
        return "the directory for debug logs is missing"
    entries = (state.journal or {}).get("entries", [])
    if not any(e["path"] == desired.debug_logs_directory and e["before"] is None for e in entries):
        return ""
    if state.logs.mode != desired.debug_logs_mode:
        return f"its mode is {state.logs.mode}"
    if desired.debug_logs_group not in {state.logs.group, str(state.logs.gid)}:
        return f"its group is {state.logs.group or state.logs.gid}"
    return ""


def _same(file: dict[str, Any], there: Described) -> bool:
    if file["kind"] == "link":
        return there.kind == "link" and there.target == file["target"]
    digest = hashlib.sha256(base64.b64decode(file["content"])).hexdigest()
    return there.kind == "file" and there.mode == file["mode"] and there.sha256 == digest


def _file(path: str, data: bytes, mode: str) -> dict[str, Any]:
    return {"path": path, "kind": "file", "mode": mode, "content": base64.b64encode(data).decode()}
