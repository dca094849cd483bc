"""Cases 60 to 67: a Shoot that moves from one seed to another."""

from __future__ import annotations

import pytest
from landscape import FINALIZER, SMR, Film, configuration, facts, pmr, version, with_options
from patience import eventually

from orchestrator.controller.kinds import CONTAINER_RUNTIMES, MANAGED_RESOURCES

MIGRATED = ("Migrate", "Succeeded", 100, "Successfully migrated ContainerRuntime")
OPERATION = "gardener.cloud/operation"


@pytest.fixture
def reconciled(shoot, controller):
    """A Shoot after case 6 with everything applied; the controller runs on."""
    with controller(with_options(patience=2)) as running:
        shoot.deploy()
        shoot.await_ready()
        shoot.await_healthy()
        running.await_quiet()
        shoot.running = running
        yield shoot


def migrated(shoot):
    """Migrate, and wait until gardenlet would go on."""
    shoot.ask(operation="migrate")
    raw = eventually(
        lambda: (raw := shoot.get()) and OPERATION not in raw["metadata"]["annotations"] and raw, what=shoot.get
    )
    shoot.running.await_quiet()
    return raw


@pytest.mark.feature("G11")
def test_case_60_a_migration_leaves_the_shoot_what_it_has_and_the_seed_nothing(reconciled, children):
    reconciled.patch("a", {"metadata": {"finalizers": [FINALIZER, "example.com/x"]}})
    before = children()
    with Film(reconciled.client, reconciled.namespace, CONTAINER_RUNTIMES, MANAGED_RESOURCES) as film:
        raw = migrated(reconciled)
        film.until(lambda events: OPERATION not in last_of(events, "ContainerRuntime")["metadata"]["annotations"])

    assert MIGRATED == facts(raw)
    assert "finalizers" not in raw["metadata"]
    assert [] == reconciled.names(MANAGED_RESOURCES)
    for name in (SMR, pmr("a")):
        kept = first(film, name, lambda one: one["spec"]["keepObjects"])
        going = first(film, name, lambda one: "deletionTimestamp" in one["metadata"])
        assert kept < going
    mine = "gvisor-a"
    assert (
        first(film, mine, lambda one: MIGRATED == facts(one))
        < first(film, mine, lambda one: "finalizers" not in one["metadata"])
        < first(film, mine, lambda one: OPERATION not in one["metadata"]["annotations"])
    )
    assert reconciled.runtime_class() is not None
    assert before == children()


def last_of(events, kind):
    return [raw for *_, of, raw in events if of == kind][-1]


def first(film, name, condition):
    return next(at for at, _, _, raw in film.ordered() if raw["metadata"]["name"] == name and condition(raw))


def test_case_61_a_migration_with_nothing_to_let_go_succeeds(shoot, controller):
    with controller():
        shoot.deploy(operation="migrate")
        raw = shoot.await_state("Succeeded")

    assert MIGRATED == facts(raw)


def test_case_62_a_migration_that_is_stuck_is_an_error_and_is_completed_later(reconciled, stuck):
    with stuck():
        reconciled.ask(operation="migrate")
        raw = reconciled.await_state("Error")
        assert ("Migrate", "Error", 50) == facts(raw)[:3]
        assert "migrate" == raw["metadata"]["annotations"][OPERATION]
        assert [FINALIZER] == raw["metadata"]["finalizers"]
    raw = reconciled.await_state("Succeeded")
    assert "Migrate" == facts(raw)[0]


def test_case_63_a_migration_comes_before_a_deletion(reconciled):
    with Film(reconciled.client, reconciled.namespace, CONTAINER_RUNTIMES) as film:
        with reconciled.running.slow(reconciled):
            reconciled.ask(operation="migrate")
            reconciled.delete()
        reconciled.await_gone()
        film.until(lambda events: any(what == "DELETED" for _, what, _, _ in events))

    assert MIGRATED == facts(last_of(film.ordered(), "ContainerRuntime"))
    assert reconciled.runtime_class() is not None


def test_case_64_after_a_migration_an_order_is_only_taken(reconciled):
    before = migrated(reconciled)["status"]["lastOperation"]
    reconciled.ask()
    raw = eventually(
        lambda: (raw := reconciled.get()) and OPERATION not in raw["metadata"]["annotations"] and raw,
        what=reconciled.get,
    )

    assert before == raw["status"]["lastOperation"]
    assert [] == reconciled.names(MANAGED_RESOURCES)


def test_case_65_after_a_migration_a_deletion_is_nobodys_business(reconciled):
    migrated(reconciled)
    reconciled.delete()

    assert reconciled.get() is None
    assert reconciled.runtime_class() is not None


@pytest.mark.feature("G11")
def test_case_66_a_restore_waits_for_its_state_and_keeps_it(shoot, controller, beacon):
    with controller() as running:
        shoot.deploy(operation="wait-for-state")
        shoot.patch("a", {"status": {"state": {"k": "v"}}}, "status")
        before = version(shoot.get())
        beacon(shoot, running)
        assert before == version(shoot.get())

        with Film(shoot.client, shoot.namespace, CONTAINER_RUNTIMES) as film:
            shoot.ask(operation="restore")
            raw = shoot.await_ready()
            film.until(lambda events: OPERATION not in last_of(events, "ContainerRuntime")["metadata"]["annotations"])

    assert ("Restore", "Succeeded") == facts(raw)[:2]
    assert [FINALIZER] == raw["metadata"]["finalizers"]
    assert {"k": "v"} == raw["status"]["state"]
    assert first(film, "gvisor-a", is_restored) < first(
        film, "gvisor-a", lambda one: is_restored(one) and OPERATION not in one["metadata"]["annotations"]
    )
    assert {SMR, pmr("a")} <= set(shoot.names(MANAGED_RESOURCES))


def is_restored(raw):
    return "lastOperation" in raw.get("status", {}) and facts(raw)[:2] == ("Restore", "Succeeded")


def test_case_67_a_restore_that_fails_keeps_its_order(shoot, controller):
    with controller():
        shoot.deploy(
            operation="restore",
            spec={"providerConfig": {"apiVersion": "some.group/v1", "kind": "GVisorConfiguration"}},
        )
        raw = shoot.await_state("Error")
        assert ("Restore", "Error", 50) == facts(raw)[:3]
        assert "restore" == raw["metadata"]["annotations"][OPERATION]
        assert ["ERR_CONFIGURATION_PROBLEM"] == raw["status"]["lastError"]["codes"]

        shoot.patch("a", {"spec": {"providerConfig": configuration()}})
        raw = shoot.await_ready()
    assert "Restore" == facts(raw)[0]
