"""Cases 6 to 26: what triggers a reconcile, and what is written when."""

from __future__ import annotations

import signal
import threading
from datetime import UTC, datetime, timedelta

import pytest
from gardenlet import not_ready
from landscape import FINALIZER, SMR, Film, configuration, facts, nanoseconds, pmr, version, with_options
from patience import eventually

from orchestrator.api import gardener
from orchestrator.controller.kinds import CONTAINER_RUNTIMES, MANAGED_RESOURCES
from orchestrator.kube.shoot_credentials import SECRETS

OPERATION = gardener.OPERATION
TIMESTAMP = "gardener.cloud/timestamp"


@pytest.mark.feature("G1")
def test_case_06_the_first_reconcile_makes_the_object_ready(shoot, controller):
    with controller():
        shoot.deploy()
        raw = shoot.await_ready()

    assert OPERATION not in raw["metadata"]["annotations"]
    assert [FINALIZER] == raw["metadata"]["finalizers"]
    assert ("Create", "Succeeded", 100, "Successfully reconciled ContainerRuntime") == facts(raw)
    assert "lastError" not in raw["status"]
    assert raw["metadata"]["generation"] == raw["status"]["observedGeneration"]
    assert [SMR, pmr("a")] == shoot.names(MANAGED_RESOURCES)


def test_case_07_processing_is_visible_before_the_work(shoot, controller):
    with controller() as running, running.slow(shoot):
        shoot.deploy()
        raw = eventually(
            lambda: (raw := shoot.get()) and OPERATION not in raw["metadata"]["annotations"] and raw, what=shoot.get
        )

        assert [FINALIZER] == raw["metadata"]["finalizers"]
        assert ("Create", "Processing", 1, "Reconciling the ContainerRuntime") == facts(raw)
        assert 0 == raw["status"].get("observedGeneration", 0)
        assert [] == shoot.names(MANAGED_RESOURCES)


def test_case_08_a_second_reconcile_is_a_reconcile(shoot, controller):
    with controller():
        shoot.deploy()
        shoot.await_ready()
        asked = shoot.ask()
        raw = shoot.await_ready()

    assert ("Reconcile", "Succeeded") == facts(raw)[:2]
    second = asked["metadata"]["annotations"][TIMESTAMP][:19] + "Z"
    assert second <= raw["status"]["lastOperation"]["lastUpdateTime"]


def test_case_09_a_create_is_a_create_until_it_succeeds(shoot, controller):
    with controller():
        shoot.deploy(spec={"providerConfig": {"apiVersion": "some.group/v1alpha1", "kind": "GVisorConfiguration"}})
        assert "Create" == facts(shoot.await_state("Error"))[0]
        shoot.ask(spec={"providerConfig": configuration()})
        raw = shoot.await_ready()

    assert ("Create", "Succeeded") == facts(raw)[:2]
    assert "lastError" not in raw["status"]


def test_case_10_a_changed_spec_alone_triggers_nothing(shoot, controller, beacon):
    with controller() as running:
        shoot.deploy()
        shoot.await_ready()
        shoot.await_healthy()
        before = shoot.patch("a", {"spec": {"providerConfig": configuration(debug="true")}})
        resources = {name: version(shoot.resource(name)) for name in (SMR, pmr("a"))}
        beacon(shoot, running)

        assert version(before) == version(shoot.get())
        assert resources == {name: version(shoot.resource(name)) for name in resources}
        assert "observed generation outdated" == not_ready(shoot.get())


def test_case_11_a_healthy_object_is_left_alone_at_the_start(shoot, controller, beacon):
    with controller() as running:
        shoot.deploy()
        shoot.await_ready()
        shoot.await_healthy()
        before = version(shoot.get())
    with controller() as running:
        beacon(shoot, running)

    assert before == version(shoot.get())


@pytest.mark.parametrize("state", ["Error", "Processing"])
def test_case_12_an_unfinished_object_is_taken_up_at_the_start(shoot, controller, state):
    shoot.deploy(operation=None)
    last = {
        "type": "Create",
        "state": state,
        "progress": 50,
        "description": "",
        "lastUpdateTime": "2026-08-21T10:00:00Z",
    }
    shoot.patch("a", {"status": {"lastOperation": last}}, "status")
    with controller():
        raw = shoot.await_state("Succeeded")

    assert "Create" == facts(raw)[0]


def test_case_13_a_spec_that_changes_during_a_run_is_not_taken_for_observed(shoot, controller):
    with controller() as running:
        with running.slow(shoot):
            shoot.deploy()
            eventually(lambda: FINALIZER in shoot.get()["metadata"].get("finalizers", ()), what=shoot.get)
            shoot.patch("a", {"spec": {"providerConfig": configuration(debug="true")}})
        raw = shoot.await_state("Succeeded")
        assert (2, 1) == (raw["metadata"]["generation"], raw["status"]["observedGeneration"])
        assert "observed generation outdated" == not_ready(raw)

        shoot.ask()
        assert 2 == shoot.await_ready()["status"]["observedGeneration"]


def test_case_14_what_others_wrote_into_the_metadata_stays_as_it_is(shoot, controller):
    foreign = {"labels": {"example.com/l": "1"}, "finalizers": ["example.com/x"]}
    timestamps = []
    with controller():
        deployed = shoot.deploy(metadata=foreign)
        shoot.patch("a", {"metadata": {"annotations": {"example.com/a": "1"}}})
        timestamps.append((deployed["metadata"]["annotations"][TIMESTAMP], shoot.await_ready()))
        asked = shoot.ask()
        timestamps.append((asked["metadata"]["annotations"][TIMESTAMP], shoot.await_ready()))

    for written, raw in timestamps:
        assert {TIMESTAMP: written, "example.com/a": "1"} == raw["metadata"]["annotations"]
        assert {"example.com/l": "1"} == raw["metadata"]["labels"]
        assert {"example.com/x", FINALIZER} == set(raw["metadata"]["finalizers"])


