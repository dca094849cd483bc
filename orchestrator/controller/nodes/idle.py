"""When the nodes of a pool are left alone, and why. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.api import gardener
from orchestrator.api.last_operation import OperationType
from orchestrator.controller.verb import is_ours

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.api.cluster import Cluster, Shoot
    from orchestrator.api.container_runtime import ContainerRuntime

_MOVES: Final = frozenset({gardener.OPERATION_MIGRATE, gardener.OPERATION_RESTORE, gardener.OPERATION_WAIT_FOR_STATE})


def idle(
    runtime: ContainerRuntime, cluster: Cluster | None, *, classes: Sequence[str] = (), releasing: bool = False
) -> str:
    """Return why nothing is done on its nodes, or nothing if something may be.

    Args:
        runtime: the object.
        cluster: the Shoot's; None if there is none, an empty one without Gardener.
        classes: the extension classes of this controller.
        releasing: whether its deletion has come to the nodes.
    """
    if other := is_ours(runtime, classes):
        return other
    if cluster is None:
        return f"there is no Cluster {runtime.namespace} yet"
    return _of_shoot(cluster.shoot) or _of_runtime(runtime, releasing=releasing)


def _of_shoot(shoot: Shoot) -> str:
    if shoot.failed:
        return "the Shoot has failed, a person must retry it"
    if shoot.deleting:
        return "the Shoot is being deleted, its nodes go with it"
    return "the Shoot is hibernated" if shoot.hibernating else ""


def _of_runtime(runtime: ContainerRuntime, *, releasing: bool) -> str:
    last = runtime.status.last_operation
    if runtime.operation in _MOVES or (last is not None and last.type == OperationType.MIGRATE):
        return "the Shoot moves to another seed"
    if runtime.deleting:
        return "" if releasing else "it is being deleted, and its nodes are done or left"
    return "it was never reconciled" if last is None else ""
