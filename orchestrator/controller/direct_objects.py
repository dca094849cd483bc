"""What a ContainerRuntime wants in a cluster without Gardener, and the steps to bring and to remove it. Pure.

It is the same as in a Shoot: a RuntimeClass, and the wish of the pool with the account of its Jobs. Only objects with
our label are ever changed or deleted; one of the same name that somebody else made is named and left as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.api.gvisor_configuration import GVisorConfiguration
from orchestrator.api.merge_patch import difference, merge
from orchestrator.controller.pool_objects import pool_objects, wish_name
from orchestrator.controller.pool_settings import settle
from orchestrator.controller.runtime_class import RUNTIME_CLASS
from orchestrator.controller.step import Change, Create, Delete
from orchestrator.errors import RefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.api.container_runtime import ContainerRuntime
    from orchestrator.api.view import RawObject
    from orchestrator.controller.conditions import Observation
    from orchestrator.controller.installation import Installation
    from orchestrator.controller.step import Step

type Name = tuple[str, str]
"""Kind and name."""

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
OURS: Final = "gvisor-nodes"
OWNER: Final = "gvisor-nodes/container-runtime"
"""The annotation of a pool's objects that says whose they are, as namespace/name: pools of two namespaces may have
one name, and then the first has it."""

SHARED: Final[Name] = (str(RUNTIME_CLASS["kind"]), str(RUNTIME_CLASS["metadata"]["name"]))
"""What all pools share."""


def wanted(runtime: ContainerRuntime, installation: Installation) -> tuple[tuple[RawObject, ...], Observation]:
    """The objects in the order in which they are wanted, and what the configuration came to.

    Raises:
        ConfigurationError: the owner of the pool must correct the configuration.
        InvalidInputError: somebody else must correct something.
    """
    settings = settle(GVisorConfiguration.read(runtime.spec.provider_config), installation)
    label = {"metadata": {"labels": {MANAGED_BY: OURS}}}
    owner = {"metadata": {"annotations": {OWNER: _owner(runtime)}}}
    of_pool = (merge(merge(one, label), owner) for one in pool_objects(runtime, settings, installation))
    return (merge(RUNTIME_CLASS, label), *of_pool), settings.observation


def pool_names(runtime: ContainerRuntime) -> tuple[Name, ...]:
    """The kinds and names of what a pool has for itself."""
    name = wish_name(runtime.spec.worker_pool.name)
    return ("ServiceAccount", name), ("ConfigMap", name)


def bring(objects: Iterable[RawObject], there: Mapping[Name, RawObject]) -> tuple[Step, ...]:
    """Plan what is missing; nothing if everything is as it shall be.

    Raises:
        RefusedError: one of them is somebody else's, or another pool's.
    """
    steps: list[Step] = []
    for one in objects:
        name = (one["kind"], one["metadata"]["name"])
        existing = there.get(name)
        if existing is None:
            steps.append(Create(one))
            continue
        if (why := _whose(existing, one["metadata"].get("annotations", {}).get(OWNER, ""))) != "":
            raise RefusedError(
                f"{name[0]} {name[1]} cannot be written",
                why=why,
                remedy=f"delete it, or give it the label {MANAGED_BY}={OURS} to hand it over; nothing was changed",
            )
        if patch := difference(existing, merge(existing, one)):
            steps.append(Change(*name, patch))
    return tuple(steps)


def remove(
    runtime: ContainerRuntime, others: Iterable[ContainerRuntime], there: Mapping[Name, RawObject]
) -> tuple[Step, ...]:
    """Plan the removal of a pool, and of what all pools share if it was the last.

    Args:
        runtime: what is being deleted.
        others: all ContainerRuntimes of the cluster, asked from the API server now.
        there: what there is.
    """
    steps = [
        Delete(*name) for name in pool_names(runtime) if name in there and not _whose(there[name], _owner(runtime))
    ]
    shared = there.get(SHARED)
    if shared is None or _whose(shared, ""):
        return tuple(steps)
    needed = any(
        one.spec.type == runtime.spec.type and not one.deleting and one.metadata.uid != runtime.metadata.uid
        for one in others
    )
    return tuple(steps) if needed else (*steps, Delete(*SHARED))


def _owner(runtime: ContainerRuntime) -> str:
    return f"{runtime.namespace}/{runtime.name}"


def _whose(existing: RawObject, owner: str) -> str:
    """Whose an object is, or nothing if it is ours and ``owner``'s."""
    metadata = existing.get("metadata") or {}
    if (metadata.get("labels") or {}).get(MANAGED_BY) != OURS:
        return f"there is one that has no label {MANAGED_BY}={OURS}, so somebody else made it"
    other = (metadata.get("annotations") or {}).get(OWNER, "")
    return f"it belongs to the ContainerRuntime {other}, whose pool has the same name" if other != owner else ""
