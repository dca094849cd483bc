"""Views: what they read of raw objects, and that the raw objects survive."""

from __future__ import annotations

import copy

import pytest
import yaml
from gardener_objects import README_CONTAINER_RUNTIME, cluster, container_runtime, node
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.cluster import Cluster, essential
from orchestrator.api.container_runtime import ContainerRuntime
from orchestrator.api.managed_resource import ManagedResource
from orchestrator.api.merge_patch import merge
from orchestrator.api.node import Node
from orchestrator.errors import InvalidInputError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=6,
)


def test_the_readmes_container_runtime_is_read_as_it_stands():
    runtime = ContainerRuntime.read(yaml.safe_load(README_CONTAINER_RUNTIME))

    assert "my-container-runtime" == runtime.name
    assert "gvisor" == runtime.spec.type
    assert "shoot" == runtime.spec.extension_class
    assert "/var/bin/containerruntimes" == runtime.spec.binary_path
    assert "worker-ubuntu" == runtime.spec.worker_pool.name
    assert {"worker.gardener.cloud/pool": "worker-xyz"} == runtime.spec.worker_pool.selector.match_labels
    assert {"net-raw": "true"} == runtime.spec.provider_config["configFlags"]


@given(unknown=JSON)
def test_what_no_view_knows_survives_a_read_and_a_patch(unknown):
    raw = container_runtime(metadata={"managedFields": [{"manager": "x"}]})
    raw["spec"]["workerPool"]["future"] = raw["spec"]["future"] = raw["metadata"]["future"] = raw["future"] = unknown
    before = copy.deepcopy(raw)
    runtime = ContainerRuntime.read(raw)

    written = merge(runtime.raw, {"metadata": {"annotations": {"gardener.cloud/operation": None}}})

    assert before == raw
    del before["metadata"]["annotations"]["gardener.cloud/operation"]
    assert before == written


def test_null_means_absent():
    raw = container_runtime()
    raw["metadata"] |= {"finalizers": None, "deletionTimestamp": None, "labels": None}
    raw["status"] = {"lastOperation": None, "conditions": None, "observedGeneration": None}
    runtime = ContainerRuntime.read(raw)

    assert () == runtime.metadata.finalizers
    assert not runtime.deleting
    assert runtime.status.last_operation is None
    assert 0 == runtime.status.observed_generation


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"workerPool": None}, "spec.workerPool"),
        ({"binaryPath": None}, "spec.binaryPath"),
        ({"type": None}, "spec.type"),
        ({"workerPool": {"selector": None}}, "spec.workerPool.selector"),
        ({"workerPool": {"name": 7}}, "spec.workerPool.name"),
        ({"workerPool": {"selector": {"matchExpressions": [{"key": "x", "operator": "Near"}]}}}, "operator"),
    ],
)
def test_an_object_that_its_schema_forbids_is_refused_with_its_name_and_the_field(spec, named):
    with pytest.raises(InvalidInputError, match="ContainerRuntime shoot--foo--bar/gvisor-a is not what") as caught:
        ContainerRuntime.read(container_runtime(spec=spec))

    assert named in caught.value.why


def test_what_is_no_object_is_refused():
    with pytest.raises(InvalidInputError, match="Cluster without metadata"):
        Cluster.read(["no object"])


def test_whatever_a_cluster_lacks_is_absent():
    shoot = Cluster.read({"metadata": {"name": "shoot--foo--bar"}, "spec": {"shoot": None}}).shoot

    assert (False, False, False, False) == (shoot.failed, shoot.hibernating, shoot.force_deletion, shoot.deleting)


@pytest.mark.parametrize(
    ("shoot", "expected"),
    [
        ({"spec": {"hibernation": {"enabled": True}}}, True),
        ({"status": {"isHibernated": True}}, True),
        ({"spec": {"hibernation": {"enabled": False, "schedules": [{"start": "00 20 * * *"}]}}}, False),
        ({}, False),
    ],
)
def test_a_shoot_hibernates_from_the_wish_until_it_is_awake(shoot, expected):
    assert expected is Cluster.read(cluster(**shoot)).shoot.hibernating


