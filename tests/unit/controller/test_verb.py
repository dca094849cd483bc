"""Which verb applies, by Gardener's rules."""

from __future__ import annotations

import pytest
from gardener_objects import cluster, container_runtime

from orchestrator.api import gardener
from orchestrator.api.cluster import Cluster
from orchestrator.api.container_runtime import ContainerRuntime
from orchestrator.api.last_operation import OperationType
from orchestrator.controller.verb import TriggerMode, Verb, decide

FIN = "extensions.gardener.cloud/containerruntime"
DELETING = {"deletionTimestamp": "2026-08-21T10:00:00Z"}


def runtime(operation="reconcile", last=None, metadata=None, **changes):
    """CR-a with this operation annotation and this (type, state) as its last operation."""
    raw = container_runtime(**changes)
    raw["metadata"] |= metadata or {}
    annotations = dict(raw["metadata"]["annotations"])
    annotations["gardener.cloud/operation"] = operation
    raw["metadata"]["annotations"] = {key: value for key, value in annotations.items() if value is not None}
    if last:
        raw["status"] = {
            "lastOperation": {"type": last[0], "state": last[1]},
            "observedGeneration": raw["metadata"]["generation"],
        }
    return ContainerRuntime.read(raw)


def decided(runtime, *, shoot=None, **how):
    return decide(runtime, Cluster.read(cluster(**(shoot or {}))), **how)


def outcome(decision):
    return decision.verb, decision.operation, decision.accepts


NOTHING = (None, None, False)


def test_case_06_a_new_object_is_created_and_the_order_is_accepted():
    assert (Verb.RECONCILE, OperationType.CREATE, True) == outcome(decided(runtime()))


def test_case_08_an_object_that_was_created_is_reconciled():
    assert (Verb.RECONCILE, OperationType.RECONCILE, True) == outcome(decided(runtime(last=("Create", "Succeeded"))))


@pytest.mark.parametrize("state", ["Error", "Processing", "Failed"])
@pytest.mark.parametrize(
    ("type_", "verb"), [("Create", Verb.RECONCILE), ("Restore", Verb.RESTORE), ("Migrate", Verb.MIGRATE)]
)
def test_case_09_an_operation_stays_what_it_is_until_it_succeeds(type_, verb, state):
    assert (verb, OperationType(type_), True) == outcome(decided(runtime(last=(type_, state))))


def test_a_reconcile_after_a_failed_reconcile_or_delete_is_a_reconcile():
    for type_ in ("Reconcile", "Delete"):
        assert OperationType.RECONCILE == decided(runtime(last=(type_, "Error"))).operation


def test_case_10_a_changed_spec_without_an_annotation_is_left_alone():
    changed = runtime(None, ("Create", "Succeeded"), {"generation": 2})
    changed.raw["status"]["observedGeneration"] = 1

    assert NOTHING == outcome(decided(ContainerRuntime.read(changed.raw)))


def test_without_gardenlet_a_changed_spec_is_enough():
    raw = runtime(None, ("Create", "Succeeded"), {"generation": 2}).raw
    raw["status"]["observedGeneration"] = 1
    decision = decided(ContainerRuntime.read(raw), mode=TriggerMode.GENERATION)

    assert (Verb.RECONCILE, OperationType.RECONCILE, False) == outcome(decision)
    assert "generation 2" in decision.reason


def test_a_controller_that_begins_reconciles_what_nobody_will_ask_for():
    settled = runtime(None, ("Create", "Succeeded"))

    assert NOTHING == outcome(decided(settled, begun=True))
    assert Verb.RECONCILE is decided(settled, begun=True, mode=TriggerMode.GENERATION).verb
    assert NOTHING == outcome(decided(settled, mode=TriggerMode.GENERATION))


