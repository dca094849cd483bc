"""What a Node says of us, read from whatever anybody wrote there."""

from __future__ import annotations

import json
from dataclasses import asdict

import hypothesis.strategies as st
import pytest
from hypothesis import given
from node_objects import F1, F2, OWNER, claim, failure, node, patched, proof

from orchestrator.api import gardener
from orchestrator.api.merge_patch import merge
from orchestrator.api.node import Node
from orchestrator.controller.nodes import mark
from orchestrator.controller.nodes.mark import Claim, Failure, Gate, Marks, Proof

NAMES = (mark.CLAIM, mark.PROOF, mark.FAILURE)
GATE = mark.gate(standalone=True, taint="example.com/startup")
WORDS = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=1000)
COUNTS = st.integers(0, 2**53 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
FIELDS = sorted({*asdict(claim()), *asdict(proof()), *asdict(failure())})


def annotated(**annotations):
    names = {"claim": mark.CLAIM, "proof": mark.PROOF, "failure": mark.FAILURE}
    return node(annotations={names[key]: text for key, text in annotations.items()})


@given(st.builds(Claim, st.just("uid-of-n1"), WORDS, st.just("run-1"), WORDS, WORDS, COUNTS, COUNTS, st.booleans()))
def test_a_claim_is_read_as_it_was_written(one):
    assert one == mark.read(patched(node(), mark.claimed(node(), one, GATE))).claim


@given(
    st.builds(Proof, st.just("uid-of-n1"), WORDS, WORDS, COUNTS, COUNTS),
    st.builds(
        Failure,
        st.just("uid-of-n1"),
        WORDS,
        WORDS,
        COUNTS,
        WORDS,
        WORDS,
        WORDS,
        st.lists(WORDS, max_size=5).map(tuple),
        COUNTS,
    ),
)
def test_proof_and_failure_are_read_as_they_were_written(one, other):
    there = patched(node(), mark.proved(node(), claim(), one, GATE))
    there = patched(there, mark.failed(there, claim(), other, GATE))

    assert Marks(claim(), one, other, ready=True) == mark.read(there)


@given(st.text(), st.text(), st.text())
def test_no_text_at_all_raises_or_means_anything(first, second, third):
    assert Marks() == mark.read(annotated(claim=first, proof=second, failure=third))


@given(st.dictionaries(st.sampled_from(FIELDS), JSON), st.sampled_from(["uid-of-n1", "another"]))
def test_json_of_strangers_never_raises_and_never_means_another_node(document, uid):
    text = json.dumps({**document, "uid": uid})
    found = mark.read(annotated(claim=text, proof=text, failure=text))

    for one in (found.claim, found.proof, found.failure):
        assert one is None or (uid, "uid-of-n1") == ("uid-of-n1", one.uid)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"uid":' * 50_000,
        "9" * 10_000,
        '{"uid":"uid-of-n1","pool":"p","at":1e999}',
        '{"uid":"uid-of-n1","pool":"p","at":NaN}',
        '{"uid":"uid-of-n1","pool":"p","at":-1}',
        '{"uid":"uid-of-n1","pool":"p","attempt":true}',
        '{"uid":"uid-of-n1","pool":"p","recorded":1}',
        '{"uid":"uid-of-n1","pool":null}',
        '{"uid":"uid-of-n1"}',
        '{"uid":"uid-of-n1","pool":"p","run":"../../secrets/x"}',
        '{"uid":"uid-of-n1","pool":"p","run":"a,b=c"}',
        '{"uid":"uid-of-n1","pool":"p","run":"A"}',
        '["uid-of-n1"]',
        '"uid-of-n1"',
        "null",
    ],
)
def test_a_claim_that_is_none_says_nothing(text):
    assert mark.read(annotated(claim=text)).claim is None


def test_the_marks_of_an_earlier_node_of_the_name_mean_nothing():
    old = node(marks=[claim(), proof(), failure()])
    new = Node.read(merge(old.raw, {"metadata": {"uid": "another"}}))

    assert mark.read(old).claim
    assert Marks() == mark.read(new)
    assert mark.present(new)


def test_nothing_that_a_terminal_or_a_log_could_take_for_its_own_is_kept_and_no_text_is_long():
    one = failure(message="\x1b[31mred\nnext\u202e" + "x" * 5000, pods=["p" * 5000] * 500)
    read = mark.read(node(marks=[one])).failure

    assert "red next" == read.message[:8]
    assert read.message.isprintable()
    assert (1000, 100, 1000) == (len(read.message), len(read.pods), len(read.pods[0]))


def test_a_patch_is_for_the_node_that_was_looked_at_and_for_no_other():
    there = node(marks=[claim(), proof(), failure()], labels=GATE.labels)
    for patch in (
        mark.claimed(there, claim(), GATE),
        mark.proved(there, claim(), proof(), GATE),
        mark.failed(there, claim(), failure(), GATE),
        mark.confirmed(there, claim(), GATE),
        mark.shut(there, GATE),
        mark.released(there, GATE),
    ):
        assert ("uid-of-n1", "7") == (patch["metadata"]["uid"], patch["metadata"]["resourceVersion"])
        assert {"metadata"} == set(patch)


def test_a_proof_opens_the_gate_and_takes_only_our_taint():
    taints = [{"key": "example.com/startup", "effect": "NoSchedule"}, {"key": "other", "effect": "NoExecute"}]
    there = Node.read(merge(node().raw, {"spec": {"taints": taints}}))
    assert not mark.gated(there, GATE)

    after = patched(there, mark.proved(there, claim(), proof(), GATE))
    assert mark.gated(after, GATE)
    assert taints[1:] == after.raw["spec"]["taints"]


def test_a_removal_shuts_the_gate_before_it_begins_and_from_then_on_nothing_is_proved():
    there = patched(node(), mark.proved(node(), claim(recorded=True), proof(), GATE))
    after = patched(there, mark.claimed(there, claim(action="remove", fingerprint=""), GATE))

    assert {} == dict(after.metadata.labels)
    assert mark.read(after).proof is None
    assert Marks(claim=claim(action="remove", fingerprint="")) == mark.read(after)


def test_a_change_and_its_failure_leave_a_proved_node_its_gate_and_one_that_never_was_none():
    proved = patched(node(), mark.proved(node(), claim(recorded=True), proof(), GATE))
    change = claim(fingerprint=F2)
    after = patched(proved, mark.claimed(proved, change, GATE))
    assert mark.gated(after, GATE)
    assert mark.gated(patched(after, mark.failed(after, change, failure(fingerprint=F2), GATE)), GATE)

    never = node(labels=GATE.labels)
    assert not mark.labelled(patched(never, mark.claimed(never, claim(), GATE)), GATE)
    assert not mark.labelled(patched(never, mark.failed(never, claim(), failure(), GATE)), GATE)


def test_after_a_release_nothing_is_left_and_what_is_not_ours_stays():
    there = node(marks=[claim(), proof(), failure()], labels=(*GATE.labels, "pool"))
    after = patched(there, mark.released(there, GATE))

    assert ({}, {"pool": "true"}) == (dict(after.metadata.annotations), dict(after.metadata.labels))
    assert not mark.present(after)


def test_without_gardener_the_label_of_the_runtime_class_is_part_of_the_gate():
    assert Gate((mark.READY, gardener.RUNTIME_LABEL), "") == mark.gate(standalone=True)
    assert Gate((mark.READY,), "x") == mark.gate(standalone=False, taint="x")
    assert OWNER == claim().pool
    assert F1 == proof().fingerprint
