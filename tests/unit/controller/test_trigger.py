"""Which events are worth a reconcile, by the rules of Gardener's predicates."""

from __future__ import annotations

import pytest
from gardener_objects import container_runtime

from orchestrator.api.container_runtime import ContainerRuntime
from orchestrator.controller.trigger import changed, seen_first
from orchestrator.controller.verb import TriggerMode

SUCCEEDED = {"lastOperation": {"type": "Create", "state": "Succeeded"}, "observedGeneration": 1}


def runtime(operation=None, status=SUCCEEDED, **metadata):
    annotations = {"gardener.cloud/operation": operation}
    return ContainerRuntime.read(container_runtime(metadata={"annotations": annotations, **metadata}, status=status))


@pytest.mark.parametrize(
    ("operation", "expected"),
    [("reconcile", True), ("restore", True), ("migrate", True), ("wait-for-state", False), (None, False)],
)
def test_an_operation_that_asks_for_something_triggers(operation, expected):
    assert expected is seen_first(runtime(operation))
    assert expected is changed(runtime(), runtime(operation))


def test_case_11_at_the_start_a_healthy_object_is_passed_over():
    assert not seen_first(runtime())


@pytest.mark.parametrize("state", ["Error", "Processing"])
def test_case_12_at_the_start_an_unfinished_object_is_looked_at(state):
    assert seen_first(runtime(status={"lastOperation": {"type": "Create", "state": state}}))
    assert seen_first(runtime(status=None))


def test_case_10_a_changed_spec_does_not_trigger():
    assert not changed(runtime(), runtime(generation=2))


def test_without_gardenlet_a_changed_spec_triggers_and_a_changed_status_does_not():
    assert changed(runtime(), runtime(generation=2), TriggerMode.GENERATION)
    assert not changed(runtime(), runtime(status={**SUCCEEDED, "x": 1}), TriggerMode.GENERATION)
    assert seen_first(runtime(generation=2), TriggerMode.GENERATION)
    assert not seen_first(runtime(), TriggerMode.GENERATION)


def test_an_error_that_the_controller_wrote_does_not_bring_the_object_back_before_its_time():
    failed = {"lastOperation": {"type": "Create", "state": "Error"}, "lastError": {"description": "x"}}

    assert not changed(runtime(), runtime(status=failed))


def test_case_54_while_deleting_every_change_of_metadata_triggers_and_none_of_the_status():
    deleting = {"deletionTimestamp": "2026-08-21T10:00:00Z"}
    renewed = {**deleting, "labels": {"renewed": "1"}}
    processing = {"lastOperation": {"type": "Delete", "state": "Processing"}}

    assert seen_first(runtime(**deleting))
    assert changed(runtime(), runtime(**deleting))
    assert changed(runtime(**deleting), runtime(**renewed))
    assert not changed(runtime(**deleting), runtime(status=processing, **deleting))


def test_a_status_under_an_order_that_stays_does_not_trigger():
    failed = {"lastOperation": {"type": "Restore", "state": "Error"}}

    assert not changed(runtime("restore"), runtime("restore", status=failed))
    assert changed(runtime("restore"), runtime("restore", status=failed, generation=2))
