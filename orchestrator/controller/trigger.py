"""Which events of a ContainerRuntime are worth a reconcile. Pure.

A status that the controller itself wrote must not bring the object back before its back-off is over, so an update needs
a reason of its own. Different from Gardener's library on purpose: what that admits under an annotation that stays is
every update, also a status; and while it deletes, only updates that leave the status alone.

Source: gardener/gardener v1.149.3, ``extensions/pkg/predicate/default.go``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.api import gardener
from orchestrator.controller.verb import TriggerMode

if TYPE_CHECKING:
    from orchestrator.api.cluster import Cluster
    from orchestrator.api.container_runtime import ContainerRuntime
    from orchestrator.api.view import RawObject

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

    While an object is being deleted every change of its metadata is: gardenlet renews an annotation to ask again. A
    status alone never is, also not under an annotation that stays until the work is done: it is the controller's own
    word, and a restore that fails would be tried again without a pause.
    """
    if _without_status(before) == _without_status(after):
        return False
    if after.operation in _ASKS or after.deleting:
        return True
    return mode is TriggerMode.GENERATION and before.metadata.generation != after.metadata.generation


def _without_status(runtime: ContainerRuntime) -> RawObject:
    metadata = {key: value for key, value in runtime.raw["metadata"].items() if key != "resourceVersion"}
    return {**runtime.raw, "metadata": metadata, "status": None}


def cluster_changed(before: Cluster, after: Cluster) -> bool:
    """Whether a Cluster has changed in what decides about the ContainerRuntimes of its namespace.

    The Shoot's own operation changes every few seconds while gardenlet works; only that it has failed counts.
    """
    return _decisive(before) != _decisive(after)


def _decisive(cluster: Cluster) -> tuple[bool, bool, bool, bool]:
    shoot = cluster.shoot
    return shoot.failed, shoot.force_deletion, shoot.deleting, shoot.hibernating
