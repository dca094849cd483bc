"""What a Node says after a run."""

from __future__ import annotations

import pytest
from node_objects import F1, F2, claim, failure, node, patched

from orchestrator.controller.nodes import mark
from orchestrator.controller.nodes.mark import Gate, Marks, Proof
from orchestrator.controller.nodes.outcome import outcome
from orchestrator.execution.job_result import JobResult

PROVED = {"action": "apply", "outcome": "changed", "fingerprint": F1, "proved": True, "release": "r", "generation": 3}


def after(one, before=None, **result):
    there = node(marks=[one]) if before is None else before
    made = outcome(there, one, JobResult(**result), Gate(), 2000)
    return made, mark.read(patched(there, made.patch))


def test_a_run_that_has_proved_what_it_was_for_is_a_proof():
    made, marks = after(claim(), node(marks=[claim(), failure()]), **PROVED)

    assert Marks(claim(recorded=True), Proof("uid-of-n1", F1, "r", 3, 2000), None, ready=True) == marks
    assert ("Normal", "GVisorProved", "gVisor r is proved, generation 3") == made.event
    assert "changed" == made.word


@pytest.mark.parametrize(
    "change",
    [{"fingerprint": F2}, {"proved": False}, {"fingerprint": ""}, {"action": "remove"}, {"outcome": "failed"}],
    ids=lambda one: next(iter(one)),
)
def test_nothing_else_is_one(change):
    made, marks = after(claim(attempt=4), **PROVED | change)

    assert (None, False, 5) == (marks.proof, marks.ready, marks.failure.attempts)
    assert "GVisorFailed" == made.event[1]
    assert made.word == ("failed" if "outcome" in change else "unproved")


def test_a_removal_that_succeeded_leaves_nothing():
    made, marks = after(claim(action="remove", fingerprint=""), action="remove", outcome="ok")

    assert Marks() == marks
    assert ("Normal", "GVisorRemoved", "gVisor is removed") == made.event


@pytest.mark.parametrize(
    "result", [{**PROVED}, {"action": "", "outcome": "unknown"}, {"action": "apply", "outcome": "ok"}]
)
def test_a_removal_that_says_anything_else_has_not(result):
    _, marks = after(claim(action="remove", fingerprint=""), **result)

    assert (True, "remove", 1) == (marks.claim.recorded, marks.failure.action, marks.failure.attempts)


def test_a_refused_removal_names_the_pods_and_what_to_do():
    refused = {
        "action": "remove",
        "outcome": "refused",
        "step": "uninstall",
        "message": "pods use it",
        "cause": "two run",
    }
    made, marks = after(claim(action="remove"), **refused, remedy="delete them", pods=("a/b",), pods_total=2)

    text = "pods use it (2 pods: a/b): two run. To do: delete them"
    assert ("Warning", "GVisorRefused", f"remove: [uninstall] {text}") == made.event
    assert (text, ("a/b",)) == (marks.failure.message, marks.failure.pods)


def test_a_failure_of_any_length_fits_an_annotation():
    _, marks = after(claim(), action="apply", outcome="failed", message="x" * 10_000, cause="y" * 10_000)

    assert len(marks.failure.message) <= 1000
