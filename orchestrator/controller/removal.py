"""The steps that take a pool's objects out of the seed: of ``delete``, ``force_delete`` and ``migrate``. Pure.

Secrets go before their ManagedResource, as in Gardener's library; the resource manager deletes what its status lists
and does not need them. The pool's goes before the one of all pools, which stays as long as another pool needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.api import container_runtime, managed_resource
from orchestrator.controller.managed_resource import legacy_secret_name
from orchestrator.controller.seed_objects import SHARED, pool_name
from orchestrator.controller.step import AwaitGone, Change, Delete, Step
from orchestrator.errors import StillThereError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.api.cluster import Cluster
    from orchestrator.api.container_runtime import ContainerRuntime
    from orchestrator.api.managed_resource import ManagedResource
    from orchestrator.controller.seed_state import SeedState


def delete_steps(
    runtime: ContainerRuntime, others: Iterable[ContainerRuntime], state: SeedState, *, wait: bool = True
) -> tuple[Step, ...]:
    """Plan the removal of a pool, and of what all pools share if it was the last.

    Args:
        runtime: what is being deleted.
        others: all ContainerRuntimes of its namespace, asked from the API server now: a cache could hide a new one.
        state: what there is.
        wait: False for a forced deletion, which only asks for deletions and leaves the rest to gardenlet.
    """
    pool = _deletion(pool_name(runtime), state, wait=wait)
    return pool if pool or _needed(runtime, others) else _deletion(SHARED, state, wait=wait)


def migrate_steps(runtime: ContainerRuntime, state: SeedState) -> tuple[Step, ...]:
    """Plan to let go of a Shoot that moves: its objects stay there, and nothing of them is in this seed."""
    pool = _letting_go(pool_name(runtime), state)
    return pool or _letting_go(SHARED, state)


def still_there(resource: ManagedResource) -> StillThereError:
    """The error for a ManagedResource that did not go in time, with what the resource manager says of it."""
    said = [
        f"{one.type} is {one.status}, {one.reason}: {one.message}"
        for one in resource.status.conditions
        if one.type in {"ResourcesApplied", "ResourcesHealthy"} and one.status != "True"
    ]
    return StillThereError(
        f"ManagedResource {resource.namespace}/{resource.name} is still there",
        why="; ".join(said) or "the resource manager has not removed its objects from the Shoot, and does not say why",
        remedy="nothing, if the Shoot wakes up or its API server comes back; else look at gardener-resource-manager in "
        "that namespace, or confirm a forced deletion of the Shoot",
    )


def nodes_stay(cluster: Cluster) -> str:
    """Why gVisor need not be taken off the nodes of a pool that is deleted, or nothing if it has to be."""
    shoot = cluster.shoot
    if shoot.force_deletion:
        return "the Shoot is deleted by force, nobody is waited for"
    if shoot.deleting:
        return "the Shoot is being deleted, its nodes go with it"
    if shoot.hibernating:
        return "the Shoot is hibernated, its nodes are gone and come back new"
    return ""


def _needed(runtime: ContainerRuntime, others: Iterable[ContainerRuntime]) -> bool:
    return any(
        one.name != runtime.name and one.spec.type == container_runtime.GVISOR and not one.deleting for one in others
    )


def _deletion(name: str, state: SeedState, *, wait: bool) -> tuple[Step, ...]:
    existing = state.managed_resources.get(name)
    referenced = existing.secret_names if existing else ()
    secrets = dict.fromkeys(one for one in (legacy_secret_name(name), *referenced) if one in state.secrets)
    steps: list[Step] = [Delete("Secret", one) for one in secrets]
    if existing is not None:
        steps += [] if existing.deleting else [Delete(managed_resource.KIND, name)]
        steps += [AwaitGone(name)] if wait else []
    return tuple(steps)


def _letting_go(name: str, state: SeedState) -> tuple[Step, ...]:
    existing = state.managed_resources.get(name)
    if existing is None or (existing.raw.get("spec") or {}).get("keepObjects") is True:
        return _deletion(name, state, wait=True)
    return (Change(managed_resource.KIND, name, {"spec": {"keepObjects": True}}), *_deletion(name, state, wait=True))
