"""Which keys are added when something is seen."""

from __future__ import annotations

import pytest
from gardener_objects import NAMESPACE, cluster, container_runtime

from orchestrator.api.merge_patch import merge
from orchestrator.controller.intake import Intake
from orchestrator.controller.verb import TriggerMode

KEY = (NAMESPACE, "gvisor-a")
ASKED = container_runtime()
SETTLED = container_runtime(
    metadata={"annotations": {"gardener.cloud/operation": None}},
    status={"lastOperation": {"type": "Create", "state": "Succeeded"}, "observedGeneration": 1},
)
UNREADABLE = merge(ASKED, {"spec": {"type": 7}})
SHARED, POOL = "extension-runtime-gvisor", "extension-runtime-gvisor-installation-a"


class World:
    def __init__(self, *there, news=False, mode=TriggerMode.ANNOTATION):
        self.added = []
        self.intake = Intake(
            self.added.append,
            lambda namespace: there if namespace in {"", NAMESPACE} else (),
            mode=mode,
            is_news=lambda _: news,
        )


def resource(name):
    return {"metadata": {"name": name, "namespace": NAMESPACE}}


def test_nothing_is_taken_in_before_it_is_open_or_after_it_is_closed():
    world = World()
    world.intake.runtimes.added(ASKED)
    world.intake.open()
    world.intake.close()
    world.intake.runtimes.added(ASKED)

    assert [] == world.added


def test_opening_looks_at_everything_that_is_not_as_it_was_asked_for():
    world = World(ASKED, SETTLED, container_runtime("b", spec={"type": "kata"}), UNREADABLE)
    world.intake.open()

    assert [KEY] == world.added


def test_where_generations_trigger_opening_looks_at_everything_of_ours():
    world = World(SETTLED, container_runtime("b", spec={"type": "kata"}), UNREADABLE, mode=TriggerMode.GENERATION)
    world.intake.open()

    assert [KEY] == world.added


def test_an_object_is_added_when_it_asks_and_not_when_only_its_status_changes():
    world = World()
    world.intake.open()
    world.intake.runtimes.updated(SETTLED, ASKED)
    world.intake.runtimes.updated(ASKED, merge(ASKED, {"metadata": {"resourceVersion": "8"}, "status": {"x": 1}}))
    world.intake.runtimes.deleted(ASKED)

    assert [KEY] == world.added


def test_an_object_that_can_be_read_again_is_looked_at():
    world = World()
    world.intake.open()
    world.intake.runtimes.updated(UNREADABLE, ASKED)
    world.intake.runtimes.updated(ASKED, UNREADABLE)

    assert [KEY] == world.added


@pytest.mark.parametrize(
    ("change", "worth"),
    [
        ({"status": {"lastOperation": {"state": "Failed"}}}, True),
        ({"spec": {"hibernation": {"enabled": True}}}, True),
        ({"metadata": {"deletionTimestamp": "2026-08-21T10:00:00Z"}}, True),
        ({"metadata": {"annotations": {"confirmation.gardener.cloud/force-deletion": "1"}}}, True),
        ({"status": {"lastOperation": {"state": "Succeeded"}}}, False),
    ],
)
def test_a_cluster_wakes_its_objects_when_it_decides_something(change, worth):
    world = World(ASKED)
    world.intake.open()
    world.added.clear()
    world.intake.clusters.updated(cluster(), cluster(**change))

    assert ([KEY] if worth else []) == world.added


def test_a_new_cluster_wakes_what_waited_for_it():
    world = World(ASKED, SETTLED)
    world.intake.open()
    world.added.clear()
    world.intake.clusters.added(cluster())

    assert [KEY] == world.added


def test_the_end_of_a_managed_resource_wakes_what_waited_for_it():
    world = World(ASKED, SETTLED)
    world.intake.open()
    world.added.clear()
    world.intake.resources.added(resource(POOL))
    world.intake.resources.deleted(resource(POOL))

    assert [KEY] == world.added


@pytest.mark.parametrize(
    ("name", "news", "added"), [(SHARED, True, 1), (POOL, True, 1), (POOL, False, 0), ("x", True, 0)]
)
def test_a_report_is_looked_at_by_whom_it_is_about_if_it_is_news(name, news, added):
    world = World(SETTLED, news=news)
    world.intake.open()
    world.added.clear()
    world.intake.resources.updated(resource(name), resource(name))

    assert added == len(world.added)


DELETING = merge(SETTLED, {"metadata": {"deletionTimestamp": "2026-08-21T10:00:00Z"}})
FAILED = merge(SETTLED, {"status": {"lastOperation": {"state": "Error"}}})


@pytest.mark.parametrize(
    ("raw", "news", "added"),
    [
        (SETTLED, True, [KEY]),
        (SETTLED, False, []),
        (DELETING, False, [KEY]),
        (FAILED, True, []),
        (container_runtime("b", spec={"type": "kata"}), True, []),
        (UNREADABLE, True, []),
    ],
    ids=["news", "the same again", "deleting", "waits for its owner", "not ours", "unreadable"],
)
def test_news_of_nodes_wake_an_object_to_be_told_or_that_is_deleted(raw, news, added):
    world = World(news=news)
    world.intake.open()
    world.intake.news(raw)

    assert added == world.added
