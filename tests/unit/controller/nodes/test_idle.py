"""When nodes are left alone."""

from __future__ import annotations

import pytest
from gardener_objects import cluster, container_runtime

from orchestrator.api.cluster import Cluster
from orchestrator.api.container_runtime import ContainerRuntime
from orchestrator.controller.nodes.idle import idle

DONE = {
    "lastOperation": {
        "type": "Reconcile",
        "state": "Succeeded",
        "progress": 100,
        "description": "",
        "lastUpdateTime": "",
    }
}
DELETING = {"deletionTimestamp": "2026-08-21T10:00:00Z"}


def why(shoot=None, *, releasing=False, **changes):
    runtime = ContainerRuntime.read(container_runtime(**{"status": DONE} | changes))
    return idle(runtime, Cluster.read(cluster(**shoot or {})), releasing=releasing)


def test_they_are_looked_after_where_a_living_shoot_wants_gvisor():
    assert not why()
    assert not idle(ContainerRuntime.read(container_runtime(status=DONE)), Cluster())


@pytest.mark.parametrize(
    ("shoot", "reason"),
    [
        ({"status": {"lastOperation": {"state": "Failed"}}}, "failed"),
        ({"metadata": DELETING}, "being deleted"),
        ({"spec": {"hibernation": {"enabled": True}}}, "hibernated"),
    ],
)
def test_a_shoot_that_is_not_living_has_its_nodes_left_alone_also_by_a_deletion(shoot, reason):
    assert reason in why(shoot)
    assert reason in why(shoot, metadata=DELETING, releasing=True)


@pytest.mark.parametrize("operation", ["migrate", "restore", "wait-for-state"])
def test_a_shoot_that_moves_takes_its_nodes_along_as_they_are(operation):
    assert "moves" in why(metadata={"annotations": {"gardener.cloud/operation": operation}})


def test_after_a_migration_they_stay_as_they_are_until_the_restore():
    assert "moves" in why(status={"lastOperation": {**DONE["lastOperation"], "type": "Migrate"}})
    assert not why(status={"lastOperation": {**DONE["lastOperation"], "type": "Restore"}})


def test_an_object_that_goes_is_acted_for_only_while_its_deletion_waits():
    assert "done or left" in why(metadata=DELETING)
    assert not why(metadata=DELETING, releasing=True)


def test_without_a_cluster_another_type_or_an_order_nothing_is_done():
    runtime = ContainerRuntime.read(container_runtime())
    assert "no Cluster" in idle(runtime, None)
    assert "never reconciled" in idle(runtime, Cluster.read(cluster()))
    assert why(spec={"type": "kata"})