def test_without_gardenlet_an_unchanged_spec_is_left_alone_and_annotations_are_obeyed():
    same = runtime(None, ("Create", "Succeeded"))

    assert NOTHING == outcome(decided(same, mode=TriggerMode.GENERATION))
    for operation, verb in (("reconcile", Verb.RECONCILE), ("migrate", Verb.MIGRATE), ("restore", Verb.RESTORE)):
        asked = runtime(operation, ("Create", "Succeeded"))
        assert verb == decided(asked, mode=TriggerMode.GENERATION).verb


@pytest.mark.parametrize("type_", ["Create", "Reconcile", "Restore"])
def test_case_11_a_healthy_object_is_left_alone(type_):
    assert NOTHING == outcome(decided(runtime(None, (type_, "Succeeded"))))


@pytest.mark.parametrize("state", ["Error", "Processing"])
def test_case_12_an_unfinished_object_is_taken_up_without_an_annotation(state):
    decision = decided(runtime(None, ("Reconcile", state)))

    assert (Verb.RECONCILE, OperationType.RECONCILE, False) == outcome(decision)
    assert state in decision.reason


def test_an_object_that_was_never_reconciled_is_taken_up_without_an_annotation():
    assert (Verb.RECONCILE, OperationType.CREATE, False) == outcome(decided(runtime(None)))


def test_case_15_another_type_is_never_touched():
    decision = decided(runtime(spec={"type": "kata"}))

    assert NOTHING == outcome(decision)
    assert "kata" in decision.reason


@pytest.mark.parametrize(
    ("classes", "handled"),
    [((), [None, "shoot"]), (("",), [None, "shoot"]), (("seed",), ["seed"]), (("seed", "garden"), ["seed", "garden"])],
)
def test_case_16_only_objects_of_the_controllers_classes_are_handled(classes, handled):
    taken = [
        name
        for name in (None, "shoot", "seed", "garden")
        if decided(runtime(spec={"class": name}), classes=classes).verb is not None
    ]

    assert handled == taken


def test_case_17_without_a_cluster_nothing_is_done_until_there_is_one():
    decision = decide(runtime(), None)

    assert NOTHING == outcome(decision)
    assert decision.waits_for_cluster
    assert "shoot--foo--bar" in decision.reason


FAILED = {"status": {"lastOperation": {"state": "Failed"}}}


def test_case_18_for_a_failed_shoot_nothing_is_done_and_the_order_stays():
    decision = decided(runtime(), shoot=FAILED)

    assert NOTHING == outcome(decision)
    assert decision.waits_for_cluster
    assert Verb.RECONCILE == decided(runtime()).verb


@pytest.mark.parametrize("shoot", [{"spec": {"hibernation": {"enabled": True}}}, {"status": {"isHibernated": True}}])
def test_case_19_a_hibernated_shoot_is_reconciled(shoot):
    assert (Verb.RECONCILE, OperationType.CREATE, True) == outcome(decided(runtime(), shoot=shoot))


@pytest.mark.parametrize("metadata", [{}, {**DELETING, "finalizers": [FIN]}])
@pytest.mark.parametrize("last", [None, ("Migrate", "Error"), ("Restore", "Processing")])
def test_case_21_while_gardenlet_writes_the_state_nothing_is_done(metadata, last):
    decision = decided(runtime("wait-for-state", last, metadata))

    assert NOTHING == outcome(decision)
    assert not decision.waits_for_cluster


def test_case_26_a_lost_run_is_taken_up_as_the_same_operation():
    for type_ in ("Create", "Reconcile"):
        assert OperationType(type_) == decided(runtime(None, (type_, "Processing"))).operation


def test_case_47_a_deleted_object_with_our_finalizer_is_deleted():
    decision = decided(runtime(None, ("Create", "Succeeded"), {**DELETING, "finalizers": [FIN]}))

    assert (Verb.DELETE, OperationType.DELETE, False) == outcome(decision)


