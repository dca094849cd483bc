"""Patches to a ContainerRuntime's metadata: the operation annotation and the finalizer. Pure.

Everything else in the metadata is somebody else's, first of all ``gardener.cloud/timestamp``, whose exact value
gardenlet compares. Finalizers are an array, which a merge patch replaces as a whole; therefore such a patch carries the
resourceVersion it was made of, and is made anew from the newer object when the API server answers 409.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.api import gardener
from orchestrator.controller.verb import Verb

if TYPE_CHECKING:
    from orchestrator.api.container_runtime import ContainerRuntime
    from orchestrator.api.merge_patch import Patch
    from orchestrator.controller.verb import Decision


def accept(runtime: ContainerRuntime, decision: Decision) -> Patch:
    """Take the order: the annotation ``reconcile`` goes, the finalizer comes. Empty if both are so already.

    Written after ``status.processing``: a controller that dies between the two finds the order still there. The object
    that the API server answers with is the one to decide on again and to work for: an order that came meanwhile has
    been taken by this patch too, and its spec is in the answer.
    """
    metadata: dict[str, Any] = {}
    if decision.accepts:
        metadata["annotations"] = {gardener.OPERATION: None}
    if decision.verb in {Verb.RECONCILE, Verb.RESTORE} and not runtime.held:
        metadata |= _finalizers(runtime, (*runtime.metadata.finalizers, gardener.FINALIZER))
    return _patch(metadata)


def release(runtime: ContainerRuntime) -> Patch:
    """Let a deleted object go: our finalizer is removed, others stay. Empty if it is not there."""
    if not runtime.held:
        return {}
    return _patch(_finalizers(runtime, tuple(one for one in runtime.metadata.finalizers if one != gardener.FINALIZER)))


def release_everything(runtime: ContainerRuntime) -> Patch:
    """Let a migrated object go: all finalizers are removed, also those of others, as Gardener's contract has it."""
    return _patch({"finalizers": None} if runtime.metadata.finalizers else {})


def finish(runtime: ContainerRuntime) -> Patch:
    """Say that a restore or a migration is over: the operation annotation goes. The last write of both."""
    return _patch({"annotations": {gardener.OPERATION: None}} if runtime.operation else {})


def _finalizers(runtime: ContainerRuntime, finalizers: tuple[str, ...]) -> dict[str, Any]:
    return {"resourceVersion": runtime.metadata.resource_version, "finalizers": list(finalizers)}


def _patch(metadata: dict[str, Any]) -> Patch:
    return {"metadata": metadata} if metadata else {}
