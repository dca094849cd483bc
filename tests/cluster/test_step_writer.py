"""Steps carried out on a real kube-apiserver that knows ManagedResources."""

import pytest
from kinds import SECRETS
from patience import eventually

from orchestrator.api import managed_resource
from orchestrator.controller.kinds import MANAGED_RESOURCES
from orchestrator.controller.step import AwaitGone, Change, Create, Delete
from orchestrator.controller.step_writer import Outcome, StepWriter
from orchestrator.kube import api_error
from orchestrator.kube.client import Selection
from orchestrator.kube.resource import Resource

DEFINITIONS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
KIND = managed_resource.KIND


@pytest.fixture(scope="module", autouse=True)
def definition(client):
    """ManagedResources without a schema: what Gardener's own says is no matter of these steps."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": MANAGED_RESOURCES.version, "served": True, "storage": True, "schema": schema}
    names = {"plural": MANAGED_RESOURCES.plural, "kind": MANAGED_RESOURCES.kind}
    client.create(
        DEFINITIONS,
        {
            "apiVersion": DEFINITIONS.api_version,
            "kind": DEFINITIONS.kind,
            "metadata": {
                "name": f"{MANAGED_RESOURCES.plural}.{MANAGED_RESOURCES.group}",
                # The API server wants to know who has approved a group of this name.
                "annotations": {"api-approved.kubernetes.io": "unapproved, a test"},
            },
            "spec": {
                "group": MANAGED_RESOURCES.group,
                "scope": "Namespaced",
                "names": names,
                "versions": [version],
            },
        },
    )

    def served():
        try:
            return list(client.pages(MANAGED_RESOURCES))
        except api_error.AbsentError:
            return False

    eventually(served)


@pytest.fixture
def writer(client, namespace):
    return StepWriter(client, namespace)


def resource(namespace, name="mr", **metadata):
    metadata = {"namespace": namespace, "name": name, **metadata}
    return {"apiVersion": managed_resource.API_VERSION, "kind": KIND, "metadata": metadata, "spec": {"keep": 1}}


def secret(namespace, name="s"):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": namespace, "name": name}}


def names(client, kind, namespace):
    return [raw["metadata"]["name"] for page in client.pages(kind, Selection(namespace)) for raw in page.items]


def test_objects_are_made_changed_and_deleted_in_their_order(client, namespace, writer):
    writer.carry_out(
        [
            Create(secret(namespace)),
            Create(resource(namespace)),
            Change(KIND, "mr", {"spec": {"keepObjects": True}}),
            Delete("Secret", "s"),
        ]
    )

    assert client.get(MANAGED_RESOURCES, "mr", namespace)["spec"] == {"keep": 1, "keepObjects": True}
    assert names(client, SECRETS, namespace) == []


@pytest.mark.parametrize("surprise", ["there already", "gone already"])
def test_what_was_not_planned_for_ends_the_plan_without_an_error(client, namespace, writer, surprise):
    client.create(SECRETS, secret(namespace, "s"))
    step = Create(secret(namespace, "s")) if surprise == "there already" else Change(KIND, "none", {"spec": {}})

    assert writer.carry_out([step, Create(secret(namespace, "later"))]) is Outcome.AGAIN

    assert names(client, SECRETS, namespace) == ["s"]


def test_what_is_gone_need_not_be_deleted(client, namespace, writer):
    assert writer.carry_out([Delete("Secret", "none"), Create(secret(namespace, "later"))]) is Outcome.DONE

    assert names(client, SECRETS, namespace) == ["later"]


def test_nothing_is_done_after_what_has_to_be_gone_first(client, namespace, writer):
    assert writer.carry_out([AwaitGone("mr"), Create(secret(namespace, "later"))]) is Outcome.WAITS

    assert names(client, SECRETS, namespace) == []
