"""Cases 35 to 37: what failed on nodes is told of nodes, and never stops a Shoot. Also what the writing of it costs."""

from __future__ import annotations

from itertools import count
from typing import get_args

import pytest
from landscape import NODES, SMR, Film, facts, version, with_options
from patience import eventually
from played_kubelet import PlayedKubelet

from orchestrator.controller.kinds import CONTAINER_RUNTIMES, MANAGED_RESOURCES
from orchestrator.controller.nodes.job import JobSettings
from orchestrator.controller.nodes.plan import Pace
from orchestrator.controller.nodes.settings import NodesOptions
from orchestrator.execution.job_result import JobOutcome

POOL = {
    "worker.gardener.cloud/pool": "a",
    "worker.garden.sapcloud.io/group": "a",
    "worker.gardener.cloud/cri-name": "containerd",
}
RETRYABLE = {
    "ERR_RETRYABLE_INFRA_DEPENDENCIES",
    "ERR_INFRA_RESOURCES_DEPLETED",
    "ERR_CLEANUP_CLUSTER_RESOURCES",
    "ERR_RETRYABLE_CONFIGURATION_PROBLEM",
}
OPTIONS = with_options(nodes=NodesOptions(job=JobSettings(image="example/gvisor-nodes:test"), pace=Pace(first=600.0)))
"""What failed stays so until somebody has looked, also on a machine with much else to do."""
DRIVER = "NVIDIA driver 1.2.3 is not supported by runsc"


@pytest.fixture
def kubelet(target):
    with PlayedKubelet(target) as one:
        yield one


@pytest.fixture
def pool(shoot, controller):
    """A Shoot whose pool is reconciled and whose nodes are looked after; the controller runs on."""
    shoot.grant_access()
    with controller(OPTIONS) as running:
        shoot.deploy()
        shoot.await_healthy()
        await_said(shoot, "GVisorNodesReady", "True", "0 of 0")
        shoot.running = running
        yield shoot


def said(shoot, kind):
    conditions = shoot.get()["status"].get("conditions", ())
    return next((one for one in conditions if one["type"] == kind), {})


def await_said(shoot, kind, status, *texts):
    def looked():
        one = said(shoot, kind)
        return one if one.get("status") == status and all(text in one["message"] for text in texts) else None

    return eventually(looked, what=lambda: shoot.get()["status"])


def provider_status(shoot):
    return shoot.get()["status"].get("providerStatus", {})


def assert_is_well(shoot, before):
    """What gardenlet looks at is as it was."""
    raw = shoot.get()
    assert before["status"]["lastOperation"] == raw["status"]["lastOperation"]
    assert "lastError" not in raw["status"]
    assert before["status"]["observedGeneration"] == raw["status"]["observedGeneration"]
    shoot.await_ready()


@pytest.mark.feature("G3")
@pytest.mark.feature("G5")
def test_case_35_a_node_that_does_not_answer_is_named_and_the_object_stays_as_it_was(pool, kubelet):
    before = pool.get()
    nodes = [pool.add_node("n1", **POOL), pool.add_node("n2", ready=False, **POOL), pool.add_node("n3", **POOL)]
    for node in (nodes[0], nodes[2]):
        kubelet.ends(node)
    condition = await_said(pool, "GVisorNodesReady", "Progressing", "2 of 3 nodes", nodes[1])

    assert "NodesProgressing" == condition["reason"]
    assert "True" == said(pool, "SystemComponentsHealthy")["status"]
    status = provider_status(pool)
    assert ("status.gvisor-nodes/v1alpha1", "GVisorNodes") == (status["apiVersion"], status["kind"])
    assert (3, 2, {"Ready": 2, "NodeNotReady": 1}) == tuple(
        status[field] for field in ("nodesTotal", "nodesReady", "states")
    )
    assert {
        "name": nodes[1],
        "state": "NodeNotReady",
        "message": "its kubelet is not ready",
    } == status["nodes"][0]
    assert_is_well(pool, before)

    pool.heard_of(nodes[1])
    kubelet.ends(nodes[1])
    await_said(pool, "GVisorNodesReady", "True", "3 of 3 nodes")
    assert {"Ready": 3} == provider_status(pool)["states"]
    assert_is_well(pool, before)


@pytest.mark.feature("G4")
def test_case_35_a_node_that_cannot_be_reached_by_its_run_is_a_condition(pool, kubelet):
    before = pool.get()
    node = pool.add_node("n1", **POOL)
    kubelet.ends(node, "unreachable", step="probe", message="the host does not answer", cause="timeout")

    for kind in ("GVisorNodesReady", "SystemComponentsHealthy"):
        condition = await_said(pool, kind, "False", f"{node} [probe]: the host does not answer: timeout")
        assert "codes" not in condition
    assert_is_well(pool, before)


