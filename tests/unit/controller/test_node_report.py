"""What people see of nodes: which words, which codes, how much of it, and when nothing is written."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from gardener_objects import cluster, container_runtime, node
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.api.cluster import Cluster
from orchestrator.api.container_runtime import ContainerRuntime
from orchestrator.api.merge_patch import merge
from orchestrator.api.node import Node
from orchestrator.controller.conditions import Observation
from orchestrator.controller.error_codes import Code
from orchestrator.controller.metrics import NODE_STATES
from orchestrator.controller.nodes.mark import Action, Claim, Failure, Marks, Proof
from orchestrator.controller.nodes.plan import PASSING, NodeState, State
from orchestrator.controller.nodes.report import (
    LARGEST,
    NODES,
    Report,
    Seen,
    nodes_ready,
    provider_status,
    recorded,
    report,
    with_nodes,
)

AWAKE = Cluster.read(cluster())
ASLEEP = Cluster.read(cluster(spec={"hibernation": {"enabled": True}}))
SUCCEEDED = {"lastOperation": {"type": "Create", "state": "Succeeded"}}
WELL = Observation("SystemComponentsHealthy", "True", "HealthCheckSuccessful", "All health checks successful")
ILL = Observation("SystemComponentsHealthy", "False", "HealthCheckUnsuccessful", "ManagedResource mr: it fails")
NOW = datetime(2026, 8, 21, 10, 0, 0, tzinfo=UTC)
WANTED, OLD = "a" * 64, "b" * 64
RETRYABLE = {
    "ERR_RETRYABLE_INFRA_DEPENDENCIES",
    "ERR_INFRA_RESOURCES_DEPLETED",
    "ERR_CLEANUP_CLUSTER_RESOURCES",
    "ERR_RETRYABLE_CONFIGURATION_PROBLEM",
}
OUTCOMES = ("failed", "refused", "invalid", "unreachable", "interrupted", "unknown", "ok", "changed", "")


def state(name, how, why="", **marks):
    return NodeState(Node.read(node(name)), Marks(**marks), how, why)


def ready(name, at=1790000000):
    return state(name, State.READY, proof=Proof("u", WANTED, "20260905.0", 2, at))


def failed(name, step="containerd", message="it did not start", *, outcome="failed", how=State.FAILED, **more):
    failure = Failure("u", **{"action": "apply", "fingerprint": WANTED, **more}, outcome=outcome, step=step)
    failure = replace(failure, message=message, at=1790000060)
    return state(name, how, message if how is State.FAILED else "", failure=failure)


def running(name, **marks):
    return state(name, State.RUNNING, claim=Claim("u", "ns/a", "run", "apply", WANTED, at=1790000030), **marks)


def seen(*states):
    return Seen(states, WANTED)


def runtime(status=SUCCEEDED, **metadata):
    return ContainerRuntime.read(container_runtime(status=status, metadata=metadata))


def write(before, said, now=NOW):
    return ContainerRuntime.read(merge(before.raw, recorded(before, said, now)))


def test_all_nodes_proved_is_true():
    said = nodes_ready(seen(ready("n1"), ready("n2"), ready("n3")))

    assert ("True", "AllNodesReady", "3 of 3 nodes: gVisor is proved") == (said.status, said.reason, said.message)


def test_a_pool_without_nodes_is_well():
    said = nodes_ready(seen())

    assert ("True", "NoNodes", "0 of 0 nodes: gVisor is proved") == (said.status, said.reason, said.message)


def test_nodes_that_are_not_done_are_counted_and_those_that_run_are_named():
    unready = state("n4", State.UNREADY, "its kubelet is not ready")
    foreign = state("n5", State.FOREIGN, "the ContainerRuntime ns/b selects it too")
    said = nodes_ready(seen(ready("n1"), running("n2"), state("n3", State.PENDING), unready, foreign))

    assert ("Progressing", "NodesProgressing") == (said.status, said.reason)
    assert (
        "1 of 5 nodes: gVisor is proved; 1 running: n2; 1 not ready: n4; 1 claimed by another ContainerRuntime: n5"
        " (the ContainerRuntime ns/b selects it too); 1 pending"
    ) == said.message


def test_a_failed_node_is_named_with_step_and_reason():
    said = nodes_ready(seen(ready("n1"), failed("n2")))

    assert ("False", "NodesFailed") == (said.status, said.reason)
    assert "1 of 2 nodes: gVisor is proved; 1 failed; n2 [containerd]: it did not start" == said.message


def test_a_node_that_is_left_is_not_counted_and_is_named():
    said = nodes_ready(seen(ready("n1"), state("n2", State.REMOVING)))

    assert ("True", "1 of 1 nodes: gVisor is proved; gVisor is being removed from n2") == (said.status, said.message)


def test_a_removal_that_fails_is_told_as_one():
    said = nodes_ready(seen(ready("n1"), failed("n2", action="remove", fingerprint="", message="pods use it")))

    assert "1 of 1 nodes: gVisor is proved; 1 failed; n2 [containerd]: removal: pods use it" == said.message


def test_while_a_node_is_tried_again_the_conditions_stay():
    there = [ready("n1"), failed("n2")]
    again = [ready("n1"), failed("n2", how=State.RUNNING)]

    assert nodes_ready(seen(*there)) == nodes_ready(seen(*again))
    assert with_nodes(WELL, seen(*there)) == with_nodes(WELL, seen(*again))


def test_a_failure_at_something_that_nobody_wants_any_more_is_none():
    said = nodes_ready(seen(failed("n1", fingerprint=OLD, how=State.RUNNING)))

    assert "Progressing" == said.status


@pytest.mark.parametrize("how", [one for one in State if one is not State.FAILED])
def test_the_shoots_condition_is_about_failures_only(how):
    assert WELL == with_nodes(WELL, seen(state("n1", how, "why")))
    assert with_nodes(None, seen(state("n1", how, "why"))) is None


def test_the_shoots_condition_holds_both_complaints():
    said = with_nodes(ILL, seen(ready("n1"), failed("n2")))

    assert ("SystemComponentsHealthy", "False", "HealthCheckUnsuccessful") == (said.type, said.status, said.reason)
    assert (
        "ManagedResource mr: it fails; gVisor on 1 of 2 nodes failed: n2 [containerd]: it did not start" == said.message
    )


def test_case_36_a_refused_driver_has_its_code_also_beside_other_failures():
    there = seen(failed("n1"), failed("n2", "nvproxy", "the driver is not supported", outcome="refused"))

    assert (Code.RETRYABLE_CONFIGURATION_PROBLEM,) == nodes_ready(there).codes == with_nodes(WELL, there).codes
    assert () == nodes_ready(seen(failed("n1"))).codes


texts = st.text() | st.text(alphabet='\x00\x1b[<>&"\\ü😀\u2028\ud800', max_size=400).map(lambda text: text * 3)
numbers = st.integers(0, 1 << 53)
claims = st.builds(
    Claim, st.just("u"), texts, texts, st.sampled_from([*Action, ""]), st.sampled_from([WANTED, OLD, ""]), at=numbers
)
failures = st.builds(
    Failure,
    st.just("u"),
    st.sampled_from([*Action, "other"]),
    st.sampled_from([WANTED, OLD, ""]),
    outcome=st.sampled_from(OUTCOMES) | texts,
    step=st.sampled_from(["nvproxy", "preflight", "containerd", ""]) | texts,
    message=texts,
    at=numbers,
)
proofs = st.builds(Proof, st.just("u"), st.sampled_from([WANTED, OLD]), texts, numbers, numbers)
marks = st.builds(Marks, st.none() | claims, st.none() | proofs, st.none() | failures, st.booleans())
node_states = st.builds(
    NodeState,
    st.from_regex(r"[a-z0-9]{1,60}", fullmatch=True).map(lambda name: Node.read(node(name))),
    marks,
    st.sampled_from(State),
    st.sampled_from(sorted(PASSING)) | texts,
)
# Each is a pool of some sixty nodes. `make exhaustive` tries far more.
few = settings(max_examples=settings.default.max_examples // 5)
pools = st.builds(Seen, st.lists(node_states, max_size=4).map(lambda few: (few * 20)[:60]), st.just(WANTED))


@few
@given(pools)
def test_case_37_no_node_has_a_code_that_is_final(pool):
    said = report(runtime(), AWAKE, pool, WELL)

    assert {code for one in said.observations for code in one.codes} <= RETRYABLE


@few
@given(pools)
def test_whatever_nodes_say_the_status_stays_small_and_counts_right(pool):
    said = provider_status(pool)
    text = json.dumps(said, ensure_ascii=False)

    assert len(text.encode()) <= LARGEST
    assert len(said["nodes"]) <= NODES
    assert len(pool.states) == len(said["nodes"]) + said["nodesLeftOut"] == sum(said["states"].values())
    assert said["nodesReady"] <= said["nodesTotal"] <= len(pool.states)
    assert all(len(one.message) < 20000 for one in report(runtime(), AWAKE, pool, ILL).observations)


@few
@given(pools)
def test_no_text_keeps_what_a_terminal_could_take_for_its_own(pool):
    said = report(runtime(), AWAKE, pool, WELL)
    told = [json.dumps(said.provider_status, ensure_ascii=False), *(one.message for one in said.observations)]

    assert not set("\x00\x1b\u2028\ud800") & set("".join(told))


@few
@given(pools)
def test_what_was_recorded_is_no_news(pool):
    said = report(runtime(), AWAKE, pool, WELL)
    after = write(runtime(), said)

    assert {} == recorded(after, said, NOW + timedelta(minutes=1))


@few
@given(pools, pools)
def test_nothing_stale_stays(first, second):
    after = write(write(runtime(), report(runtime(), AWAKE, first, WELL)), report(runtime(), AWAKE, second, WELL))

    assert provider_status(second) == after.raw["status"]["providerStatus"]


def test_a_large_pool_names_failed_nodes_first_and_says_how_many_are_left_out():
    said = provider_status(seen(*(ready(f"n{number:03}") for number in range(200)), running("r"), failed("f")))

    assert ["f", "r", "n000"] == [one["name"] for one in said["nodes"][:3]]
    assert (202, 200, 152) == (said["nodesTotal"], said["nodesReady"], said["nodesLeftOut"])
    assert {"Ready": 200, "Failed": 1, "Running": 1} == said["states"]


def test_a_node_is_described_by_what_is_known_of_it():
    pending = state("p", State.PENDING, "another node comes first")
    said = provider_status(seen(ready("n1"), running("n2"), failed("n3"), pending))

    assert [
        {
            "name": "n3",
            "state": "Failed",
            "step": "containerd",
            "message": "it did not start",
            "since": "2026-09-21T14:14:20Z",
        },
        {"name": "n2", "state": "Running", "since": "2026-09-21T14:13:50Z"},
        {"name": "p", "state": "Pending", "message": "another node comes first"},
        {"name": "n1", "state": "Ready", "release": "20260905.0", "generation": 2, "since": "2026-09-21T14:13:20Z"},
    ] == said["nodes"]


@pytest.mark.parametrize("why", sorted(PASSING))
def test_what_is_over_at_once_is_not_told(why):
    begun = replace(running("n1"), why=why)

    assert nodes_ready(seen(running("n1"))) == nodes_ready(seen(begun))
    assert provider_status(seen(running("n1"))) == provider_status(seen(begun))


def test_case_75_a_report_touches_conditions_and_the_providers_status_only():
    patch = recorded(runtime(), report(runtime(), AWAKE, seen(failed("n1")), WELL), NOW)

    assert ["status"] == list(patch)
    assert {"conditions", "providerStatus"} == set(patch["status"])


@pytest.mark.parametrize(
    "leaving",
    [
        runtime(deletionTimestamp="2026-08-21T10:00:00Z"),
        runtime(annotations={"gardener.cloud/operation": "migrate"}),
        runtime({"lastOperation": {"type": "Migrate", "state": "Succeeded"}}),
    ],
    ids=["deleting", "migrate", "migrated"],
)
def test_case_76_nothing_is_recorded_of_an_object_that_leaves(leaving):
    assert {} == recorded(leaving, report(leaving, AWAKE, seen(failed("n1")), WELL), NOW)


def test_where_nothing_is_known_of_nodes_what_was_said_of_them_stays():
    before = write(runtime(), report(runtime(), AWAKE, seen(ready("n1")), WELL))

    assert Report((WELL,)) == report(before, AWAKE, None, WELL)
    assert {} == recorded(before, report(before, AWAKE, None, WELL), NOW)


def test_case_73_a_shoot_that_sleeps_has_no_nodes_to_speak_of():
    before = write(runtime(), report(runtime(), AWAKE, seen(failed("n1")), WELL))
    after = write(before, report(before, ASLEEP, None, WELL))
    [condition] = [one for one in after.raw["status"]["conditions"] if one["type"] == "GVisorNodesReady"]

    assert ("True", "HealthCheckSuccessful", "Shoot is hibernated") == tuple(
        condition[field] for field in ("status", "reason", "message")
    )
    assert "providerStatus" not in after.raw["status"]
    assert {} == recorded(after, report(after, ASLEEP, None, WELL), NOW)


def test_when_nobody_looks_after_nodes_any_more_nothing_old_stays():
    before = write(runtime(), report(runtime(), AWAKE, seen(failed("n1")), WELL))
    after = write(before, report(before, AWAKE, None, WELL, attended=False))
    said = {one["type"]: one["status"] for one in after.raw["status"]["conditions"]}

    assert {"SystemComponentsHealthy": "True", "GVisorNodesReady": "Unknown"} == said
    assert "providerStatus" not in after.raw["status"]
    assert {} == recorded(runtime(), report(runtime(), AWAKE, None, None, attended=False), NOW)


def test_without_gardener_there_is_our_condition_only():
    said = report(runtime(), Cluster(), seen(failed("n1")), None, standalone=True)

    assert ["GVisorNodesReady"] == [one.type for one in said.observations]


def test_metrics_know_every_state():
    assert tuple(State) == NODE_STATES