@pytest.mark.parametrize("confirmed", ["true", "1", "T"])
def test_case_51_a_confirmed_forced_deletion_is_one(confirmed):
    deleted = runtime(None, ("Create", "Succeeded"), {**DELETING, "finalizers": [FIN]})
    shoot = {"metadata": {"annotations": {gardener.FORCE_DELETION: confirmed}}}

    assert (Verb.FORCE_DELETE, OperationType.DELETE, False) == outcome(decided(deleted, shoot=shoot))


def test_a_forced_deletion_of_the_shoot_deletes_nothing_that_nobody_has_deleted():
    shoot = {"metadata": {"annotations": {gardener.FORCE_DELETION: "true"}}}

    assert Verb.RECONCILE == decided(runtime(), shoot=shoot).verb


@pytest.mark.parametrize("operation", [None, "reconcile", "restore"])
def test_case_52_a_deleted_object_without_our_finalizer_is_left_alone(operation):
    deleted = runtime(operation, ("Create", "Succeeded"), {**DELETING, "finalizers": ["example.com/x"]})

    assert NOTHING == outcome(decided(deleted))


def test_case_55_a_deletion_waits_while_the_shoot_has_failed():
    deleted = runtime(None, ("Create", "Succeeded"), {**DELETING, "finalizers": [FIN]})

    assert NOTHING == outcome(decided(deleted, shoot=FAILED))
    assert decided(deleted, shoot=FAILED).waits_for_cluster


def test_case_60_an_object_that_is_to_be_migrated_is():
    asked = runtime("migrate", ("Reconcile", "Succeeded"))

    assert (Verb.MIGRATE, OperationType.MIGRATE, False) == outcome(decided(asked))


def test_case_62_a_failed_migration_is_tried_again():
    assert Verb.MIGRATE == decided(runtime("migrate", ("Migrate", "Error"))).verb


def test_case_63_a_migration_beats_a_deletion():
    asked = runtime("migrate", ("Create", "Succeeded"), {**DELETING, "finalizers": [FIN]})

    assert (Verb.MIGRATE, OperationType.MIGRATE, False) == outcome(decided(asked))


def test_case_64_after_a_migration_an_order_to_reconcile_is_taken_and_nothing_done():
    decision = decided(runtime("reconcile", ("Migrate", "Succeeded")))

    assert (None, None, True) == outcome(decision)


@pytest.mark.parametrize("finalizers", [[], [FIN]])
def test_case_65_after_a_migration_a_deletion_is_left_alone(finalizers):
    deleted = runtime(None, ("Migrate", "Succeeded"), {**DELETING, "finalizers": finalizers})

    assert NOTHING == outcome(decided(deleted))


def test_after_a_migration_that_failed_a_deletion_is_one():
    deleted = runtime(None, ("Migrate", "Error"), {**DELETING, "finalizers": [FIN]})

    assert (Verb.DELETE, OperationType.DELETE, False) == outcome(decided(deleted))


@pytest.mark.parametrize("last", [None, ("Migrate", "Succeeded"), ("Restore", "Error")])
def test_case_66_an_object_that_is_to_be_restored_is_also_where_it_was_migrated_from(last):
    assert (Verb.RESTORE, OperationType.RESTORE, False) == outcome(decided(runtime("restore", last)))


def test_case_67_a_failed_restore_is_tried_again():
    assert Verb.RESTORE == decided(runtime("restore", ("Restore", "Error"))).verb


def test_an_operation_that_is_none_of_ours_is_as_if_it_were_not_there():
    assert NOTHING == outcome(decided(runtime("keepalive", ("Create", "Succeeded"))))
    assert (Verb.RECONCILE, OperationType.CREATE, False) == outcome(decided(runtime("keepalive")))


def test_every_decision_says_why():
    for operation in (None, "reconcile", "restore", "migrate", "wait-for-state"):
        for last in (None, ("Create", "Succeeded"), ("Migrate", "Succeeded"), ("Reconcile", "Error")):
            for metadata in ({}, DELETING, {**DELETING, "finalizers": [FIN]}):
                decision = decided(runtime(operation, last, metadata))
                assert decision.reason
                assert (decision.verb is None) is (decision.operation is None)
