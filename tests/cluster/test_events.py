"""Events on a real kube-apiserver."""

import threading

import pytest
from kinds import CONFIG_MAPS, NAMESPACES, NOBODY, config_map

from orchestrator.kube.client import Client, Selection
from orchestrator.kube.credentials import from_file
from orchestrator.kube.events import EVENTS, EventRecorder


def written(recorder):
    """Write what was recorded."""
    thread = threading.Thread(target=recorder.run)
    thread.start()
    recorder.stop()
    thread.join(30)
    assert not thread.is_alive()


def events(client, namespace):
    return [raw for page in client.pages(EVENTS, Selection(namespace)) for raw in page.items]


@pytest.fixture
def recorder(client):
    return EventRecorder(client, "gvisor-nodes")


def test_the_same_twice_is_one_event_that_happened_twice(client, namespace, recorder):
    raw = client.create(CONFIG_MAPS, config_map(namespace, "a"))
    for message in ("hello", "hello", "other"):
        recorder.record(raw, "Normal", "Greeted", message)

    written(recorder)

    assert sorted((one["message"], one["count"]) for one in events(client, namespace)) == [("hello", 2), ("other", 1)]


def test_an_event_that_the_server_has_forgotten_is_written_anew(client, namespace, recorder):
    raw = client.create(CONFIG_MAPS, config_map(namespace, "a"))
    recorder.record(raw, "Normal", "Greeted", "hello")
    written(recorder)
    for one in events(client, namespace):
        client.delete(EVENTS, one["metadata"]["name"], namespace)

    recorder.record(raw, "Normal", "Greeted", "hello")
    written(recorder)

    assert [one["count"] for one in events(client, namespace)] == [1]


def test_what_belongs_to_the_whole_cluster_has_events_too(client, namespace, recorder):
    raw = client.get(NAMESPACES, namespace)
    recorder.record(raw, "Warning", "Greeted", namespace)

    written(recorder)

    assert namespace in [one["message"] for one in events(client, "default")]


def test_who_may_not_write_events_loses_them_and_nothing_else(client, kubeconfig, namespace, caplog):
    raw = client.create(CONFIG_MAPS, config_map(namespace, "a"))
    with Client(from_file(kubeconfig(token=NOBODY))) as nobody:
        recorder = EventRecorder(nobody, "gvisor-nodes")
        recorder.record(raw, "Normal", "Greeted", "hello")
        written(recorder)

    assert "an event is lost, Greeted" in caplog.text
    assert events(client, namespace) == []


def test_recording_never_waits_for_the_server(client, namespace, recorder, caplog):
    raw = config_map(namespace, "a")

    for number in range(1100):
        recorder.record(raw, "Normal", "Greeted", f"hello {number}")

    assert "an event is dropped" in caplog.text
