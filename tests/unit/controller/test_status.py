"""What is written to the status, and that gardenlet understands it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from gardener_objects import cluster, container_runtime
from gardenlet import not_ready

from orchestrator.api.cluster import Cluster
from orchestrator.api.container_runtime import ContainerRuntime
from orchestrator.api.last_operation import OperationType
from orchestrator.api.merge_patch import merge
from orchestrator.controller.conditions import Observation
from orchestrator.controller.metadata_patch import accept, finish
from orchestrator.controller.status import describe, failed, processing, succeeded
from orchestrator.controller.trigger import seen_first
from orchestrator.controller.verb import decide
from orchestrator.errors import ConfigurationError, GvisorNodesError, NotReadyError, StillThereError

NOW = datetime(2026, 8, 21, 10, 0, 5, 999_999, tzinfo=UTC)
WRITTEN = "2026-08-21T10:00:05Z"
CONFIGURATION = ConfigurationError("the flag is wrong", why="it is", remedy="correct it")


def read(raw, *patches):
    for patch in patches:
        raw = merge(raw, patch)
    return ContainerRuntime.read(raw)


def operation(raw):
    return {key: value for key, value in raw["status"]["lastOperation"].items() if key != "lastUpdateTime"}


def begun(runtime, now=NOW):
    """The object with everything written that comes before the work, and the operation."""
    decision = decide(runtime, Cluster.read(cluster()))
    return read(runtime.raw, processing(decision.operation, now), accept(runtime, decision)), decision.operation


def run(runtime, now=NOW):
    runtime, what = begun(runtime, now)
    return read(runtime.raw, succeeded(runtime, what, now))


def test_case_03_an_operation_and_an_error_have_every_field_that_the_schema_requires():
    runtime = read(container_runtime())
    for patch in (
        processing(OperationType.CREATE, NOW),
        succeeded(runtime, OperationType.CREATE, NOW),
        failed(runtime, OperationType.CREATE, CONFIGURATION, NOW),
    ):
        last = patch["status"]["lastOperation"]
        assert {"type", "state", "progress", "description", "lastUpdateTime"} == set(last)
        assert all(isinstance(value, int if key == "progress" else str) for key, value in last.items())
    assert failed(runtime, OperationType.CREATE, CONFIGURATION, NOW)["status"]["lastError"]["description"]


def test_case_06_a_first_reconcile_ends_ready():
    after = run(read(container_runtime()))

    assert {
        "type": "Create",
        "state": "Succeeded",
        "progress": 100,
        "description": "Successfully reconciled ContainerRuntime",
    } == operation(after.raw)
    assert WRITTEN == after.raw["status"]["lastOperation"]["lastUpdateTime"]
    assert "lastError" not in after.raw["status"]
    assert 1 == after.status.observed_generation
    assert "" == not_ready(after.raw)


def test_case_07_processing_is_visible_before_the_work_and_nothing_is_observed_yet():
    during, _ = begun(read(container_runtime()))

    assert {
        "type": "Create",
        "state": "Processing",
        "progress": 1,
        "description": "Reconciling the ContainerRuntime",
    } == operation(during.raw)
    assert "" == during.operation
    assert during.held
    assert "observedGeneration" not in during.raw["status"]


def test_case_08_a_second_reconcile_is_one_and_is_as_new_as_its_order():
    asked = {"metadata": {"annotations": {"gardener.cloud/operation": "reconcile"}}}
    asked["metadata"]["annotations"]["gardener.cloud/timestamp"] = "2026-08-21T10:01:00.5Z"
    again = read(run(read(container_runtime())).raw, asked)

    assert "operation annotation is still there" == not_ready(again.raw)
    after = run(again, NOW + timedelta(minutes=1))
    assert "Reconcile" == after.status.last_operation.type
    assert "" == not_ready(after.raw)


def test_case_09_after_an_error_the_operation_that_succeeds_is_still_the_creation():
    during, what = begun(read(container_runtime()))
    broken = read(during.raw, failed(during, what, CONFIGURATION, NOW))
    after = run(broken)

    assert "Create" == after.status.last_operation.type
    assert "lastError" not in after.raw["status"]
    assert "" == not_ready(after.raw)


def test_case_10_a_changed_spec_is_seen_as_not_observed():
    assert "observed generation outdated" == not_ready(
        read(run(read(container_runtime())).raw, {"metadata": {"generation": 2}}).raw
    )


def test_case_13_a_change_during_the_run_is_not_reported_as_observed():
    during, what = begun(read(container_runtime()))
    changed = read(during.raw, {"metadata": {"generation": 2}})
    after = read(changed.raw, succeeded(during, what, NOW))

    assert 1 == after.status.observed_generation
    assert "observed generation outdated" == not_ready(after.raw)
    asked = read(after.raw, {"metadata": {"annotations": {"gardener.cloud/operation": "reconcile"}}})
    assert 2 == run(asked).status.observed_generation


def test_case_13_an_order_that_comes_before_the_first_is_accepted_is_worked_for_with_it():
    seen = read(container_runtime())
    decision = decide(seen, Cluster.read(cluster()))
    meanwhile = read(seen.raw, {"metadata": {"generation": 2}, "spec": {"binaryPath": "/new"}})
    answer = read(meanwhile.raw, processing(decision.operation, NOW), accept(seen, decision))
    again = decide(answer, Cluster.read(cluster()))

    assert (decision.verb, decision.operation) == (again.verb, again.operation)
    after = read(answer.raw, succeeded(answer, again.operation, NOW))
    assert 2 == after.status.observed_generation
    assert "" == not_ready(after.raw)


@pytest.mark.parametrize("asked", ["reconcile", "restore", "migrate"])
def test_after_success_nothing_is_left_to_do(asked):
    after = run(read(container_runtime(metadata={"annotations": {"gardener.cloud/operation": asked}})))
    after = read(after.raw, finish(after))

    assert decide(after, Cluster.read(cluster())).verb is None
    assert not seen_first(after)


def test_case_23_an_order_from_the_future_is_not_fulfilled_until_it_is_renewed():
    ahead = {"metadata": {"annotations": {"gardener.cloud/timestamp": "2026-08-21T10:00:07.1Z"}}}
    after = run(read(container_runtime(), ahead))

    assert "Succeeded" == after.status.last_operation.state
    assert "last operation is older than the request" == not_ready(after.raw)
    annotations = {"gardener.cloud/timestamp": "2026-08-21T10:00:05.9Z", "gardener.cloud/operation": "reconcile"}
    assert "" == not_ready(run(read(after.raw, {"metadata": {"annotations": annotations}})).raw)


def test_case_25_an_old_error_is_taken_back_when_a_new_run_starts():
    broken = read(container_runtime(), failed(read(container_runtime()), OperationType.CREATE, CONFIGURATION, NOW))
    during, _ = begun(broken)

    assert "lastError" in broken.raw["status"]
    assert "lastError" not in during.raw["status"]


def test_case_27_an_error_says_what_failed_in_both_places_and_has_its_code():
    during, what = begun(read(container_runtime(metadata={"generation": 3})))
    status = read(during.raw, failed(during, what, CONFIGURATION, NOW)).raw["status"]
    description = "Error reconciling ContainerRuntime: the flag is wrong: it is. To do: correct it"

    assert {"type": "Create", "state": "Error", "progress": 50, "description": description} == operation(
        {"status": status}
    )
    assert {
        "description": description,
        "codes": ["ERR_CONFIGURATION_PROBLEM"],
        "lastUpdateTime": WRITTEN,
    } == status["lastError"]
    assert 3 == status["observedGeneration"]


def test_case_31_after_a_recovery_there_is_no_error_in_the_object_not_even_an_empty_one():
    during, what = begun(read(container_runtime()))
    broken = read(during.raw, failed(during, what, CONFIGURATION, NOW))
    asked = read(broken.raw, {"metadata": {"annotations": {"gardener.cloud/operation": "reconcile"}}})

    assert "lastError" not in run(asked).raw["status"]


def test_case_34_an_error_without_a_code_has_no_key_for_it_and_loses_that_of_an_earlier_one():
    runtime = read(container_runtime(), failed(read(container_runtime()), OperationType.CREATE, CONFIGURATION, NOW))
    after = read(runtime.raw, failed(runtime, OperationType.CREATE, GvisorNodesError("no access"), NOW))

    assert {"description": "Error reconciling ContainerRuntime: no access", "lastUpdateTime": WRITTEN} == after.raw[
        "status"
    ]["lastError"]


def test_case_50_a_deletion_that_is_stuck_is_an_error_that_keeps_the_finalizer():
    deleted = read(
        container_runtime(
            metadata={
                "annotations": {"gardener.cloud/operation": None},
                "deletionTimestamp": WRITTEN,
                "finalizers": ["extensions.gardener.cloud/containerruntime"],
            },
            status={"lastOperation": {"type": "Create", "state": "Succeeded"}},
        )
    )
    during, what = begun(deleted)

    assert {
        "type": "Delete",
        "state": "Processing",
        "progress": 1,
        "description": "Deleting the ContainerRuntime",
    } == operation(during.raw)
    after = read(during.raw, failed(during, what, StillThereError("ManagedResource x is still there"), NOW))
    assert {
        "type": "Delete",
        "state": "Error",
        "progress": 50,
        "description": "Error deleting ContainerRuntime: ManagedResource x is still there",
    } == operation(after.raw)
    assert after.held


@pytest.mark.parametrize(
    ("what", "texts"),
    [
        (OperationType.CREATE, ("Reconciling the", "Successfully reconciled", "Error reconciling")),
        (OperationType.RECONCILE, ("Reconciling the", "Successfully reconciled", "Error reconciling")),
        (OperationType.DELETE, ("Deleting the", "Successfully deleted", "Error deleting")),
        (OperationType.MIGRATE, ("Migrating the", "Successfully migrated", "Error migrating")),
        (OperationType.RESTORE, ("Restoring the", "Successfully restored", "Error restoring")),
    ],
)
def test_the_words_are_those_of_gardeners_library(what, texts):
    runtime = read(container_runtime())
    patches = (
        processing(what, NOW),
        succeeded(runtime, what, NOW),
        failed(runtime, what, NotReadyError("x"), NOW),
    )
    for text, patch in zip(texts, patches, strict=True):
        assert patch["status"]["lastOperation"]["description"].startswith(f"{text} ContainerRuntime")
        assert what == patch["status"]["lastOperation"]["type"]


def test_case_62_a_failed_migration_keeps_its_annotation_and_finalizers():
    asked = read(
        container_runtime(
            metadata={"annotations": {"gardener.cloud/operation": "migrate"}, "finalizers": ["a", "b"]},
        )
    )
    during, what = begun(asked)
    after = read(during.raw, failed(during, what, StillThereError("x"), NOW))

    assert ("Migrate", "Error") == (after.status.last_operation.type, after.status.last_operation.state)
    assert "migrate" == after.operation
    assert ("a", "b") == after.metadata.finalizers


def test_case_66_a_restore_ends_ready_and_keeps_the_state_that_gardenlet_wrote():
    state = {"status": {"state": {"k": "v"}, "resources": [{"name": "x"}]}}
    annotations = {"metadata": {"annotations": {"gardener.cloud/operation": "restore"}}}
    restored = run(read(container_runtime(), state, annotations))

    assert ("Restore", "Succeeded") == (restored.status.last_operation.type, restored.status.last_operation.state)
    assert "operation annotation is still there" == not_ready(restored.raw)
    after = read(restored.raw, finish(restored))
    assert "" == not_ready(after.raw)
    assert {"k": "v"} == after.raw["status"]["state"]
    assert [{"name": "x"}] == after.raw["status"]["resources"]


def test_case_67_a_failed_restore_keeps_its_annotation_and_has_the_code():
    asked = read(container_runtime(metadata={"annotations": {"gardener.cloud/operation": "restore"}}))
    during, what = begun(asked)
    after = read(during.raw, failed(during, what, CONFIGURATION, NOW))

    assert ("Restore", "Error") == (after.status.last_operation.type, after.status.last_operation.state)
    assert ["ERR_CONFIGURATION_PROBLEM"] == after.raw["status"]["lastError"]["codes"]
    assert "restore" == after.operation


def test_success_records_observations_and_keeps_the_conditions_of_others():
    foreign = {"type": "Foreign", "status": "True", "reason": "x", "message": "y", "lastUpdateTime": "z"}
    runtime = read(container_runtime(status={"conditions": [foreign]}))
    status = succeeded(runtime, OperationType.CREATE, NOW, [Observation("Ours", "True", "Good", "fine")])["status"]

    assert foreign == status["conditions"][0]
    assert "Ours" == status["conditions"][1]["type"]


def test_times_are_utc_with_the_precision_of_a_second_and_never_in_the_future():
    for moment in (NOW, NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))):
        assert WRITTEN == processing(OperationType.CREATE, moment)["status"]["lastOperation"]["lastUpdateTime"]


def test_of_an_error_that_nobody_foresaw_only_the_class_is_told():
    assert "token" not in describe(ValueError("token abc"))
    assert "ValueError" in describe(ValueError("token abc"))


def test_an_error_does_not_fill_the_status_and_still_says_what_to_do():
    text = describe(ConfigurationError("w" * 10_000, why="y" * 1_000_000, remedy="correct it"))

    assert len(text) < 3_000
    assert text.endswith("To do: correct it")


def test_of_several_errors_each_is_told():
    several = ExceptionGroup("two", [CONFIGURATION, NotReadyError("no API server")])

    assert "the flag is wrong: it is. To do: correct it; no API server" == describe(several)
