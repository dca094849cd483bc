"""Waiting for deletions on a real kube-apiserver."""

import threading
import time

import pytest
from kinds import CONFIG_MAPS, config_map

from orchestrator.kube.deletion import await_gone


@pytest.fixture
def held(client, namespace):
    """An object that is being deleted and whose finalizer holds it."""
    client.create(CONFIG_MAPS, config_map(namespace, "held", finalizers=["example.org/hold"]))
    client.delete(CONFIG_MAPS, "held", namespace)
    return namespace


def let_go(client, namespace):
    client.patch(CONFIG_MAPS, "held", {"metadata": {"finalizers": None}}, namespace)


def test_what_is_not_there_is_gone(client, namespace):
    assert await_gone(client, CONFIG_MAPS, "a", namespace, timeout=0) is None


def test_it_is_known_as_soon_as_the_last_finalizer_is_away(client, held):
    result = []
    waiting = threading.Thread(target=lambda: result.append(await_gone(client, CONFIG_MAPS, "held", held, timeout=60)))
    waiting.start()
    began = time.monotonic()

    let_go(client, held)
    waiting.join(30)

    assert result == [None]
    assert time.monotonic() - began < 20


def test_what_does_not_go_in_time_is_returned_as_it_is(client, held):
    left = await_gone(client, CONFIG_MAPS, "held", held, timeout=0.5)

    assert left["metadata"]["deletionTimestamp"]
    assert left["metadata"]["finalizers"] == ["example.org/hold"]


def test_one_of_the_same_name_that_is_made_anew_is_another_object(client, held):
    uid = client.get(CONFIG_MAPS, "held", held)["metadata"]["uid"]
    let_go(client, held)
    client.create(CONFIG_MAPS, config_map(held, "held"))

    assert await_gone(client, CONFIG_MAPS, "held", held, uid=uid, timeout=60) is None


def test_waiting_ends_when_the_process_is_to_end(client, held):
    stop = threading.Event()
    stop.set()
    began = time.monotonic()

    left = await_gone(client, CONFIG_MAPS, "held", held, timeout=60, stop=stop)

    assert left["metadata"]["name"] == "held"
    assert time.monotonic() - began < 30
