"""Conditions: whose they are, when their times change, and when nobody wants to know."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from gardener_objects import cluster, container_runtime

from orchestrator.api.cluster import Cluster
from orchestrator.api.container_runtime import ContainerRuntime
from orchestrator.api.merge_patch import merge
from orchestrator.controller.conditions import Observation, is_news, observed, or_hibernated
from orchestrator.controller.error_codes import Code

THEN = datetime(2026, 8, 21, 10, 0, 0, tzinfo=UTC)
LATER = THEN + timedelta(minutes=1)
GOOD = Observation("SystemComponentsHealthy", "True", "HealthCheckSuccessful", "All health checks successful")
FOREIGN = {"type": "Foreign", "status": "Odd", "reason": "x", "message": "y", "future": {"kept": True}}


def runtime(*conditions, **metadata):
    return ContainerRuntime.read(
        container_runtime(metadata=metadata, status={"conditions": list(conditions), "observedGeneration": 1})
    )


def written(before, *observations, now=LATER):
    return merge(before.raw, observed(before, observations, now))["status"]["conditions"]


@pytest.mark.parametrize("hibernating", [True, False])
def test_case_73_a_shoot_that_sleeps_is_healthy(hibernating):
    bad = Observation("SystemComponentsHealthy", "False", "HealthCheckUnsuccessful", "node n1", ())
    shoot = Cluster.read(cluster(spec={"hibernation": {"enabled": hibernating}}))
    asleep = Observation("SystemComponentsHealthy", "True", "HealthCheckSuccessful", "Shoot is hibernated")

    assert (asleep if hibernating else bad) == or_hibernated(bad, shoot)


def test_case_74_a_new_condition_has_every_field_that_the_schema_requires():
    assert [
        {
            "type": "SystemComponentsHealthy",
            "status": "True",
            "reason": "HealthCheckSuccessful",
            "message": "All health checks successful",
            "lastTransitionTime": "2026-08-21T10:01:00Z",
            "lastUpdateTime": "2026-08-21T10:01:00Z",
        }
    ] == written(runtime(), GOOD)


def test_case_74_the_same_result_writes_nothing():
    before = runtime(*written(runtime(), GOOD, now=THEN))

    assert {} == observed(before, [GOOD], LATER)


@pytest.mark.parametrize(
    ("change", "transition", "update"),
    [
        ({"message": "other"}, False, True),
        ({"reason": "Other"}, False, True),
        ({"codes": (Code.CONFIGURATION_PROBLEM,)}, False, True),
        ({"status": "False"}, True, False),
        ({"status": "False", "message": "other"}, True, True),
    ],
)
def test_case_74_each_time_changes_with_what_it_is_the_time_of(change, transition, update):
    fields = {"type": GOOD.type, "status": GOOD.status, "reason": GOOD.reason, "message": GOOD.message}
    before = runtime(*written(runtime(), GOOD, now=THEN))
    (after,) = written(before, Observation(**{**fields, **change}))

    assert (transition, update) == (
        after["lastTransitionTime"] == "2026-08-21T10:01:00Z",
        after["lastUpdateTime"] == "2026-08-21T10:01:00Z",
    )


def test_case_74_codes_go_with_the_error_that_had_them():
    bad = Observation(GOOD.type, "False", "Bad", "bad", (Code.CONFIGURATION_PROBLEM,))
    before = runtime(*written(runtime(), bad))

    assert ["ERR_CONFIGURATION_PROBLEM"] == before.raw["status"]["conditions"][0]["codes"]
    assert "codes" not in written(before, GOOD)[0]


def test_case_74_conditions_of_others_stay_in_their_place_with_all_they_have():
    before = runtime(FOREIGN, *written(runtime(), GOOD, now=THEN), {**FOREIGN, "type": "Another"})
    after = written(before, Observation(GOOD.type, "False", "Bad", "bad"))

    assert ["Foreign", GOOD.type, "Another"] == [one["type"] for one in after]
    assert FOREIGN == after[0]
    assert "False" == after[1]["status"]


def test_case_75_conditions_touch_nothing_else():
    assert {"status"} == observed(runtime(), [GOOD], THEN).keys()
    assert {"conditions"} == observed(runtime(), [GOOD], THEN)["status"].keys()


@pytest.mark.parametrize(
    "leaving",
    [
        {"metadata": {"deletionTimestamp": "2026-08-21T10:00:00Z"}},
        {"metadata": {"annotations": {"gardener.cloud/operation": "migrate"}}},
        {"status": {"lastOperation": {"type": "Migrate", "state": "Processing"}}},
        {"status": {"lastOperation": {"type": "Migrate", "state": "Succeeded"}}},
    ],
)
def test_case_76_an_object_that_leaves_gets_no_conditions(leaving):
    assert observed(runtime(), [GOOD], THEN)
    assert {} == observed(ContainerRuntime.read(merge(runtime().raw, leaving)), [GOOD], THEN)


def test_what_the_status_says_already_is_no_news():
    said = written(runtime(), GOOD)[0]

    assert is_news(runtime(), GOOD)
    assert not is_news(runtime(said), GOOD)
    assert is_news(runtime({**said, "message": "another"}), GOOD)
    assert not is_news(runtime(deletionTimestamp="2026-08-21T10:00:00Z"), GOOD)
