"""What somebody sees of a pool's nodes who changes nothing."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from gardener_objects import container_runtime, node

from orchestrator.api.container_runtime import ContainerRuntime
from orchestrator.api.merge_patch import merge
from orchestrator.api.node import Node
from orchestrator.controller.installation import Installation
from orchestrator.controller.nodes import job, mark
from orchestrator.controller.nodes.job import JobSettings
from orchestrator.controller.nodes.mark import Action, Claim, Failure, Proof
from orchestrator.controller.nodes.onlooker import look_on
from orchestrator.controller.nodes.plan import State
from orchestrator.controller.nodes.run import Order
from orchestrator.controller.pool_objects import pool_objects
from orchestrator.controller.pool_settings import PoolSettings

RUNTIME = ContainerRuntime.read(container_runtime())
DELETING = ContainerRuntime.read(container_runtime(metadata={"deletionTimestamp": "2026-08-21T10:00:00Z"}))
OWNER = f"{RUNTIME.namespace}/{RUNTIME.name}"
_, WISH = pool_objects(RUNTIME, PoolSettings({}), Installation())
WANTED = WISH["data"]["fingerprint"]
CLAIM = Claim("u", OWNER, "run", "apply", WANTED, at=1000)
DONE = replace(CLAIM, recorded=True)
ORDER = Order("run", "a", "n1", "u", "", Action.APPLY, WANTED)


def carrying(name="n1", *marks, ready="True", **changes):
    names = {Claim: mark.CLAIM, Proof: mark.PROOF, Failure: mark.FAILURE}
    annotations = {names[type(one)]: json.dumps(asdict(one)) for one in marks}
    more = {
        "metadata": {"uid": "u", "annotations": annotations},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }
    return Node.read(merge(node(name, **changes), more))


def seen(*nodes, runtime=RUNTIME, wish=WISH, jobs=(), now=2000.0, owns=lambda _: True):
    return look_on(runtime, wish, nodes, jobs, (), now=now, standalone=False, owns=owns)


def only(*nodes, **more):
    [one] = seen(*nodes, **more).states
    return one.state, one.why


def test_a_node_whose_turn_it_would_be_is_pending():
    assert (State.PENDING, "") == only(carrying())


def test_a_node_that_would_be_tried_again_has_failed():
    failure = Failure("u", "apply", WANTED, message="it did not start", at=10)

    assert (State.FAILED, "it did not start") == only(carrying("n1", DONE, failure))


def test_a_run_that_there_is_runs_for_as_long_as_it_takes():
    there = job.job(ORDER, JobSettings("example/gvisor-nodes:test"))

    assert (State.RUNNING, "") == only(carrying("n1", CLAIM), jobs=[there], now=10**9)


def test_a_proof_of_what_is_wanted_is_ready_and_of_something_else_is_not():
    assert (State.READY, "") == only(carrying("n1", DONE, Proof("u", WANTED)))
    assert (State.PENDING, "") == only(carrying("n1", DONE, Proof("u", "b" * 64)))


@pytest.mark.parametrize(("seconds", "why"), [(1, "its run is not there yet"), (100, "of its run there is no Job")])
def test_a_run_that_is_no_job_runs_as_far_as_anybody_can_see(seconds, why):
    how, said = only(carrying("n1", CLAIM), now=CLAIM.at + seconds)

    assert State.RUNNING == how
    assert said.startswith(why)


def test_before_anything_is_delivered_nodes_wait_for_it():
    assert (State.PENDING, "what it shall be has not been delivered yet") == only(carrying(), wish=None)


def test_nodes_that_left_the_pool_are_there_while_something_is_on_them():
    left = carrying("n2", DONE, Proof("u", WANTED), pool="b")

    assert (State.REMOVING, "") == only(left)
    assert () == tuple(seen(carrying("n2", pool="b")).states)


def test_of_an_object_that_is_deleted_nodes_are_being_cleared():
    assert (State.REMOVING, "") == only(carrying("n1", DONE, Proof("u", WANTED)), runtime=DELETING)
    assert "" == seen(runtime=DELETING).fingerprint


@pytest.mark.parametrize(("owns", "expected"), [(True, State.FOREIGN), (False, State.PENDING)])
def test_a_node_of_another_pool_that_is_there_is_claimed(owns, expected):
    other = Claim("u", "ns/other", "run", "apply", WANTED, recorded=True)

    assert expected == only(carrying("n1", other), owns=lambda _: owns)[0]


def test_what_strangers_wrote_on_a_node_is_one_line_that_no_terminal_takes_for_its_own():
    failure = Failure("u", "apply", WANTED, message="a\n\x1b[31mb\u202ec\ud800", pods=("x\ty",), at=10**15)
    [one] = seen(carrying("n1", DONE, failure)).states

    assert ("a b c", ("x y",)) == (one.why, one.marks.failure.pods)
