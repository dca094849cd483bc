"""A result survives its message; a message by anybody else says nothing that could be believed by mistake."""

from __future__ import annotations

import dataclasses
import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.execution.job_result import LONGEST, PODS, STEPS, WARNINGS, JobResult, parse, render

PRINT = "ab" * 32
DONE = JobResult(
    action="apply",
    outcome="changed",
    step="report",
    message="gVisor 20260905.0 is installed and proved",
    release="20260905.0",
    fingerprint=PRINT,
    generation=3,
    proved=True,
    restarts=1,
    warnings=("limits do not bite",),
    seconds=9.87,
    steps={"probe": 0.42, "containerd": 1.5},
)
REFUSED = JobResult(
    action="remove",
    outcome="refused",
    step="preflight",
    message="pods still run in gVisor on this node",
    cause="default/web, default/db",
    remedy="drain the node",
    pods=("default/web", "default/db"),
    pods_total=2,
)

# Whole Unicode with what hurts in it more often: escapes, line ends, quotes, lone surrogates, wide characters.
TEXTS = st.text(st.characters() | st.sampled_from('\x1b\x9b[]m"\\\n\r\u2028\u202e\ud800\udfff𝄞é\0'), max_size=6000)
RESULTS = st.builds(
    JobResult,
    action=st.sampled_from(["apply", "remove"]),
    outcome=st.sampled_from(["ok", "changed", "failed", "refused", "invalid", "unreachable", "interrupted", "unknown"]),
    step=TEXTS,
    message=TEXTS,
    cause=TEXTS,
    remedy=TEXTS,
    release=TEXTS,
    fingerprint=st.just(PRINT) | st.text(max_size=100),
    generation=st.none() | st.integers(),
    proved=st.booleans(),
    restarts=st.integers(),
    pods=st.lists(TEXTS, max_size=40).map(tuple),
    pods_total=st.integers(),
    warnings=st.lists(TEXTS, max_size=40).map(tuple),
    seconds=st.floats(),
    steps=st.dictionaries(TEXTS, st.floats(), max_size=60),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=6,
)
FIELDS = [field.name for field in dataclasses.fields(JobResult)]


def is_harmless(result):
    texts = [result.step, result.message, result.cause, result.remedy, result.release, *result.pods, *result.warnings]
    texts += result.steps
    harmless = all(unicodedata.category(one)[0] != "C" and one not in "\u2028\u2029" for text in texts for one in text)
    few = len(result.pods) <= PODS and len(result.warnings) <= WARNINGS and len(result.steps) <= STEPS
    return harmless and few and all(len(text) <= LONGEST for text in texts)


@pytest.mark.parametrize("result", [DONE, REFUSED], ids=["done", "refused"])
def test_a_message_of_ordinary_length_says_all_of_the_result(result):
    assert result == parse(render(result))


@settings(deadline=None)
@given(RESULTS)
def test_a_message_fits_is_whole_and_says_the_same_again(result):
    message = render(result)

    assert len(message.encode()) <= LONGEST
    assert json.loads(message)["outcome"] == result.outcome
    back = parse(message)
    assert (result.action, result.outcome, result.proves) == (back.action, back.outcome, back.proved)
    assert is_harmless(back)
    assert message == render(back)


@settings(deadline=None)
@given(TEXTS)
def test_whatever_a_text_is_it_is_parsed_without_an_error(text):
    assert "unknown" == parse(text).outcome


@settings(deadline=None)
@given(st.data())
def test_a_message_that_is_cut_anywhere_says_nothing(data):
    message = render(DONE)
    end = data.draw(st.integers(0, len(message) - 1))

    assert ("unknown", False, "") == (
        parse(message[:end]).outcome,
        parse(message[:end]).proved,
        parse(message[:end]).action,
    )


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), VALUES))
def test_a_field_of_another_type_is_never_passed_on(fields):
    result = parse(json.dumps({**json.loads(render(DONE)), **fields}))

    assert is_harmless(result)
    assert not result.proved or result.proves
    assert result.message
    for name in ("restarts", "pods_total", "seconds"):
        assert 0 <= getattr(result, name) < 10**7


