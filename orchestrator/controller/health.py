"""How a pool's objects in the Shoot are, as the resource manager tells. Pure.

It becomes a condition that gardenlet copies to the Shoot. Nothing is said of what is only under way: a condition
changes when something is well or is not, so an object that nobody touches costs no write.

Source: gardener/gardener v1.149.3, ``pkg/utils/kubernetes/health/managedresource.go``,
``extensions/pkg/controller/healthcheck``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.controller.conditions import Observation, or_hibernated
from orchestrator.controller.message import enumerated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.api.cluster import Cluster
    from orchestrator.api.container_runtime import ContainerRuntime
    from orchestrator.api.managed_resource import ManagedResource

CONDITION: Final = "SystemComponentsHealthy"
"""One of the four types that gardenlet copies; it takes the condition for outdated where the heartbeat is."""
_WELL: Final = ("ResourcesApplied", "ResourcesHealthy")


def health(
    runtime: ContainerRuntime, resources: Sequence[ManagedResource | None], cluster: Cluster
) -> Observation | None:
    """What can be said of the pool now; None for nothing new.

    Args:
        runtime: the object.
        resources: the ManagedResources of all pools and of this one; None for one that is not there.
        cluster: the Shoot's.
    """
    last = runtime.status.last_operation
    if last is None or not last.succeeded:
        return None
    if cluster.shoot.hibernating:
        return or_hibernated(Observation(CONDITION, "Unknown", "", ""), cluster)
    present = [one for one in resources if one is not None]
    if ill := [text for one in present for text in _complaints(one)]:
        return Observation(CONDITION, "False", "HealthCheckUnsuccessful", enumerated(ill))
    if len(present) == len(resources) and all(map(_is_well, present)):
        return Observation(CONDITION, "True", "HealthCheckSuccessful", "All health checks successful")
    return None


def _is_well(resource: ManagedResource) -> bool:
    said = {one.type: one.status for one in resource.status.conditions}
    current = resource.status.observed_generation == resource.metadata.generation
    return current and not resource.deleting and all(said.get(kind) == "True" for kind in _WELL)


def _complaints(resource: ManagedResource) -> list[str]:
    return [
        f"ManagedResource {resource.name}: {one.type} is {one.status}, {one.reason}: {one.message}"
        for one in resource.status.conditions
        if one.type in _WELL and one.status == "False"
    ]
