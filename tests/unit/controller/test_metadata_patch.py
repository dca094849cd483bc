"""Patches to the metadata: what they take and give, and what they leave."""

from __future__ import annotations

import pytest
from gardener_objects import cluster, container_runtime

from orchestrator.api.cluster import Cluster
from orchestrator.api.container_runtime import ContainerRuntime
from orchestrator.api.merge_patch import merge
from orchestrator.controller.metadata_patch import accept, finish, release, release_everything
from orchestrator.controller.verb import Decision, OperationType, Verb, decide

FIN = "extensions.gardener.cloud/containerruntime"
TIMESTAMP = "gardener.cloud/timestamp"


def runtime(operation="reconcile", **metadata):
    return ContainerRuntime.read(
        container_runtime(metadata={"annotations": {"gardener.cloud/operation": operation}, **metadata})
    )


def accepted(one):
    return accept(one, decide(one, Cluster.read(cluster())))


def test_case_06_an_accepted_order_loses_its_annotation_and_gets_the_finalizer_in_one_patch():
    assert {
        "metadata": {
            "annotations": {"gardener.cloud/operation": None},
            "finalizers": [FIN],
            "resourceVersion": "7",
        }
    } == accepted(runtime())


def test_a_second_order_changes_nothing_but_the_annotation_and_needs_no_lock():
    assert {"metadata": {"annotations": {"gardener.cloud/operation": None}}} == accepted(runtime(finalizers=[FIN]))


def test_case_14_the_timestamp_and_all_that_is_of_others_stay_as_they_are():
    others = {"annotations": {"example.com/a": "b"}, "labels": {"c": "d"}, "finalizers": ["example.com/x"]}
    before = runtime(**others)
    timestamp = before.metadata.annotations[TIMESTAMP]

    after = ContainerRuntime.read(merge(before.raw, accepted(before)))

    assert {TIMESTAMP: timestamp, "example.com/a": "b"} == after.metadata.annotations
    assert {"c": "d"} == after.metadata.labels
    assert ("example.com/x", FIN) == after.metadata.finalizers
    assert before.raw["spec"] == after.raw["spec"]


def test_case_18_an_order_that_cannot_be_followed_yet_is_not_taken():
    one = runtime()
    failed = Cluster.read(cluster(status={"lastOperation": {"state": "Failed"}}))

    assert {} == accept(one, decide(one, failed))


def test_case_22_a_finalizer_that_somebody_adds_meanwhile_is_seen_and_kept():
    before = runtime()
    meanwhile = runtime(finalizers=["example.com/x"], resourceVersion="8")

    assert "7" == accepted(before)["metadata"]["resourceVersion"]
    assert "8" == accepted(meanwhile)["metadata"]["resourceVersion"]
    assert ["example.com/x", FIN] == accepted(meanwhile)["metadata"]["finalizers"]


def test_case_47_a_deleted_object_loses_our_finalizer_only():
    deleted = runtime(None, finalizers=[FIN, "example.com/x"])

    assert {"metadata": {"finalizers": ["example.com/x"], "resourceVersion": "7"}} == release(deleted)
    assert {} == release(runtime(finalizers=["example.com/x"]))


def test_case_60_a_migrated_object_loses_all_finalizers_and_then_the_annotation():
    before = runtime("migrate", finalizers=[FIN, "example.com/x"])

    assert {} == accepted(before)
    released = ContainerRuntime.read(merge(before.raw, release_everything(before)))
    assert () == released.metadata.finalizers
    assert "migrate" == released.operation
    assert TIMESTAMP in released.metadata.annotations
    assert "" == ContainerRuntime.read(merge(released.raw, finish(released))).operation


def test_case_60_a_migrated_object_that_has_no_finalizer_and_no_annotation_needs_no_write():
    assert {} == release_everything(runtime(None))
    assert {} == finish(runtime(None))


def test_case_64_after_a_migration_only_the_annotation_goes():
    migrated = ContainerRuntime.read(
        merge(runtime().raw, {"status": {"lastOperation": {"type": "Migrate", "state": "Succeeded"}}})
    )

    assert {"metadata": {"annotations": {"gardener.cloud/operation": None}}} == accepted(migrated)


def test_case_66_a_restore_gets_the_finalizer_at_once_and_keeps_the_annotation_to_the_end():
    before = runtime("restore")
    after = ContainerRuntime.read(merge(before.raw, accepted(before)))

    assert (FIN,) == after.metadata.finalizers
    assert "restore" == after.operation
    assert {"metadata": {"annotations": {"gardener.cloud/operation": None}}} == finish(after)


@pytest.mark.parametrize("verb", [Verb.MIGRATE, Verb.DELETE, Verb.FORCE_DELETE])
def test_an_object_that_leaves_gets_no_finalizer(verb):
    assert {} == accept(runtime(None), Decision(verb, "because", OperationType.DELETE))