@pytest.mark.parametrize("outcome", ["failed", "refused", "invalid", "unreachable", "interrupted", "unknown"])
def test_a_proof_is_not_believed_of_a_job_that_failed(outcome):
    claimed = parse(json.dumps({**json.loads(render(DONE)), "outcome": outcome}))

    assert not claimed.proved
    assert "unknown" == claimed.outcome
    assert '"proved":false' in render(dataclasses.replace(DONE, outcome=outcome))


@pytest.mark.parametrize("fields", [{"action": "remove"}, {"fingerprint": ""}])
def test_a_proof_is_not_believed_of_a_removal_or_of_nothing_in_particular(fields):
    assert not parse(json.dumps({**json.loads(render(DONE)), **fields})).proved
    assert '"proved":false' in render(dataclasses.replace(DONE, **fields))


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("", "before it could write"),
        (" \n", "before it could write"),
        ("Killed", "Expecting value"),
        ("[" * 4000, "recursion"),
        ('{"schema":1,"seconds":NaN}', "NaN"),
        ('{"schema":1,"outcome":"failed","outcome":"ok"}', "twice"),
        ("[1]", "no JSON object"),
        ("{}", "schema"),
        ('{"schema":true}', "schema"),
        ('{"schema":2,"outcome":"ok"}', "schema"),
        ('{"schema":1,"action":"apply","outcome":"fine"}', "outcome"),
        ('{"schema":1,"action":"drop","outcome":"ok"}', "action"),
        ('{"schema":1,"action":"apply","outcome":"ok","restarts":-1}', "restarts"),
        ('{"schema":1,"action":"apply","outcome":"ok","restarts":true}', "restarts"),
        ('{"schema":1,"action":"apply","outcome":"ok","seconds":1e999}', "seconds"),
        ('{"schema":1,"action":"apply","outcome":"ok","generation":"3"}', "generation"),
        ('{"schema":1,"action":"apply","outcome":"ok","pods":[1]}', "pods"),
        ('{"schema":1,"action":"apply","outcome":"ok","steps":{"a":null}}', "steps"),
        ('{"schema":1,"action":"apply","outcome":"ok","fingerprint":"../.."}', "fingerprint"),
        ('{"schema":1,"action":"apply","outcome":"ok","cause":"' + "x" * 5000 + '"}', "4096 bytes"),
    ],
)
def test_a_message_that_cannot_be_understood_says_why(message, why):
    result = parse(message)

    assert "unknown" == result.outcome
    assert why in result.cause


def test_a_field_that_a_later_version_adds_is_not_looked_at():
    assert DONE == parse(json.dumps({**json.loads(render(DONE)), "more": [{}]}))


def test_what_a_terminal_would_obey_is_taken_out_of_texts():
    evil = dataclasses.replace(REFUSED, cause="\x1b[31mred\x1b[0m \x1b]0;title\x07and\r\nFAKE \u202eline\x00")

    assert "red and FAKE line" == parse(render(evil)).cause


def test_the_longest_text_gives_way_and_the_others_stay():
    long = dataclasses.replace(REFUSED, cause='"\n' * 5000, warnings=("w" * 5000,) * 20)
    back = parse(render(long))

    assert (REFUSED.message, REFUSED.remedy, REFUSED.pods) == (back.message, back.remedy, back.pods)
    assert back.cause.endswith("…")
    assert back.warnings[0].endswith("…")


def test_pods_beyond_the_room_there_is_are_counted():
    many = dataclasses.replace(REFUSED, pods=tuple(f"default/{'p' * 50}-{n}" for n in range(110)), pods_total=110)
    back = parse(render(many))

    assert 110 == back.pods_total
    assert many.pods[: len(back.pods)] == back.pods
    assert len(back.pods) >= 5
