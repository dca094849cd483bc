"""Patches to a ContainerRuntime's status: what is going on, and how it ended. Pure.

gardenlet reads it every five seconds: it takes an object for ready when the operation succeeded, the generation is the
one that was looked at and there is no ``lastError``. So the generation written is that of the object the work was done
for, never a newer one, and an error of an earlier run is taken back when a new one starts (upstream leaves it, and a
run of more than half a minute then fails by an error that is over).

Source: gardener/gardener v1.149.3, ``extensions/pkg/controller/status.go``, ``.../containerruntime/reconciler.go``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from orchestrator.api.last_operation import OperationState, OperationType
from orchestrator.api.timestamp import rfc3339
from orchestrator.controller import conditions
from orchestrator.controller.error_codes import codes
from orchestrator.controller.message import abridged
from orchestrator.errors import GvisorNodesError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from orchestrator.api.container_runtime import ContainerRuntime
    from orchestrator.api.merge_patch import Patch

_LONGEST: Final = 1000
_DOING: Final = {
    OperationType.CREATE: "reconciling",
    OperationType.RECONCILE: "reconciling",
    OperationType.DELETE: "deleting",
    OperationType.MIGRATE: "migrating",
    OperationType.RESTORE: "restoring",
}
_DONE: Final = {
    OperationType.CREATE: "reconciled",
    OperationType.RECONCILE: "reconciled",
    OperationType.DELETE: "deleted",
    OperationType.MIGRATE: "migrated",
    OperationType.RESTORE: "restored",
}


def processing(operation: OperationType, now: datetime) -> Patch:
    """Say that the work begins."""
    description = f"{_DOING[operation].capitalize()} the ContainerRuntime"
    return {
        "status": {
            "lastOperation": _operation(operation, OperationState.PROCESSING, 1, description, now),
            "lastError": None,
        }
    }


def succeeded(
    runtime: ContainerRuntime,
    operation: OperationType,
    now: datetime,
    observations: Iterable[conditions.Observation] = (),
) -> Patch:
    """Say that the work is done.

    Args:
        runtime: the object as it was when the work began; its generation is what was looked at.
        operation: what was done.
        now: an aware moment.
        observations: conditions to record with it.
    """
    description = f"Successfully {_DONE[operation]} ContainerRuntime"
    status: dict[str, Any] = {
        "lastOperation": _operation(operation, OperationState.SUCCEEDED, 100, description, now),
        "lastError": None,
        "observedGeneration": runtime.metadata.generation,
    }
    return {"status": status | conditions.observed(runtime, observations, now).get("status", {})}


def failed(runtime: ContainerRuntime, operation: OperationType, error: BaseException, now: datetime) -> Patch:
    """Say that the work could not be done, and why; arguments as for :func:`succeeded`."""
    description = f"Error {_DOING[operation]} ContainerRuntime: {describe(error)}"
    return {
        "status": {
            "lastOperation": _operation(operation, OperationState.ERROR, 50, description, now),
            "lastError": {
                "description": description,
                # null takes back the codes of an earlier error, which a merge patch would leave.
                "codes": list(codes(error)) or None,
                "lastUpdateTime": rfc3339(now),
            },
            "observedGeneration": runtime.metadata.generation,
        }
    }


def describe(error: BaseException) -> str:
    """An error in one line, for people who see the status and nothing else.

    Of errors that nobody foresaw only the class is told: their text may hold anything, also what nobody may see.
    """
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(describe(inner) for inner in error.exceptions)
    if not isinstance(error, GvisorNodesError):
        return f"unexpected {type(error).__name__}, see the controller's log"
    text = ": ".join(abridged(part, _LONGEST) for part in (error.what, error.why) if part)
    return f"{text}. To do: {abridged(error.remedy, _LONGEST)}" if error.remedy else text


def _operation(
    operation: OperationType, state: OperationState, progress: int, description: str, now: datetime
) -> dict[str, Any]:
    return {
        "type": operation,
        "state": state,
        "progress": progress,
        "description": description,
        "lastUpdateTime": rfc3339(now),
    }
