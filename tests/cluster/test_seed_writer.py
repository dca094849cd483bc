"""Steps carried out on a real kube-apiserver that knows ManagedResources."""

import threading

import pytest
from kinds import SECRETS, eventually

from orchestrator.api import managed_resource
from orchestrator.controller.seed_step import AwaitGone, Change, Create, Delete
from orchestrator.controller.seed_writer import MANAGED_RESOURCES, SeedWriter
from orchestrator.errors import StillThereError
from orchestrator.kube import api_error
from orchestrator.kube.client import Selection
from orchestrator.kube.resource import Resource

DEFINITIONS = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
KIND = managed_resource.KIND
HELD = {"finalizers": ["resources.gardener.cloud/gardener-resource-manager"]}


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
    return SeedWriter(client, namespace, patience=1)


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

    writer.carry_out([step, Create(secret(namespace, "later"))])

    assert names(client, SECRETS, namespace) == ["s"]


def test_what_is_gone_need_not_be_deleted_nor_waited_for(client, namespace, writer):
    writer.carry_out([Delete("Secret", "none"), AwaitGone("none"), Create(secret(namespace, "later"))])

    assert names(client, SECRETS, namespace) == ["later"]


def test_a_resource_that_does_not_go_in_time_is_told_with_what_is_known_of_it(client, namespace, writer):
    client.create(MANAGED_RESOURCES, resource(namespace, **HELD))
    writer.carry_out([Delete(KIND, "mr")])
    condition = {"type": "ResourcesApplied", "status": "False", "reason": "DeletionFailed", "message": "stuck"}
    client.patch(MANAGED_RESOURCES, "mr", {"status": {"conditions": [condition]}}, namespace)

    with pytest.raises(StillThereError, match="stuck"):
        writer.carry_out([AwaitGone("mr")])


def test_waiting_ends_when_the_resource_manager_lets_go(client, namespace):
    client.create(MANAGED_RESOURCES, resource(namespace, **HELD))
    writer = SeedWriter(client, namespace, patience=60)
    writer.carry_out([Delete(KIND, "mr")])
    waiting = threading.Thread(target=writer.carry_out, args=([AwaitGone("mr"), Create(secret(namespace, "after"))],))
    waiting.start()

    client.patch(MANAGED_RESOURCES, "mr", {"metadata": {"finalizers": None}}, namespace)
    waiting.join(30)

    assert names(client, SECRETS, namespace) == ["after"]
