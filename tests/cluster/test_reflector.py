"""A reflector follows a real kube-apiserver, also one that goes away, forgets, or falls silent."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from kinds import CONFIG_MAPS, Told, config_map

from orchestrator.kube.backoff import Backoff
from orchestrator.kube.client import Client, Selection
from orchestrator.kube.credentials import from_file
from orchestrator.kube.reflector import Reflector
from orchestrator.lab.api_server import ApiServer


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def reflector(client, namespace, told):
    return Reflector(client, CONFIG_MAPS, selection=Selection(namespace), handlers=[told], restarted=told.restarted)


@pytest.fixture(scope="module")
def own_server(tmp_path_factory):
    """A server that a test may stop, and starts again."""
    with ApiServer(tmp_path_factory.mktemp("own")) as server:
        yield server


def quick(client, told, **options):
    """A reflector of the namespace ``default`` that does not wait long between its tries."""
    backoff = Backoff(initial=0.05, maximum=0.2)
    return Reflector(
        client,
        CONFIG_MAPS,
        selection=Selection("default"),
        handlers=[told],
        restarted=told.restarted,
        backoff=backoff,
        **options,
    )


def names(reflector):
    return sorted(raw["metadata"]["name"] for raw in reflector.store.objects())


def test_it_holds_what_is_there_and_follows_what_happens(client, namespace, reflector, running, told):
    client.create(CONFIG_MAPS, config_map(namespace, "a"))
    assert not reflector.synced

    with running(reflector):
        assert reflector.wait_synced(30)
        assert names(reflector) == ["a"]
        client.create(CONFIG_MAPS, config_map(namespace, "b"))
        told.wait("added", "b")
        client.patch(CONFIG_MAPS, "b", {"data": {"a": "2"}}, namespace)
        told.wait("updated", "b")
        client.delete(CONFIG_MAPS, "a", namespace)
        told.wait("deleted", "a")

        assert reflector.store.get((namespace, "b"))["data"] == {"a": "2"}
        assert "managedFields" not in reflector.store.get((namespace, "b"))["metadata"]
        assert names(reflector) == ["b"]


def test_a_watch_that_ends_goes_on_without_telling_anything_twice(client, namespace, running, told):
    reflector = Reflector(
        client,
        CONFIG_MAPS,
        selection=Selection(namespace),
        handlers=[told],
        restarted=told.restarted,
        watch_seconds=1,
    )
    client.create(CONFIG_MAPS, config_map(namespace, "a"))

    with running(reflector):
        told.wait("restarted", "ended", times=2)
        client.create(CONFIG_MAPS, config_map(namespace, "b"))
        told.wait("added", "b")

    assert [event for event in told.events if event[0] != "restarted"] == [("added", "a"), ("added", "b")]
    assert {event[1] for event in told.events if event[0] == "restarted"} == {"start", "ended"}


def test_a_server_that_comes_back_is_followed_again_and_what_was_missed_is_learned(
    own_server, kubeconfig, running, told
):
    with Client(from_file(kubeconfig(own_server)), timeout=5) as client:
        client.create(CONFIG_MAPS, config_map("default", "before"))
        reflector = quick(client, told)
        with running(reflector):
            told.wait("added", "before")
            own_server.stop()
            told.wait("restarted", "broken")
            own_server.start()
            client.create(CONFIG_MAPS, config_map("default", "later"))
            told.wait("added", "later")

    assert told.events.count(("added", "before")) == 1


def test_what_the_server_has_forgotten_is_listed_anew(own_server, kubeconfig, running, told):
    """A restarted server remembers nothing from before: where anything was written since, it answers 410.

    It may write something itself before it lists, and may not; so somebody does before it stops.
    """
    with Client(from_file(kubeconfig(own_server)), timeout=5) as client:
        client.create(CONFIG_MAPS, config_map("default", "gone"))
        reflector = quick(client, told)
        with running(reflector):
            told.wait("added", "gone")
            for number in range(3):
                client.create(CONFIG_MAPS, config_map("kube-system", f"unseen-{number}"))
            own_server.stop()
            told.wait("restarted", "broken")
            own_server.start()
            told.wait("restarted", "expired")
            client.delete(CONFIG_MAPS, "gone", "default")
            told.wait("deleted", "gone")


def test_a_server_that_falls_silent_is_noticed(own_server, kubeconfig, running, told):
    with Client(from_file(kubeconfig(own_server)), timeout=2, silence=1) as client:
        reflector = quick(client, told, watch_seconds=1)
        with running(reflector):
            assert reflector.wait_synced(30)
            with own_server.frozen():
                told.wait("restarted", "silent")
            client.create(CONFIG_MAPS, config_map("default", "after"))
            told.wait("added", "after")


def test_it_stops_while_the_server_is_away(own_server, kubeconfig, running, told):
    with Client(from_file(kubeconfig(own_server)), timeout=5) as client:
        own_server.stop()
        with running(quick(client, told)) as reflector:
            told.wait("restarted", "broken")
        own_server.start()

        assert not reflector.synced


MEASURE = """
import sys, threading
from pathlib import Path
from orchestrator.kube.client import Client, Selection
from orchestrator.kube.credentials import from_file
from orchestrator.kube.reflector import Reflector
from orchestrator.kube.resource import Resource
reflector = Reflector(Client(from_file(Path(sys.argv[1]))), Resource("", "v1", "configmaps", "ConfigMap"),
                      selection=Selection(sys.argv[2]))
threading.Thread(target=reflector.run, daemon=True).start()
assert reflector.wait_synced(60)
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
print(len(reflector.store), peak.split()[1])
"""


def test_four_hundred_objects_fit_into_little_memory(client, kubeconfig, namespace):
    with ThreadPoolExecutor(16) as many:
        objects = [config_map(namespace, f"c{number}") | {"data": {"a": "x" * 4000}} for number in range(400)]
        list(many.map(lambda raw: client.create(CONFIG_MAPS, raw), objects))

    argv = [sys.executable, "-c", MEASURE, str(kubeconfig()), namespace]
    told = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)

    count, peak = map(int, told.stdout.split())
    assert count == 400
    assert peak < 120 * 1024  # KiB, the most it ever was


def test_an_error_of_a_handler_ends_it_and_is_raised(client, namespace):
    class Broken(Told):
        def added(self, raw):
            raise ValueError(raw["metadata"]["name"])

    client.create(CONFIG_MAPS, config_map(namespace, "a"))

    with pytest.raises(ValueError, match="a"):
        Reflector(client, CONFIG_MAPS, selection=Selection(namespace), handlers=[Broken()]).run()
