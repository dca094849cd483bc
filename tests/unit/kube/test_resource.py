import pytest

from orchestrator.errors import InvalidInputError
from orchestrator.kube.resource import Resource

SECRETS = Resource("", "v1", "secrets", "Secret")
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
RUNTIMES = Resource("extensions.gardener.cloud", "v1alpha1", "containerruntimes", "ContainerRuntime")


def test_paths_are_those_of_kubernetes():
    assert SECRETS.path("a", "b") == "/api/v1/namespaces/a/secrets/b"
    assert SECRETS.path() == "/api/v1/secrets"
    assert NODES.path(name="n.example") == "/api/v1/nodes/n.example"
    assert RUNTIMES.path("a", "b", "status") == (
        "/apis/extensions.gardener.cloud/v1alpha1/namespaces/a/containerruntimes/b/status"
    )
    assert RUNTIMES.path("a") == "/apis/extensions.gardener.cloud/v1alpha1/namespaces/a/containerruntimes"


def test_api_versions_are_those_of_kubernetes():
    assert (SECRETS.api_version, RUNTIMES.api_version) == ("v1", "extensions.gardener.cloud/v1alpha1")


@pytest.mark.parametrize("name", [".", "..", "a/b", "a%2fb", "/"])
def test_a_name_never_becomes_another_path(name):
    with pytest.raises(InvalidInputError):
        SECRETS.path("a", name)
    with pytest.raises(InvalidInputError):
        SECRETS.path(name, "a")


def test_a_strange_name_is_quoted():
    assert SECRETS.path("a", "x?y z") == "/api/v1/namespaces/a/secrets/x%3Fy%20z"


def test_an_object_is_asked_for_where_it_lives():
    with pytest.raises(InvalidInputError):
        SECRETS.path(name="a")
    with pytest.raises(InvalidInputError):
        NODES.path("a", "b")


def test_people_are_told_what_it_is_and_where():
    assert SECRETS.label("a", "b") == "Secret a/b"
    assert NODES.label(name="n") == "Node n"
    assert SECRETS.label("a") == "all of secrets in a"
    assert NODES.label() == "all of nodes"
