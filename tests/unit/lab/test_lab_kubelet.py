"""What a node of a cluster is made of: addresses by its number, labels that it may have from its kubelet, its files."""

import json
from ipaddress import IPv4Network

import pytest

from orchestrator.lab.cluster_node import image_names, is_ready
from orchestrator.lab.image_archive import image_archive
from orchestrator.lab.kubelet import MOST_NODES, PODS, Place, cni_files, configuration_files, may_set, unit_links

PLACE = Place("n", 3, IPv4Network("10.89.5.0/24"))


def files(**changed):
    return configuration_files(PLACE, **{"kubelet": {}, "proxy": {}, "labels": {}, "taints": (), **changed})


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("pool", True),
        ("worker.gardener.cloud/pool", True),
        ("node.kubernetes.io/role", True),
        ("test.node.kubernetes.io/role", True),
        ("kubelet.kubernetes.io/a", True),
        ("node-role.kubernetes.io/worker", False),
        ("kubernetes.io/a", False),
        ("node-restriction.kubernetes.io/a", False),
        ("k8s.io/a", False),
        ("notkubernetes.io/a", True),
    ],
)
def test_a_kubelet_gives_no_labels_that_are_kubernetes_own(label, expected):
    assert expected == may_set(label)


def test_no_two_nodes_share_an_address_and_all_are_in_the_clusters_networks():
    places = [Place("n", number, PLACE.network) for number in range(1, MOST_NODES + 1)]

    assert len({place.address for place in places}) == MOST_NODES
    assert all(place.address in place.network for place in places)
    assert len({place.pods for place in places}) == MOST_NODES
    assert all(place.pods.subnet_of(PODS) for place in places)


def test_a_node_knows_the_way_to_the_pods_of_every_other_and_not_to_its_own():
    ways = [line for line in files()["prepare"].splitlines() if line.startswith("ip route")]

    assert "ip route replace 10.244.4.0/24 via 10.89.5.14" in ways
    assert len(ways) == MOST_NODES - 1
    assert not any(str(PLACE.pods) in way for way in ways)


def test_labels_and_taints_are_told_to_the_kubelet():
    told = files(labels={"b": "2", "a": "1"}, taints=["k=v:NoSchedule", "l:NoExecute"])["kubelet.env"]

    assert told == (
        "ARGUMENTS=--hostname-override=n --node-ip=10.89.5.13 --node-labels=a=1,b=2 "
        "--register-with-taints=k=v:NoSchedule,l:NoExecute\n"
    )


def test_nothing_is_evicted_for_what_others_use_of_the_machine():
    configuration = json.loads(files()["kubelet.json"])

    assert set(configuration["evictionHard"].values()) == {"0%"}


def test_pods_have_the_addresses_of_their_node():
    (plugin,) = json.loads(cni_files(PLACE)["10-lab.conflist"])["plugins"]

    assert plugin["ipam"]["ranges"] == [[{"subnet": "10.244.3.0/24"}]]


def test_every_unit_starts_with_the_node():
    assert set(unit_links().values()) == {
        "../gvisor-nodes-lab-prepare.service",
        "../kubelet.service",
        "../kube-proxy.service",
    }


def node(machine="m", ready="True", told="2026-01-01T00:00:10Z", taints=()):
    condition = {"type": "Ready", "status": ready, "lastHeartbeatTime": told}
    return {
        "spec": {"taints": [{"key": key} for key in taints]},
        "status": {"conditions": [condition], "nodeInfo": {"machineID": machine}},
    }


TOLD = 1767225610.0


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (node(), True),
        (node(taints=["example.org/other"]), True),
        (node(taints=["node.kubernetes.io/not-ready"]), False),
        (node(ready="False"), False),
        (node(ready="Unknown"), False),
        (node(machine="that of before"), False),
        (node(told="2026-01-01T00:00:09Z"), False),
        ({"spec": {}}, False),
        ({"spec": {}, "status": {"conditions": []}}, False),
    ],
)
def test_a_node_is_ready_when_its_kubelet_of_now_has_said_so(raw, expected):
    assert expected == is_ready(raw, "m", TOLD + 0.7)


def test_the_names_of_images_are_read_from_their_archive(tmp_path):
    (tmp_path / "a.tar").write_bytes(image_archive("localhost/a:1", {"a": b"a"}, {}))

    assert image_names(tmp_path / "a.tar") == ["localhost/a:1"]
