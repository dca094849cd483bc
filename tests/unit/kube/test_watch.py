import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.kube import api_error
from orchestrator.kube.watch import WatchEvent, events


def line(kind, raw):
    return json.dumps({"type": kind, "object": raw}).encode() + b"\n"


TWO = line("ADDED", {"metadata": {"name": "ä", "resourceVersion": "7"}}) + line("DELETED", {"metadata": {"name": "b"}})


def test_an_event_is_an_object_and_what_happened_to_it():
    first, second = events([TWO], "watching")

    assert (first.type, first.raw["metadata"]["name"], first.resource_version) == ("ADDED", "ä", "7")
    assert second == WatchEvent("DELETED", {"metadata": {"name": "b"}})
    assert second.resource_version == ""


@given(st.lists(st.integers(0, len(TWO)), max_size=8))
def test_a_stream_can_be_cut_anywhere(cuts):
    places = [0, *sorted(cuts), len(TWO)]
    chunks = [TWO[start:end] for start, end in pairwise(places)]

    assert list(events(chunks, "watching")) == list(events([TWO], "watching"))


def test_half_an_event_at_the_end_is_no_event():
    assert len(list(events([TWO, TWO[:20]], "watching"))) == 2


def test_empty_lines_mean_nothing():
    assert len(list(events([b"\n", TWO, b"\n\n"], "watching"))) == 2


def test_a_status_in_the_stream_is_raised_after_what_came_before_it():
    stream = events([TWO + line("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})], "watching")

    assert [next(stream).type, next(stream).type] == ["ADDED", "DELETED"]
    with pytest.raises(api_error.ExpiredError):
        next(stream)


@pytest.mark.parametrize("chunk", [b"no json\n", b"[]\n", b"{}\n", b'{"type": "ADDED", "object": 1}\n'])
def test_what_is_no_event_ends_the_trust_in_the_stream(chunk):
    with pytest.raises(api_error.UnavailableError, match="no event"):
        list(events([chunk], "watching"))
