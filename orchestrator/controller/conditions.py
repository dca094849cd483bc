"""Conditions in a ContainerRuntime's status: how things are, beside how the last operation went. Pure.

The list has no keys in Gardener's schema, so a merge patch replaces it as a whole; it is made of the list that is
there, in its order, with the conditions of others as they are. gardenlet copies ``SystemComponentsHealthy`` and three
more types to the Shoot; all others stay here, for whoever looks at the object.

Source: gardener/gardener v1.149.3, ``pkg/api/core/v1beta1/helper/condition_builder.go``,
``extensions/pkg/controller/healthcheck``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.api import gardener
from orchestrator.api.last_operation import OperationType
from orchestrator.api.timestamp import rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from orchestrator.api.cluster import Cluster
    from orchestrator.api.container_runtime import ContainerRuntime
    from orchestrator.api.merge_patch import Patch
    from orchestrator.api.view import RawObject
    from orchestrator.controller.error_codes import Code


@dataclass(frozen=True, slots=True)
class Observation:
    """What was found out about one condition."""

    type: str
    status: Literal["True", "False", "Unknown", "Progressing"]
    reason: str
    message: str
    codes: tuple[Code, ...] = ()


def or_hibernated(observation: Observation, cluster: Cluster) -> Observation:
    """The observation, or that there is nothing to observe because the Shoot sleeps."""
    if not cluster.shoot.hibernating:
        return observation
    return Observation(observation.type, "True", "HealthCheckSuccessful", "Shoot is hibernated")


def observed(runtime: ContainerRuntime, observations: Iterable[Observation], now: datetime) -> Patch:
    """The status patch that records observations; empty if it would change nothing, or if nobody wants to know.

    Nobody does while the object is being deleted, or is migrated. The patch touches nothing but the conditions.

    Args:
        runtime: as it is now.
        observations: each type once.
        now: an aware moment.
    """
    if leaves(runtime):
        return {}
    before = _raw_conditions(runtime)
    after = merged(before, observations, now)
    return {} if after == before else {"status": {"conditions": after}}


def is_news(runtime: ContainerRuntime, observation: Observation) -> bool:
    """Whether it is to be recorded, and the object's status does not say it already."""
    if leaves(runtime):
        return False
    said = [one for one in _raw_conditions(runtime) if one.get("type") == observation.type]
    return not any((one.get("status"), one.get("message")) == (observation.status, observation.message) for one in said)


def merged(before: list[RawObject], observations: Iterable[Observation], now: datetime) -> list[RawObject]:
    """The whole list with the observations in it; equal to ``before`` if they say nothing new."""
    fresh = {one.type: one for one in observations}
    kept = [_updated(old, fresh.pop(old.get("type", "")), now) if old.get("type") in fresh else old for old in before]
    return [*kept, *(_updated({}, one, now) for one in fresh.values())]


def _raw_conditions(runtime: ContainerRuntime) -> list[RawObject]:
    return list((runtime.raw.get("status") or {}).get("conditions") or [])


def leaves(runtime: ContainerRuntime) -> bool:
    """Whether nobody wants to know any more: it is being deleted, or moves to another seed."""
    last = runtime.status.last_operation
    migrated = last is not None and last.type == OperationType.MIGRATE
    return runtime.deleting or migrated or runtime.operation == gardener.OPERATION_MIGRATE


def _updated(old: RawObject, new: Observation, now: datetime) -> RawObject:
    said = {"reason": new.reason, "message": new.message, "codes": list(new.codes)}
    same_words = {"codes": [], **{key: old[key] for key in said if key in old}} == said
    updated: dict[str, Any] = {**old, **said, "type": new.type, "status": new.status}
    if not new.codes:
        del updated["codes"]
    if old.get("status") != new.status:
        updated["lastTransitionTime"] = rfc3339(now)
    if not same_words:
        updated["lastUpdateTime"] = rfc3339(now)
    return updated
