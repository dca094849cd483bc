from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.kube.events import Event, EventSeries

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RUNTIME = {"apiVersion": "x/v1", "kind": "Thing", "metadata": {"namespace": "n", "name": "a", "uid": "u"}}


@pytest.fixture
def series():
    return EventSeries("gvisor-nodes")


def event(message="hello", regarding=RUNTIME):
    return Event.of(regarding, "Normal", "Reconciled", message)


def test_an_event_is_about_one_object_and_lies_beside_it(series):
    raw = series.begin(event(), 0, NOW)

    assert raw["metadata"]["namespace"] == "n"
    assert raw["involvedObject"] == {"apiVersion": "x/v1", "kind": "Thing", "namespace": "n", "name": "a", "uid": "u"}
    assert (raw["count"], raw["firstTimestamp"]) == (1, "2026-01-02T03:04:05Z")
    assert raw["source"] == {"component": "gvisor-nodes"}


def test_events_of_what_has_no_namespace_are_in_default(series):
    raw = series.begin(event(regarding={"kind": "Node", "metadata": {"name": "node"}}), 0, NOW)

    assert (raw["metadata"]["namespace"], raw["involvedObject"]["namespace"]) == ("default", "")


def test_the_same_again_counts_the_first_one_up(series):
    first = series.begin(event(), 0, NOW)

    assert series.count_up(event(), 10, NOW + timedelta(seconds=10)) == (
        first["metadata"]["name"],
        {"count": 2, "lastTimestamp": "2026-01-02T03:04:15Z"},
    )
    assert series.count_up(event(), 20, NOW)[1]["count"] == 3
    assert series.count_up(event("other"), 20, NOW) is None


def test_the_same_after_ten_minutes_of_silence_is_new(series):
    series.begin(event(), 0, NOW)

    assert series.count_up(event(), 601, NOW) is None


def test_what_the_server_has_forgotten_is_new(series):
    series.begin(event(), 0, NOW)
    series.forget(event())
    series.forget(event("never seen"))

    assert series.count_up(event(), 1, NOW) is None


def test_one_object_does_not_flood_the_server_and_disturbs_no_other(series):
    admitted = [series.admit(event(f"message {number}"), 0) for number in range(30)]

    assert admitted == [True] * 25 + [False] * 5
    assert series.admit(event(regarding=RUNTIME | {"metadata": {"name": "b", "uid": "v"}}), 0)
    assert not series.admit(event(), 299)
    assert series.admit(event(), 301)
    assert not series.admit(event(), 302)


def test_long_messages_are_cut_and_names_stay_names(series):
    long = event("x" * 5000, {"kind": "K", "metadata": {"name": "n" * 253}})

    assert len(long.message) == 1024
    assert len(series.begin(long, 0, NOW)["metadata"]["name"]) <= 253