def test_case_15_another_type_is_never_touched(shoot, controller, beacon):
    with controller() as running:
        before = shoot.deploy(spec={"type": "kata"})
        beacon(shoot, running)

    assert version(before) == version(shoot.get())
    assert pmr("a") not in shoot.names(MANAGED_RESOURCES)


@pytest.mark.parametrize(
    ("classes", "handled"), [((), {"none", "shoot"}), (("",), {"none", "shoot"}), (("seed",), {"seed"})]
)
def test_case_16_only_objects_of_the_wanted_classes_are_handled(shoot, controller, classes, handled):
    versions = {"none": shoot.deploy("none")}
    versions |= {name: shoot.deploy(name, spec={"class": name}) for name in ("shoot", "seed", "garden")}
    with controller(with_options(classes=classes)) as running:
        for name in handled:
            shoot.await_ready(name)
        running.await_quiet()

    assert handled == {name for name, raw in versions.items() if version(raw) != version(shoot.get(name))}


def test_case_17_without_a_cluster_nothing_is_written_and_with_one_it_goes_on(
    lonely_shoot, other_shoot, controller, beacon
):
    lonely = lonely_shoot
    with controller() as running:
        before = lonely.deploy()
        beacon(other_shoot, running)
        assert version(before) == version(lonely.get())

        lonely.add_cluster()
        lonely.await_ready()


def test_case_18_a_failed_shoot_is_left_alone_until_it_is_not(shoot, other_shoot, controller, beacon):
    shoot.change_shoot(status={"lastOperation": {"state": "Failed"}})
    with controller() as running:
        before = shoot.deploy()
        beacon(other_shoot, running)
        assert version(before) == version(shoot.get())
        assert [] == shoot.names(MANAGED_RESOURCES)

        shoot.change_shoot(status={"lastOperation": {"state": "Processing"}})
        shoot.patch("a", {"metadata": {"annotations": {TIMESTAMP: nanoseconds()}}})
        shoot.await_ready()


def test_case_19_a_hibernated_shoot_is_reconciled_without_its_api_server(shoot, controller):
    shoot.change_shoot(spec={"hibernation": {"enabled": True}}, status={"isHibernated": True})
    assert [] == shoot.names(SECRETS)
    with controller():
        shoot.deploy()
        shoot.await_ready()


def test_case_20_without_nodes_it_is_ready_and_nothing_is_run(shoot, controller, children):
    with controller():
        before = children()
        shoot.deploy()
        shoot.await_ready()

        assert before == children()


def test_case_21_wait_for_state_means_hands_off(shoot, controller, beacon):
    with controller() as running:
        before = shoot.deploy(operation="wait-for-state")
        beacon(shoot, running)

    assert version(before) == version(shoot.get())
    assert pmr("a") not in shoot.names(MANAGED_RESOURCES)


def test_case_22_a_finalizer_that_comes_between_read_and_write_is_kept(shoot, controller, interrupted_client):
    def meanwhile(request):
        if "finalizers" in (request.get("metadata") or {}):
            shoot.patch("a", {"metadata": {"finalizers": ["example.com/x"]}})

    with controller(client=interrupted_client(meanwhile)):
        shoot.deploy()
        raw = shoot.await_ready()

    assert {"example.com/x", FINALIZER} == set(raw["metadata"]["finalizers"])


def test_case_23_a_request_from_the_future_is_not_fulfilled_until_it_is_asked_again(shoot, controller):
    future = datetime.now(UTC) + timedelta(seconds=600)
    with controller():
        shoot.deploy(timestamp=nanoseconds(future))
        raw = shoot.await_state("Succeeded")
        assert "last operation is older than the request" == not_ready(raw)

        shoot.ask()
        shoot.await_ready()


def test_case_24_two_pools_at_once_share_one_resource_and_have_one_each(shoot, controller):
    with controller(), Film(shoot.client, shoot.namespace, CONTAINER_RUNTIMES) as film:
        started = [threading.Thread(target=shoot.deploy, args=(pool,)) for pool in ("a", "b")]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()
        shoot.await_ready("a")
        shoot.await_ready("b")

    assert [SMR, pmr("a"), pmr("b")] == shoot.names(MANAGED_RESOURCES)
    assert 1 == len(shoot.resource(SMR)["spec"]["secretRefs"])
    assert [] == [raw["status"]["lastError"] for *_, raw in film.ordered() if "lastError" in raw.get("status", {})]


def test_case_25_an_old_error_is_gone_while_a_new_run_is_under_way(shoot, controller):
    with controller() as running:
        shoot.deploy(spec={"providerConfig": {"apiVersion": "some.group/v1alpha1", "kind": "GVisorConfiguration"}})
        assert shoot.await_state("Error")["status"]["lastError"]
        with running.slow(shoot):
            shoot.ask(spec={"providerConfig": configuration()})
            raw = shoot.await_state("Processing")

            assert "lastError" not in raw["status"]


def test_case_26_a_controller_that_was_killed_in_its_work_is_replaced_by_one_that_ends_it(shoot, process, delayed):
    with process() as first:
        first.await_ready()
        with delayed(MANAGED_RESOURCES, shoot):
            shoot.deploy()
            before = shoot.await_state("Processing")
            first.end(signal.SIGKILL)
            assert "Processing" == facts(shoot.get())[1]
    with process():
        raw = shoot.await_ready()

    assert "Create" == facts(before)[0] == facts(raw)[0]
