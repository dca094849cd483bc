"""The steps of deletions and of a migration."""

from __future__ import annotations

import pytest
from gardener_objects import cluster, container_runtime
from seed_model import after, objects, settled, state

from orchestrator.api.cluster import Cluster
from orchestrator.api.container_runtime import ContainerRuntime
from orchestrator.api.managed_resource import ManagedResource
from orchestrator.api.merge_patch import merge
from orchestrator.controller import provision
from orchestrator.controller.installation import Installation
from orchestrator.controller.removal import delete_steps, migrate_steps, nodes_stay, still_there
from orchestrator.controller.seed_objects import seed_objects
from orchestrator.controller.status import describe
from orchestrator.controller.step import AwaitGone, Change, Delete

SMR = "extension-runtime-gvisor"
PMR_A = "extension-runtime-gvisor-installation-a"
PMR_B = "extension-runtime-gvisor-installation-b"
DELETING = {"deletionTimestamp": "2026-08-21T10:00:00Z"}


def runtime(pool, **changes):
    return ContainerRuntime.read(container_runtime(pool, **changes))


A, B = runtime("a"), runtime("b")


def provisioned(*runtimes):
    there = state()
    for one in runtimes:
        wanted = seed_objects(one, Installation())
        there, _ = settled(there, lambda found, wanted=wanted: provision.steps(wanted.bundles, found))
    return there


def deleted(one, others, there, **how):
    return settled(there, lambda found: delete_steps(one, others, found, **how))


def without_secrets(steps):
    return [step for step in steps if not (isinstance(step, Delete) and step.kind == "Secret")]


def test_case_47_the_last_pool_goes_first_itself_then_what_all_share_each_awaited():
    there, taken = deleted(A, [A], provisioned(A))

    assert [] == objects(there)
    assert [
        Delete("ManagedResource", PMR_A),
        AwaitGone(PMR_A),
        Delete("ManagedResource", SMR),
        AwaitGone(SMR),
    ] == without_secrets(taken)


def test_case_47_secrets_go_before_their_managed_resource():
    before = provisioned(A)
    first = delete_steps(A, [A], before)

    assert [Delete("Secret", name) for name in before.managed_resources[PMR_A].secret_names] == list(first[:1])


def test_case_48_of_two_pools_one_goes_and_nothing_else():
    before = provisioned(A, B)
    there, taken = deleted(A, [A, B], before)

    assert {SMR, PMR_B} == set(there.managed_resources)
    assert {SMR, PMR_A} - {step.name for step in taken} == {SMR}
    assert before.managed_resources[PMR_B].raw == there.managed_resources[PMR_B].raw
    assert before.managed_resources[SMR].raw == there.managed_resources[SMR].raw
    assert set(before.secrets) - set(there.secrets) == set(before.managed_resources[PMR_A].secret_names)


def test_case_49_of_two_pools_deleted_at_once_either_takes_what_they_share():
    both = [runtime("a", metadata=DELETING), runtime("b", metadata=DELETING)]
    for first, second in (both, both[::-1]):
        there, _ = deleted(first, both, provisioned(A, B))
        there, _ = deleted(second, both[1:], there)
        assert [] == objects(there)


@pytest.mark.parametrize(
    ("other", "kept"),
    [
        (runtime("b"), True),
        (runtime("b", metadata=DELETING), False),
        (runtime("b", spec={"type": "kata"}), False),
        (A, False),
    ],
)
def test_what_pools_share_stays_for_another_living_pool_with_gvisor(other, kept):
    there, _ = deleted(A, [other], provisioned(A))

    assert kept is (SMR in there.managed_resources)


def test_case_50_a_stuck_managed_resource_is_waited_for_again_and_named_with_what_the_resource_manager_says():
    before = provisioned(A)
    going = after(before, delete_steps(A, [A], before)[:-1])

    assert (AwaitGone(PMR_A),) == delete_steps(A, [A], going)
    condition = {"type": "ResourcesApplied", "status": "Progressing", "reason": "DeletionPending", "message": "cm/x"}
    resource = ManagedResource.read(merge(going.managed_resources[PMR_A].raw, {"status": {"conditions": [condition]}}))
    text = describe(still_there(resource))
    assert f"shoot--foo--bar/{PMR_A}" in text
    assert "ResourcesApplied is Progressing, DeletionPending: cm/x" in text
    assert "To do: " in text


