"""The steps of a reconcile: what is missing, in which order, and nothing else."""

from __future__ import annotations

import pytest
from gardener_objects import CONFIGURATION, NAMESPACE, container_runtime
from seed_model import after, objects, settled, state

from orchestrator.api.container_runtime import ContainerRuntime
from orchestrator.api.merge_patch import merge
from orchestrator.controller.installation import Installation
from orchestrator.controller.provision import steps
from orchestrator.controller.seed_objects import seed_objects
from orchestrator.controller.step import AwaitGone, Change, Create, Delete

SMR = "extension-runtime-gvisor"
PMR = "extension-runtime-gvisor-installation-a"
COLLECTABLE = "resources.gardener.cloud/garbage-collectable-reference"


def wanted(pool="a", **flags):
    raw = container_runtime(pool)
    raw["spec"]["providerConfig"] = {**CONFIGURATION, "configFlags": flags}
    return seed_objects(ContainerRuntime.read(raw), Installation())


WANTED = wanted(debug="true")
OTHER = wanted()


def provisioned(objects_=WANTED, before=None):
    there, _ = settled(before or state(), lambda found: steps(objects_.bundles, found))
    return there


def changed(of, name, **patch):
    """A state in which a ManagedResource or Secret was changed by somebody else."""
    return state(*(merge(one, patch) if one["metadata"]["name"] == name else one for one in objects(of)))


def test_case_06_all_that_is_wanted_is_made():
    assert {SMR, PMR} == set(provisioned().managed_resources)
    assert {WANTED.shared.secret_name, WANTED.pool.secret_name} == set(provisioned().secrets)


def test_case_24_two_pools_have_one_shared_and_one_each():
    both = provisioned(wanted("b"), provisioned())

    assert {SMR, PMR, "extension-runtime-gvisor-installation-b"} == set(both.managed_resources)
    assert 1 == len(both.managed_resources[SMR].secret_names)
    assert () == steps(WANTED.bundles, both)


def test_case_41_what_is_there_is_not_written_again():
    assert () == steps(WANTED.bundles, provisioned())


def test_case_43_a_change_is_a_new_secret_and_the_old_one_stays_for_the_collector():
    before = provisioned(OTHER)
    there = provisioned(WANTED, before)
    pool = there.managed_resources[PMR]

    assert (WANTED.pool.secret_name,) == pool.secret_names
    assert [WANTED.pool.secret_name] == [
        value for key, value in pool.metadata.annotations.items() if key.startswith("reference.")
    ]
    assert "true" == there.secrets[OTHER.pool.secret_name]["metadata"]["labels"][COLLECTABLE]
    assert before.managed_resources[SMR].raw == there.managed_resources[SMR].raw


def test_case_43_an_old_secret_without_the_label_gets_it_after_it_is_out_of_use():
    before = changed(provisioned(OTHER), OTHER.pool.secret_name, metadata={"labels": None})
    taken = steps(WANTED.bundles, before)

    assert Change("Secret", OTHER.pool.secret_name, {"metadata": {"labels": {COLLECTABLE: "true"}}}) == taken[-1]
    assert Change is type(taken[-2])
    assert PMR == taken[-2].name
    assert () == steps(WANTED.bundles, after(before, taken))


@pytest.mark.parametrize(
    "drift",
    [
        {"spec": {"keepObjects": True}},
        {"spec": {"secretRefs": [{"name": WANTED.shared.secret_name}, {"name": "another"}]}},
        {"spec": {"class": "seed"}},
        {"spec": {"injectLabels": {"shoot.gardener.cloud/no-cleanup": None, "x": "y"}}},
        {"metadata": {"labels": {"origin": "gardener"}}},
        {"metadata": {"annotations": {"reference.resources.gardener.cloud/secret-00000000": "another"}}},
        {"metadata": {"annotations": dict.fromkeys(WANTED.shared.managed_resource["metadata"]["annotations"])}},
    ],
)
def test_case_44_drift_of_a_managed_resource_is_repaired_and_the_labels_of_others_survive(drift):
    foreign = {"labels": {"foreign": "l"}, "annotations": {"foreign": "a"}}
    sound = changed(provisioned(), SMR, metadata=foreign, status={"observedGeneration": 3})
    there = provisioned(WANTED, changed(sound, SMR, **drift))

    assert sound.managed_resources[SMR].raw == there.managed_resources[SMR].raw


