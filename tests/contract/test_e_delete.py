"""Cases 47 to 59: deletions, with a resource manager that acts, one that is stuck, and none to wait for.

Nobody looks after nodes here; 57 to 59 with somebody who does are in ``test_h_nodes.py``.
"""

from __future__ import annotations

import time

import pytest
from landscape import FINALIZER, SMR, Film, facts, nanoseconds, pmr, version, with_options
from patience import eventually

from orchestrator.controller.kinds import CONTAINER_RUNTIMES, MANAGED_RESOURCES
from orchestrator.kube.shoot_credentials import SECRETS

GARDENLETS = 180  # seconds that gardenlet waits


@pytest.fixture
def reconciled(shoot, controller):
    """Makes a Shoot with these pools, all ready and applied; the controller runs on."""
    with controller(with_options(patience=2)) as running:

        def make(*pools):
            for pool in pools:
                shoot.deploy(pool)
            for pool in pools:
                shoot.await_ready(pool)
                shoot.await_healthy(pool)
            running.await_quiet()
            shoot.running = running
            return shoot

        yield make


def operations(film, name="gvisor-a"):
    """What the last operation said one after the other."""
    said = [
        facts(raw)
        for *_, kind, raw in film.ordered()
        if kind == "ContainerRuntime" and raw["metadata"]["name"] == name and "lastOperation" in raw.get("status", {})
    ]
    return [one for number, one in enumerate(said) if number == 0 or one != said[number - 1]]


@pytest.mark.feature("G10")
def test_case_47_the_last_pool_takes_everything_with_it_in_the_right_order(reconciled):
    shoot = reconciled("a")
    secrets = {name: shoot.secret_of(name)["metadata"]["name"] for name in (SMR, pmr("a"))}
    with Film(shoot.client, shoot.namespace, CONTAINER_RUNTIMES, MANAGED_RESOURCES, SECRETS) as film:
        shoot.delete()
        shoot.await_gone()
        film.until(lambda events: any((what, kind) == ("DELETED", "ContainerRuntime") for _, what, kind, _ in events))

    assert ("Delete", "Processing", 1, "Deleting the ContainerRuntime") in operations(film)
    assert ("Delete", "Succeeded", 100, "Successfully deleted ContainerRuntime") == operations(film)[-1]
    order = [
        film.moment("DELETED", kind, name)
        for kind, name in (
            ("Secret", secrets[pmr("a")]),
            ("ManagedResource", pmr("a")),
            ("Secret", secrets[SMR]),
            ("ManagedResource", SMR),
            ("ContainerRuntime", "gvisor-a"),
        )
    ]
    assert order == sorted(order)
    assert shoot.runtime_class() is None


def test_case_48_of_two_pools_only_the_deleted_one_goes(reconciled):
    shoot = reconciled("a", "b")
    before = version(shoot.get("b")), shoot.resource(SMR)["metadata"]["generation"]
    shoot.delete("a")
    shoot.await_gone("a")
    shoot.running.await_quiet()

    assert [SMR, pmr("b")] == shoot.names(MANAGED_RESOURCES)
    assert before == (version(shoot.get("b")), shoot.resource(SMR)["metadata"]["generation"])


def test_case_49_two_pools_that_are_deleted_at_once_both_go(reconciled):
    shoot = reconciled("a", "b")
    shoot.delete("a")
    shoot.delete("b")
    shoot.await_gone("a", GARDENLETS)
    shoot.await_gone("b", GARDENLETS)

    assert [] == shoot.names(MANAGED_RESOURCES)


@pytest.mark.feature("G10")
def test_case_50_a_stuck_resource_manager_is_an_error_in_time_and_is_waited_for(reconciled, stuck):
    shoot = reconciled("a")
    with stuck():
        shoot.delete()
        raw = shoot.await_state("Error", deadline=GARDENLETS)
        assert ("Delete", "Error", 50) == facts(raw)[:3]
        assert facts(raw)[3].startswith("Error deleting ContainerRuntime: ")
        assert pmr("a") in facts(raw)[3]
        assert ["ERR_CLEANUP_CLUSTER_RESOURCES"] == raw["status"]["lastError"]["codes"]
        assert FINALIZER in raw["metadata"]["finalizers"]
    shoot.await_gone(deadline=GARDENLETS)


@pytest.mark.feature("G11")
@pytest.mark.parametrize("confirmed", ["true", "1", "T"])
def test_case_51_a_forced_deletion_waits_for_nobody(reconciled, stuck, confirmed):
    shoot = reconciled("a")
    with stuck():
        shoot.change_shoot(metadata={"annotations": {"confirmation.gardener.cloud/force-deletion": confirmed}})
        shoot.delete()
        shoot.await_gone()

        held = shoot.resource(pmr("a"))["metadata"]
        assert held["finalizers"]
        assert held["deletionTimestamp"]
    eventually(lambda: not shoot.names(MANAGED_RESOURCES), what=lambda: shoot.names(MANAGED_RESOURCES))


