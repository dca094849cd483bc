"""Which verb applies to a ContainerRuntime now, and why: the first thing every reconcile decides. Pure.

Level-based: the answer depends on the objects as they are, not on what happened to them, so a controller that was
restarted finds the same answer. What an event must be to be looked at is :mod:`orchestrator.controller.trigger`. The
next steps are the patches of ``metadata_patch.py`` and ``status.py``.

Source: gardener/gardener v1.149.3, ``extensions/pkg/controller/containerruntime/reconciler.go``,
``extensions/pkg/controller/utils.go`` and ``pkg/api/core/v1beta1/helper/common.go``. Different on purpose: a Shoot that
has failed, or a Cluster that is not there, is looked at before the operation annotation is removed, and again later; an
object whose last operation succeeded and that nobody asks anything of is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from orchestrator.api import container_runtime, gardener
from orchestrator.api.last_operation import OperationType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.api.cluster import Cluster, Shoot
    from orchestrator.api.container_runtime import ContainerRuntime


class Verb(StrEnum):
    """What an actuator can do."""

    RECONCILE = "reconcile"
    RESTORE = "restore"
    MIGRATE = "migrate"
    DELETE = "delete"
    FORCE_DELETE = "force_delete"


class TriggerMode(StrEnum):
    """What makes a changed spec be acted upon."""

    ANNOTATION = "annotation"
    """Gardener: somebody sets the operation annotation."""
    GENERATION = "generation"
    """Without gardenlet: the spec itself changes. Annotations are obeyed as well."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done.

    Attributes:
        verb: what applies; None if nothing is to be done.
        reason: why, for people and logs.
        operation: what ``lastOperation.type`` has to say, where there is a verb.
        accepts: whether the annotation ``reconcile`` is to be removed before the work.
        waits_for_cluster: nothing can be done until the Cluster changes.
    """

    verb: Verb | None
    reason: str
    operation: OperationType | None = None
    accepts: bool = False
    waits_for_cluster: bool = False


def is_ours(runtime: ContainerRuntime, classes: Sequence[str] = ()) -> str:
    """Return why the object is another controller's, or nothing.

    Args:
        runtime: the object.
        classes: the extension classes of this controller; none, or one empty text, is the class ``shoot``.
    """
    if runtime.spec.type != container_runtime.GVISOR:
        return f"its type is {runtime.spec.type}, not {container_runtime.GVISOR}"
    accepted = [one for one in classes if one] or [container_runtime.DEFAULT_CLASS]
    if runtime.spec.extension_class not in accepted:
        return f"its class is {runtime.spec.extension_class}, not {' or '.join(accepted)}"
    return ""


def decide(
    runtime: ContainerRuntime,
    cluster: Cluster | None,
    *,
    classes: Sequence[str] = (),
    mode: TriggerMode = TriggerMode.ANNOTATION,
    begun: bool = False,
) -> Decision:
    """Say which verb applies.

    Args:
        runtime: as it is now.
        cluster: the Cluster named like the object's namespace; None if there is none, an empty one without Gardener.
        classes: as for :func:`is_ours`.
        mode: what triggers.
        begun: whether this controller has not reconciled it yet since it began. Its own settings may be others then;
            where nobody asks for reconciles from time to time, it has to do that itself.
    """
    if other := is_ours(runtime, classes):
        return Decision(None, other)
    if runtime.operation == gardener.OPERATION_WAIT_FOR_STATE:
        return Decision(None, "gardenlet is still writing status.state")
    if cluster is None:
        return Decision(None, f"there is no Cluster {runtime.namespace} yet", waits_for_cluster=True)
    if cluster.shoot.failed:
        return Decision(None, "the Shoot has failed, a person must retry it", waits_for_cluster=True)
    return _dispatch(runtime, cluster.shoot, mode, begun=begun)


def operation_type(runtime: ContainerRuntime) -> OperationType:
    """What ``lastOperation.type`` has to say of the operation that the object asks for.

    An operation that did not succeed is the same operation when it is tried again.
    """
    last = runtime.status.last_operation
    if runtime.operation == gardener.OPERATION_MIGRATE:
        return OperationType.MIGRATE
    if runtime.deleting:
        return OperationType.DELETE
    if runtime.operation == gardener.OPERATION_RESTORE:
        return OperationType.RESTORE
    if last is None:
        return OperationType.CREATE
    unfinished = (OperationType.CREATE, OperationType.MIGRATE, OperationType.RESTORE)
    if not last.succeeded and last.type in unfinished:
        return OperationType(last.type)
    return OperationType.RECONCILE


def _dispatch(runtime: ContainerRuntime, shoot: Shoot, mode: TriggerMode, *, begun: bool) -> Decision:
    operation = operation_type(runtime)
    accepts = runtime.operation == gardener.OPERATION_RECONCILE
    if _moved_away(runtime, operation):
        return Decision(None, "it has been migrated, another seed is responsible", accepts=accepts)
    if operation is OperationType.MIGRATE:
        return Decision(Verb.MIGRATE, "the Shoot moves to another seed", operation, accepts)
    if runtime.deleting:
        return _deletion(runtime, shoot, accepts=accepts)
    if operation is OperationType.RESTORE:
        return Decision(Verb.RESTORE, "the Shoot has come from another seed", operation, accepts)
    if reason := _why_reconcile(runtime, mode, begun=begun):
        return Decision(Verb.RECONCILE, reason, operation, accepts)
    return Decision(None, "the last operation succeeded, and nobody asks for another")


def _moved_away(runtime: ContainerRuntime, operation: OperationType) -> bool:
    last = runtime.status.last_operation
    return (
        operation not in {OperationType.MIGRATE, OperationType.RESTORE}
        and last is not None
        and last.type == OperationType.MIGRATE
        and last.succeeded
    )


def _deletion(runtime: ContainerRuntime, shoot: Shoot, *, accepts: bool) -> Decision:
    if not runtime.held:
        return Decision(None, "it is being deleted, and this controller has nothing to do with it any more")
    if shoot.force_deletion:
        return Decision(
            Verb.FORCE_DELETE, "the forced deletion of the Shoot is confirmed", OperationType.DELETE, accepts
        )
    return Decision(Verb.DELETE, "it is being deleted", OperationType.DELETE, accepts)


def _why_reconcile(runtime: ContainerRuntime, mode: TriggerMode, *, begun: bool) -> str:
    last = runtime.status.last_operation
    if runtime.operation == gardener.OPERATION_RECONCILE:
        return f"{gardener.OPERATION} is {gardener.OPERATION_RECONCILE}"
    if last is None:
        return "it has never been reconciled"
    if not last.succeeded:
        return f"the last operation, {last.type}, is {last.state or 'without a state'}"
    if mode is TriggerMode.GENERATION and runtime.status.observed_generation != runtime.metadata.generation:
        return f"generation {runtime.metadata.generation} of its spec has not been looked at"
    if mode is TriggerMode.GENERATION and begun:
        return "the controller has begun, and its settings may be others"
    return ""
