"""Changes that compete, on a real kube-apiserver."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from kinds import CONFIG_MAPS, config_map

from orchestrator.kube import api_error
from orchestrator.kube.change import change


def add_finalizer(name):
    def make(raw):
        metadata = raw["metadata"]
        finalizers = metadata.get("finalizers", [])
        if name in finalizers:
            return {}
        return {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": [*finalizers, name]}}

    return make


def test_a_change_that_came_second_is_made_anew_from_the_newer_object(client, namespace):
    stale = client.create(CONFIG_MAPS, config_map(namespace, "a"))
    client.patch(CONFIG_MAPS, "a", {"metadata": {"finalizers": ["example.org/first"]}}, namespace)

    after = change(client, CONFIG_MAPS, stale, add_finalizer("example.org/second"))

    assert after["metadata"]["finalizers"] == ["example.org/first", "example.org/second"]


def test_no_change_of_many_at_once_is_lost(client, namespace):
    raw = client.create(CONFIG_MAPS, config_map(namespace, "a"))
    names = [f"example.org/f{number}" for number in range(4)]

    with ThreadPoolExecutor(4) as many:
        list(many.map(lambda name: change(client, CONFIG_MAPS, raw, add_finalizer(name)), names))

    assert sorted(client.get(CONFIG_MAPS, "a", namespace)["metadata"]["finalizers"]) == names


def test_nothing_to_do_asks_for_nothing(client, namespace):
    raw = config_map(namespace, "never made")

    assert change(client, CONFIG_MAPS, raw, lambda _: {}) is raw


def test_a_change_of_what_is_gone_is_told(client, namespace):
    with pytest.raises(api_error.AbsentError):
        change(client, CONFIG_MAPS, config_map(namespace, "gone"), lambda _: {"data": {"a": "2"}})


def test_somebody_who_always_comes_first_ends_it(client, namespace):
    raw = client.create(CONFIG_MAPS, config_map(namespace, "a"))
    pauses = []

    with pytest.raises(api_error.ConflictError):
        change(
            client,
            CONFIG_MAPS,
            raw,
            lambda _: {"metadata": {"resourceVersion": "1"}},
            sleep=pauses.append,
            random=lambda: 0.5,
        )

    assert pauses == [0.015] * 4