def test_case_45_a_secret_is_written_before_the_managed_resource_that_references_it():
    for before in (state(), provisioned(OTHER)):
        written = set()
        for step in steps(WANTED.bundles, before):
            raw = step.raw if isinstance(step, Create) else step.patch
            if isinstance(step, Create) and raw["kind"] == "Secret":
                written.add(raw["metadata"]["name"])
            else:
                referenced = {one["name"] for one in raw["spec"]["secretRefs"]}
                assert referenced <= written | set(before.secrets)


def test_case_56_a_managed_resource_that_is_going_is_waited_for_and_made_anew():
    going = changed(provisioned(OTHER), SMR, metadata={"deletionTimestamp": "now"})

    assert AwaitGone(SMR) == steps(OTHER.bundles, going)[0]
    there, _ = settled(going, lambda found: steps(OTHER.bundles, found))
    assert not there.managed_resources[SMR].deleting
    assert {SMR, PMR} == set(there.managed_resources)


def test_a_secret_that_is_gone_is_made_again():
    there = provisioned()
    robbed = state(*(one for one in objects(there) if one["metadata"]["name"] != WANTED.shared.secret_name))

    assert (Create(WANTED.shared.secret),) == steps(WANTED.bundles, robbed)


@pytest.mark.parametrize(
    "drift", [{"metadata": {"labels": None}}, {"immutable": None}, {"metadata": {"labels": {COLLECTABLE: "no"}}}]
)
def test_a_secret_that_lacks_what_makes_it_ours_is_repaired(drift):
    there = provisioned(WANTED, changed(provisioned(), WANTED.pool.secret_name, **drift))

    assert provisioned().secrets == there.secrets


def test_an_immutable_secret_of_our_name_with_another_content_is_replaced():
    name = WANTED.pool.secret_name
    forged = changed(provisioned(), name, data={"config.yaml": "Zm9yZ2Vk", "more.yaml": "eA=="})

    assert (Delete("Secret", name), Create(WANTED.pool.secret)) == steps(WANTED.bundles, forged)


def test_the_upstream_extensions_objects_are_taken_over_where_they_are():
    """In upstream's shape: two Secrets of other content, the same names of ManagedResources."""
    upstream = []
    for name in (SMR, PMR):
        secret = f"managedresource-{name}-0badc0de"
        key = "reference.resources.gardener.cloud/secret-11111111"
        upstream += [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": secret, "namespace": NAMESPACE, "labels": {COLLECTABLE: "true"}},
                "type": "Opaque",
                "immutable": True,
                "data": {"config.yaml": "a2luZDogRGFlbW9uU2V0"},
            },
            {
                "apiVersion": "resources.gardener.cloud/v1alpha1",
                "kind": "ManagedResource",
                "metadata": {
                    "name": name,
                    "namespace": NAMESPACE,
                    "uid": f"uid-of-{name}",
                    "labels": {"origin": "extension-runtime-gvisor"},
                    "annotations": {key: secret},
                },
                "spec": {
                    "injectLabels": {"shoot.gardener.cloud/no-cleanup": "true"},
                    "keepObjects": False,
                    "secretRefs": [{"name": secret}],
                },
            },
        ]
    taken = steps(WANTED.bundles, state(*upstream))

    assert ["Secret", SMR, "Secret", PMR] == [
        step.raw["kind"] if isinstance(step, Create) else step.name for step in taken
    ]
    assert {"annotations"} == taken[1].patch["metadata"].keys()
    assert {"secretRefs"} == taken[1].patch["spec"].keys()
    there = provisioned(WANTED, state(*upstream))
    assert f"uid-of-{SMR}" == there.managed_resources[SMR].metadata.uid
    assert (WANTED.shared.secret_name,) == there.managed_resources[SMR].secret_names