@pytest.mark.parametrize(
    ("value", "expected"),
    [("true", True), ("1", True), ("T", True), ("True", True), ("yes", False), ("false", False), ("", False)],
)
def test_a_force_deletion_is_confirmed_by_what_go_takes_for_true(value, expected):
    annotations = {"confirmation.gardener.cloud/force-deletion": value}

    assert expected is Cluster.read(cluster(metadata={"annotations": annotations})).shoot.force_deletion


def test_a_managed_resource_names_its_secrets_in_order():
    raw = {"metadata": {"name": "x"}, "spec": {"secretRefs": [{"name": "b"}, {"name": "a"}]}}

    assert ("b", "a") == ManagedResource.read(raw).secret_names


def pool(**selector):
    return ContainerRuntime.read(container_runtime(spec={"workerPool": {"selector": selector}})).spec.worker_pool


def chosen(selecting, *nodes):
    return [one.name for one in map(Node.read, nodes) if selecting.selects(one.metadata.labels)]


def test_case_77_nodes_of_the_pool_with_containerd_are_selected():
    nodes = (node("n1"), node("n2", pool="b", group="b"), node("n3", cri=None), node("n4", group=None))

    assert ["n1"] == chosen(pool(), *nodes)


ZONE = "topology.kubernetes.io/zone"


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ({"operator": "In", "values": ["z1"]}, ["n1"]),
        ({"operator": "NotIn", "values": ["z1"]}, ["n2", "n3"]),
        ({"operator": "Exists"}, ["n1", "n2"]),
        ({"operator": "DoesNotExist"}, ["n3"]),
    ],
)
def test_case_78_match_expressions_narrow_the_selection(expression, expected):
    nodes = (node("n1", **{ZONE: "z1"}), node("n2", **{ZONE: "z2"}), node("n3"), node("n4", pool="b", **{ZONE: "z1"}))

    assert expected == chosen(pool(matchExpressions=[{"key": ZONE, **expression}]), *nodes)


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        (
            [("Hostname", "n1"), ("ExternalIP", "1.2.3.4"), ("InternalIP", "10.0.0.1"), ("InternalIP", "::1")],
            "10.0.0.1",
        ),
        ([("ExternalIP", "1.2.3.4"), ("Hostname", "n1")], "n1"),
        ([("ExternalIP", "1.2.3.4")], ""),
    ],
)
def test_case_79_a_nodes_address_is_internal_or_its_host_name(addresses, expected):
    found = [{"type": kind, "address": address} for kind, address in addresses]

    assert expected == Node.read({"metadata": {"name": "n1"}, "status": {"addresses": found}}).address


def test_of_a_cluster_only_what_is_looked_at_is_kept():
    raw = cluster(spec={"hibernation": {"enabled": True}}, metadata={"annotations": {"a": "b"}})
    raw["spec"]["cloudProfile"] = {"spec": "large"}
    raw["metadata"] |= {"uid": "u", "resourceVersion": "1", "annotations": {"large": "x"}}
    kept = essential(raw)

    assert Cluster.read(kept).shoot == Cluster.read(raw).shoot.model_copy(
        update={"metadata": Cluster.read(kept).shoot.metadata}
    )
    assert Cluster.read(raw).shoot.metadata.annotations == Cluster.read(kept).shoot.metadata.annotations
    assert {"name": raw["metadata"]["name"], "uid": "u", "resourceVersion": "1"} == kept["metadata"]
    assert {"shoot"} == set(kept["spec"])


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        ({"workersSettings": {"sshAccess": {"enabled": False}}}, False),
        ({"workersSettings": {"sshAccess": {"enabled": True}}}, True),
        ({"workersSettings": {"sshAccess": {}}}, True),
        ({"workersSettings": None}, True),
        ({}, True),
    ],
)
def test_a_shoots_nodes_may_be_reached_by_ssh_unless_it_says_no(provider, expected):
    raw = cluster(spec={"provider": provider})

    assert (expected, expected) == (Cluster.read(raw).shoot.ssh_access, Cluster.read(essential(raw)).shoot.ssh_access)


@pytest.mark.parametrize("odd", [{}, {"spec": None}, {"spec": {"shoot": "text"}}, {"metadata": {"name": "n"}}])
def test_what_is_kept_of_an_odd_cluster_is_nothing_odd(odd):
    assert not Cluster.read(essential(odd)).shoot.failed
