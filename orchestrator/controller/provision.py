"""The steps that bring wanted objects into the seed: of ``reconcile`` and ``restore``. Pure.

A Secret is written before the ManagedResource that references it. Of a ManagedResource the spec is ours as a whole, and
so are the annotations that reference Secrets; other labels, annotations and finalizers are not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.api import gardener, managed_resource
from orchestrator.api.merge_patch import difference, merge
from orchestrator.controller.step import AwaitGone, Change, Create, Delete, Step

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.api.view import RawObject
    from orchestrator.controller.managed_resource import Bundle
    from orchestrator.controller.seed_state import SeedState


def steps(wanted: Iterable[Bundle], state: SeedState) -> tuple[Step, ...]:
    """Plan what is missing, in the order of what is wanted; nothing if everything is as it shall be."""
    return tuple(step for one in wanted for step in _bundle(one, state))


def _bundle(wanted: Bundle, state: SeedState) -> list[Step]:
    existing = state.managed_resources.get(wanted.name)
    if existing is None:
        return [*_secret(wanted, state), Create(wanted.managed_resource)]
    if existing.deleting:
        return [AwaitGone(wanted.name)]
    patch = difference(existing.raw, _repaired(existing.raw, wanted.managed_resource))
    change = [Change(managed_resource.KIND, wanted.name, patch)] if patch else []
    return [*_secret(wanted, state), *change, *_collectable(wanted, existing.secret_names, state)]


def _secret(wanted: Bundle, state: SeedState) -> list[Step]:
    existing = state.secrets.get(wanted.secret_name)
    if existing is None:
        return [Create(wanted.secret)]
    content = {key: wanted.secret[key] for key in ("type", "immutable", "data")}
    patch = difference(existing, {**merge(existing, {"metadata": wanted.secret["metadata"]}), **content})
    if not patch:
        return []
    if existing.get("immutable") and patch.keys() - {"metadata"}:
        # The name is a hash of the content, so somebody else made this one; the API server would refuse a patch.
        return [Delete("Secret", wanted.secret_name), Create(wanted.secret)]
    return [Change("Secret", wanted.secret_name, patch)]


def _repaired(existing: RawObject, wanted: RawObject) -> dict[str, Any]:
    annotations = (existing.get("metadata") or {}).get("annotations") or {}
    stale = {key: None for key in annotations if key.startswith(gardener.REFERENCE_PREFIX)}
    metadata = merge({"metadata": {"annotations": stale}}, {"metadata": wanted["metadata"]})
    return {**merge(existing, metadata), "spec": wanted["spec"]}


def _collectable(wanted: Bundle, referenced: tuple[str, ...], state: SeedState) -> list[Step]:
    """Let old Secrets be collected. After the ManagedResource: until then they are in use."""
    labels = {gardener.GARBAGE_COLLECTABLE: "true"}
    old = [name for name in referenced if name != wanted.secret_name and name in state.secrets]
    return [
        Change("Secret", name, {"metadata": {"labels": labels}})
        for name in old
        if merge(state.secrets[name], {"metadata": {"labels": labels}}) != state.secrets[name]
    ]
