"""Which events of a ContainerRuntime are worth a reconcile. Pure.

A status that the controller itself wrote must not bring the object back before its back-off is over, so an update needs
a reason of its own. Source: gardener/gardener v1.149.3, ``extensions/pkg/predicate/default.go``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.api import gardener
from orchestrator.controller.verb import TriggerMode

if TYPE_CHECKING:
    from orchestrator.api.container_runtime import ContainerRuntime

_ASKS: Final = frozenset({gardener.OPERATION_RECONCILE, gardener.OPERATION_RESTORE, gardener.OPERATION_MIGRATE})


def seen_first(runtime: ContainerRuntime, mode: TriggerMode = TriggerMode.ANNOTATION) -> bool:
    """Whether an object that is new, or there when the controller starts, is to be looked at."""
    last = runtime.status.last_operation
    return (
        runtime.operation in _ASKS
        or runtime.deleting
        or last is None
        or not last.succeeded
        or (mode is TriggerMode.GENERATION and runtime.status.observed_generation != runtime.metadata.generation)
    )


def changed(before: ContainerRuntime, after: ContainerRuntime, mode: TriggerMode = TriggerMode.ANNOTATION) -> bool:
    """Whether an update is to be looked at.

    While an object is being deleted every change of its metadata is: gardenlet renews an annotation to ask again.
    """
    if after.operation in _ASKS:
        return True
    if after.deleting:
        return before.raw.get("status") == after.raw.get("status")
    return mode is TriggerMode.GENERATION and before.metadata.generation != after.metadata.generation