def test_a_resource_manager_that_says_nothing_is_told_so():
    assert "does not say why" in describe(still_there(provisioned(A).managed_resources[PMR_A]))


def test_case_51_a_forced_deletion_waits_for_nobody():
    before = provisioned(A)
    there, taken = deleted(A, [A], before, wait=False)

    assert [Delete("ManagedResource", PMR_A), Delete("ManagedResource", SMR)] == without_secrets(taken)
    assert all(resource.deleting for resource in there.managed_resources.values())


def test_case_51_a_forced_deletion_leaves_what_other_pools_need():
    there, _ = deleted(A, [A, B], provisioned(A, B), wait=False)

    assert [PMR_A] == [name for name, one in there.managed_resources.items() if one.deleting]


def test_case_53_where_nothing_is_there_nothing_is_to_do():
    assert () == delete_steps(A, [A], state())
    assert () == delete_steps(A, [A], state(), wait=False)


def test_a_secret_of_the_old_name_goes_too():
    old = {"kind": "Secret", "metadata": {"name": f"managedresource-{PMR_A}"}}

    assert (Delete("Secret", f"managedresource-{PMR_A}"),) == delete_steps(A, [A], state(old))


def test_case_56_a_pool_that_came_while_the_last_was_deleted_keeps_what_they_share():
    before = provisioned(A)
    first = delete_steps(A, [A], before)
    there, _ = deleted(A, [A, B], after(before, first))

    assert [SMR] == list(there.managed_resources)


@pytest.mark.parametrize(
    ("shoot", "word"),
    [
        ({"metadata": DELETING}, "deleted"),
        ({"spec": {"hibernation": {"enabled": True}}}, "hibernated"),
        ({"status": {"isHibernated": True}}, "hibernated"),
        ({"metadata": {"annotations": {"confirmation.gardener.cloud/force-deletion": "true"}}}, "force"),
    ],
)
def test_case_58_no_node_is_asked_where_nodes_go_or_are_gone(shoot, word):
    assert word in nodes_stay(Cluster.read(cluster(**shoot)))
    assert "" == nodes_stay(Cluster.read(cluster()))


def test_case_60_a_migration_keeps_the_objects_of_the_shoot_before_it_deletes():
    there, taken = settled(provisioned(A), lambda found: migrate_steps(A, found))
    keep = {"spec": {"keepObjects": True}}

    assert [] == objects(there)
    assert [
        Change("ManagedResource", PMR_A, keep),
        Delete("ManagedResource", PMR_A),
        AwaitGone(PMR_A),
        Change("ManagedResource", SMR, keep),
        Delete("ManagedResource", SMR),
        AwaitGone(SMR),
    ] == without_secrets(taken)


def test_case_60_a_managed_resource_that_is_deleted_already_still_learns_to_keep_its_objects():
    before = provisioned(A)
    going = after(before, [Delete("ManagedResource", PMR_A)])

    assert [Change("ManagedResource", PMR_A, {"spec": {"keepObjects": True}}), AwaitGone(PMR_A)] == without_secrets(
        migrate_steps(A, going)
    )


def test_case_61_a_migration_without_managed_resources_has_nothing_to_do():
    assert () == migrate_steps(A, state())


def test_case_62_a_migration_that_is_stuck_waits_and_leaves_what_all_share_until_then():
    before = provisioned(A)
    going = after(before, migrate_steps(A, before)[:-1])

    assert (AwaitGone(PMR_A),) == migrate_steps(A, going)


def test_case_66_after_a_restore_everything_is_there_again():
    wanted = seed_objects(A, Installation())
    migrated, _ = settled(provisioned(A), lambda found: migrate_steps(A, found))
    there, _ = settled(migrated, lambda found: provision.steps(wanted.bundles, found))

    assert provisioned(A) == there
