"""Which nodes are a pool's, and what its wish says."""

from __future__ import annotations

import pytest
from gardener_objects import container_runtime, node

from orchestrator.api.container_runtime import ContainerRuntime
from orchestrator.api.merge_patch import merge
from orchestrator.api.node import Node
from orchestrator.controller.installation import Installation
from orchestrator.controller.pool_inventory import pool_hosts, read_pool
from orchestrator.controller.pool_objects import pool_objects, pool_variables, wished_variables
from orchestrator.controller.pool_settings import PoolSettings
from orchestrator.errors import InvalidInputError

RUNTIME = ContainerRuntime.read(container_runtime())


def nodes(*raw):
    return [Node.read(one) for one in raw]


def kubelet(raw, runtime):
    return merge(raw, {"status": {"nodeInfo": {"containerRuntimeVersion": runtime}}})


def test_hosts_are_the_pools_nodes_with_containerd_sorted_by_name():
    there = nodes(node("n2"), node("n1"), node("n3", pool="b"), node("n4", cri=None))

    assert [("n1", "10.0.0.1"), ("n2", "10.0.0.1")] == [
        (host.name, host.address) for host in pool_hosts(RUNTIME, there, standalone=False)
    ]


def test_without_gardener_the_kubelet_tells_of_containerd():
    there = nodes(
        kubelet(node("n2", cri=None), "containerd://2.4.2"),
        kubelet(node("n1"), "containerd://1.7.24"),
        kubelet(node("n3"), "cri-o://1.33.0"),
        kubelet(node("n4", pool="b"), "containerd://2.4.2"),
        node("n5"),
    )

    assert ["n1", "n2"] == [host.name for host in pool_hosts(RUNTIME, there, standalone=True)]


def test_the_wish_is_read_as_it_was_written():
    settings = PoolSettings({"debug": "true"})
    _, wish = pool_objects(RUNTIME, settings, Installation())

    assert pool_variables(RUNTIME, settings, Installation()) == wished_variables(wish)


@pytest.mark.parametrize("data", [{}, {"variables.json": "no"}, {"variables.json": "[]"}])
def test_a_wish_that_is_none_is_an_error_with_the_way_out(data):
    with pytest.raises(InvalidInputError, match="holds no variables"):
        wished_variables({"metadata": {"name": "gvisor-nodes-a"}, "data": data})


@pytest.mark.parametrize("name", ["a", "/a", "a/", ""])
def test_a_name_without_its_namespace_is_refused_before_anybody_is_asked(name):
    with pytest.raises(InvalidInputError, match="names no ContainerRuntime"):
        read_pool(name, "/nowhere", {})
