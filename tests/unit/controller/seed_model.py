"""What steps mean, on values: so that a plan can be planned again from what it left. Not an API server."""

from __future__ import annotations

from orchestrator.api.managed_resource import ManagedResource
from orchestrator.api.merge_patch import merge
from orchestrator.controller.seed_state import SeedState
from orchestrator.controller.step import AwaitGone, Change, Create, Delete

RESOURCE_MANAGERS = {
    "finalizers": ["resources.gardener.cloud/gardener-resource-manager"],
    "annotations": {"resources.gardener.cloud/secrets-data-checksum": "x"},
}


def state(*objects):
    """A SeedState that holds these raw objects."""
    resources = {one["metadata"]["name"]: ManagedResource.read(one) for one in objects if one["kind"] != "Secret"}
    secrets = {one["metadata"]["name"]: one for one in objects if one["kind"] == "Secret"}
    return SeedState(resources, secrets)


def objects(of):
    """The raw objects of a SeedState."""
    return [*(one.raw for one in of.managed_resources.values()), *of.secrets.values()]


def after(before, steps):
    """The state that steps leave; a ManagedResource stays, deleting, until somebody waits for it."""
    there = {(one["kind"], one["metadata"]["name"]): one for one in objects(before)}
    for step in steps:
        match step:
            case Create(raw):
                key = (raw["kind"], raw["metadata"]["name"])
                assert key not in there, f"{key} is there already"
                there[key] = merge(raw, {"metadata": RESOURCE_MANAGERS}) if raw["kind"] != "Secret" else raw
            case Change(kind, name, patch):
                there[kind, name] = merge(there[kind, name], patch)
            case Delete("Secret", name):
                del there["Secret", name]
            case Delete(kind, name):
                there[kind, name] = merge(there[kind, name], {"metadata": {"deletionTimestamp": "now"}})
            case AwaitGone(name):
                assert there["ManagedResource", name]["metadata"]["deletionTimestamp"]
                del there["ManagedResource", name]
    return state(*there.values())


def settled(before, plan):
    """The state after planning and executing until nothing is left to do, and all steps on the way."""
    taken = []
    while steps := plan(before):
        before = after(before, steps)
        taken += steps
        assert len(taken) < 50, "it never ends"
    return before, taken