def test_case_52_without_our_finalizer_nothing_is_done(reconciled, beacon):
    shoot = reconciled("a")
    shoot.patch("a", {"metadata": {"finalizers": ["example.com/x"]}})
    shoot.delete()
    before = version(shoot.get())
    beacon(shoot, shoot.running)

    assert before == version(shoot.get())
    assert {SMR, pmr("a")} <= set(shoot.names(MANAGED_RESOURCES))


def test_case_53_with_nothing_to_delete_it_just_goes(shoot, controller):
    shoot.deploy(operation=None, metadata={"finalizers": [FINALIZER]})
    shoot.delete()
    with controller(), Film(shoot.client, shoot.namespace, CONTAINER_RUNTIMES) as film:
        shoot.await_gone()

    assert "Error" not in {state for _, state, *_ in operations(film)}


def test_case_54_a_new_timestamp_is_a_new_attempt(reconciled, stuck):
    shoot = reconciled("a")
    with stuck():
        shoot.delete()
        first = shoot.await_state("Error")["status"]["lastOperation"]["lastUpdateTime"]
        shoot.running.controller.queue.drain(10)
        shoot.patch("a", {"metadata": {"annotations": {"gardener.cloud/timestamp": nanoseconds()}}})

        shoot.await_state("Processing")
        second = shoot.await_state("Error")["status"]["lastOperation"]["lastUpdateTime"]
        assert first < second
    shoot.await_gone()


def test_case_55_a_failed_shoot_is_not_deleted_from(reconciled, other_shoot, beacon, stuck):
    shoot = reconciled("a")
    shoot.change_shoot(status={"lastOperation": {"state": "Failed"}})
    seen(shoot, failed=True)
    shoot.delete()
    before = version(shoot.get())
    with stuck():  # of two Shoots in one API server it would keep one RuntimeClass for both
        beacon(other_shoot, shoot.running)
        other_shoot.clear()
    assert before == version(shoot.get())
    assert [SMR, pmr("a")] == shoot.names(MANAGED_RESOURCES)

    shoot.change_shoot(status={"lastOperation": {"state": "Processing"}})
    shoot.patch("a", {"metadata": {"annotations": {"gardener.cloud/timestamp": nanoseconds()}}})
    shoot.await_gone()


def seen(shoot, *, failed):
    """Wait until the controller has seen how the Shoot is; gardenlet does not act in the same millisecond either."""
    controller = shoot.running.controller
    eventually(lambda: controller._cluster_of(shoot.namespace).shoot.failed is failed)


def test_case_56_a_new_pool_survives_the_deletion_of_the_last(reconciled, stuck):
    shoot = reconciled("a")
    with stuck():
        shoot.delete("a")
        eventually(lambda: shoot.resource(pmr("a"))["metadata"].get("deletionTimestamp"))
    eventually(lambda: (one := shoot.resource(SMR)) is None or one["metadata"].get("deletionTimestamp"))
    shoot.deploy("b")
    shoot.await_gone("a")
    shoot.await_ready("b")

    assert [SMR, pmr("b")] == shoot.names(MANAGED_RESOURCES)
    assert "deletionTimestamp" not in shoot.resource(SMR)["metadata"]
    eventually(shoot.runtime_class)


@pytest.mark.parametrize(
    "why",
    [
        {"metadata": {"deletionTimestamp": "2026-08-21T10:00:00Z"}},
        {"spec": {"hibernation": {"enabled": True}}},
        {"metadata": {"annotations": {"confirmation.gardener.cloud/force-deletion": "true"}}},
    ],
    ids=["deleting", "hibernated", "forced"],
)
def test_case_58_no_node_is_asked_where_that_is_pointless(reconciled, why, children):
    shoot = reconciled("a")
    shoot.change_shoot(**why)
    before = children()
    shoot.delete()
    shoot.await_gone()

    assert before == children()


def test_case_59_a_deletion_keeps_gardenlets_time_also_where_no_node_answers(reconciled):
    shoot = reconciled("a")
    shoot.add_node("n1", **{"worker.gardener.cloud/pool": "a", "worker.gardener.cloud/cri-name": "containerd"})
    begun = time.monotonic()
    shoot.delete()
    shoot.await_gone(deadline=GARDENLETS)

    assert time.monotonic() - begun < GARDENLETS
