"""What is said of a pool's objects, and when nothing is."""

from __future__ import annotations

import pytest
from gardener_objects import cluster, container_runtime

from orchestrator.api.cluster import Cluster
from orchestrator.api.container_runtime import ContainerRuntime
from orchestrator.api.managed_resource import ManagedResource
from orchestrator.controller.health import health

CLUSTER = Cluster.read(cluster())
SUCCEEDED = {"lastOperation": {"type": "Create", "state": "Succeeded"}}


def runtime(status=SUCCEEDED):
    return ContainerRuntime.read(container_runtime(status=status))


def resource(applied="True", healthy="True", *, observed=1, **metadata):
    conditions = [
        {"type": kind, "status": status, "reason": "R", "message": "m"}
        for kind, status in (("ResourcesApplied", applied), ("ResourcesHealthy", healthy), ("Other", "False"))
        if status
    ]
    return ManagedResource.read(
        {
            "metadata": {"name": "mr", "generation": 1, **metadata},
            "status": {"observedGeneration": observed, "conditions": conditions},
        }
    )


def test_all_applied_and_healthy_is_well():
    assert "True" == health(runtime(), [resource(), resource()], CLUSTER).status


@pytest.mark.parametrize("ill", [resource(applied="False"), resource(healthy="False")])
def test_what_failed_is_named(ill):
    observation = health(runtime(), [resource(), ill], CLUSTER)

    assert "False" == observation.status
    assert "ManagedResource mr: Resources" in observation.message
    assert "Other" not in observation.message


@pytest.mark.parametrize(
    "resources",
    [
        [resource(), None],
        [resource(), resource(applied="Progressing")],
        [resource(), resource(applied=None)],
        [resource(), resource(observed=0)],
        [resource(), resource(deletionTimestamp="2026-08-21T10:00:00Z")],
    ],
    ids=["absent", "progressing", "unknown", "outdated", "deleting"],
)
def test_nothing_is_said_of_what_is_under_way(resources):
    assert health(runtime(), resources, CLUSTER) is None


@pytest.mark.parametrize("status", [None, {"lastOperation": {"type": "Create", "state": "Error"}}])
def test_nothing_is_said_of_an_object_that_is_not_reconciled(status):
    assert health(runtime(status), [resource(), resource()], CLUSTER) is None


def test_a_hibernated_shoot_is_well_whatever_its_resources_say():
    asleep = Cluster.read(cluster(spec={"hibernation": {"enabled": True}}))

    assert "Shoot is hibernated" == health(runtime(), [resource("False"), None], asleep).message