@pytest.mark.feature("G4")
def test_case_36_a_refused_driver_is_a_condition_with_a_code_and_other_nodes_are_finished(pool, kubelet):
    before = pool.get()
    nodes = [pool.add_node(name, **POOL) for name in ("n1", "n2", "n3")]
    kubelet.ends(nodes[0])
    kubelet.ends(nodes[1], "refused", step="nvproxy", message=DRIVER)
    kubelet.ends(nodes[2])
    await_said(pool, "GVisorNodesReady", "False", "2 of 3 nodes", f"{nodes[1]} [nvproxy]: {DRIVER}")

    for kind in ("GVisorNodesReady", "SystemComponentsHealthy"):
        assert ["ERR_RETRYABLE_CONFIGURATION_PROBLEM"] == await_said(pool, kind, "False", DRIVER)["codes"]
    [first, *_] = provider_status(pool)["nodes"]
    assert ("Failed", "nvproxy", DRIVER) == tuple(first[field] for field in ("state", "step", "message"))
    assert first["since"]
    assert_is_well(pool, before)


def test_case_37_no_failure_of_a_node_has_a_code_that_is_final(pool, kubelet):
    before = pool.get()
    outcomes = [one for one in get_args(JobOutcome.__value__) if one not in {"ok", "changed"}]
    with Film(pool.client, pool.namespace, CONTAINER_RUNTIMES) as film:
        for number, outcome in zip(count(1), outcomes, strict=False):
            node = pool.add_node(f"n{number}", **POOL)
            kubelet.ends(node, outcome, step="nvproxy" if number % 2 else "preflight", message="it does not work")
            await_said(pool, "GVisorNodesReady", "False", f"{number} failed", node)
        frames = film.until(len)

    conditions = [one for *_, raw in frames for one in raw["status"].get("conditions", ())]
    assert {code for one in conditions for code in one.get("codes", ())} <= RETRYABLE
    assert not [raw for *_, raw in frames if "lastError" in raw["status"]]
    assert_is_well(pool, before)


def test_nodes_that_stay_as_they_are_cost_no_write(pool, kubelet):
    node = pool.add_node("n1", **POOL)
    kubelet.ends(node)
    await_said(pool, "GVisorNodesReady", "True", "1 of 1")
    pool.running.await_quiet()
    before = version(pool.get())
    # A change that the loop looks at, and one that the object's own pass does.
    pool.target.patch(NODES, node, {"metadata": {"labels": {"example.com/l": "1"}}})
    other = pool.add_node("n2", **{**POOL, "worker.gardener.cloud/pool": "b"})
    pool.client.patch(MANAGED_RESOURCES, SMR, {"metadata": {"annotations": {"example.com/a": "1"}}}, pool.namespace)
    pool.running.controller.queue.add((pool.namespace, "gvisor-a"))
    pool.running.await_quiet()
    eventually(lambda: pool.running.controller._nodes.queue.drain(0.0))

    assert before == version(pool.get())
    assert other not in str(provider_status(pool))


@pytest.mark.parametrize("operation", ["delete", "migrate"])
def test_case_76_nothing_is_told_of_nodes_of_an_object_that_leaves(pool, kubelet, operation):
    node = pool.add_node("n1", **POOL)
    kubelet.ends(node)
    await_said(pool, "GVisorNodesReady", "True", "1 of 1")
    told = [pool.get()["status"]["conditions"], provider_status(pool)]
    with Film(pool.client, pool.namespace, CONTAINER_RUNTIMES) as film:
        if operation == "delete":
            pool.delete()
            kubelet.ends(node, "changed")
            pool.await_gone()
        else:
            pool.ask(operation="migrate")
            eventually(lambda: "gardener.cloud/operation" not in pool.get()["metadata"]["annotations"], what=pool.get)
            eventually(lambda: pool.running.controller.queue.drain(0.0))
        frames = film.until(lambda events: len(events) > 1)

    assert all([raw["status"]["conditions"], raw["status"]["providerStatus"]] == told for *_, raw in frames)


def test_case_73_a_shoot_that_sleeps_has_no_nodes_to_speak_of(pool, kubelet):
    node = pool.add_node("n1", **POOL)
    kubelet.ends(node, "failed", step="containerd", message="it did not start")
    await_said(pool, "SystemComponentsHealthy", "False", node)
    pool.change_shoot(spec={"hibernation": {"enabled": True}})

    for kind in ("SystemComponentsHealthy", "GVisorNodesReady"):
        await_said(pool, kind, "True", "Shoot is hibernated")
    assert {} == provider_status(pool)
    assert "Succeeded" == facts(pool.get())[1]
