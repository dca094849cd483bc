"""A real kube-apiserver that says "later": it does so at an eviction that a PodDisruptionBudget does not allow yet."""

import pytest

from orchestrator.kube import api_error
from orchestrator.kube.client import Client, _Request
from orchestrator.kube.credentials import from_file
from orchestrator.kube.resource import Resource

PODS = Resource("", "v1", "pods", "Pod")
BUDGETS = Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")


@pytest.fixture
def guarded(client, namespace):
    """A running Pod and a budget that nobody has counted yet; returns the eviction's request."""
    metadata = {"namespace": namespace, "name": "a", "labels": {"app": "a"}}
    spec = {"containers": [{"name": "c", "image": "none"}]}
    client.create(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    running = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    client.patch(PODS, "a", {"status": running}, namespace, "status")
    budget = {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}
    client.create(BUDGETS, {"apiVersion": "policy/v1", "kind": BUDGETS.kind, "metadata": metadata, "spec": budget})
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"namespace": namespace, "name": "a"}}
    return _Request("create", "POST", PODS.path(namespace, "a", "eviction"), "evicting", {}, eviction)


def test_who_is_told_to_come_later_comes_later(client, kubeconfig, namespace, guarded):
    pauses = []

    def wait(seconds):
        pauses.append(seconds)
        client.delete(BUDGETS, "a", namespace)

    with Client(from_file(kubeconfig()), sleep=wait) as patient:
        patient._answer(guarded)

    assert pauses == [10.0]


def test_who_has_no_more_time_tells_that_it_was_not_possible(kubeconfig, guarded):
    pauses = []

    with Client(from_file(kubeconfig()), sleep=pauses.append, timeout=25) as patient:
        with pytest.raises(api_error.UnavailableError) as caught:
            patient._answer(guarded)

    assert caught.value.status == 429
    assert pauses == [10.0, 10.0]
