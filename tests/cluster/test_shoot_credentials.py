"""Access to a Shoot by Secrets in a real kube-apiserver, which here is the Shoot's too."""

import base64
import json

import pytest
from kinds import NAMESPACES, NOBODY, SECRETS

from orchestrator.errors import NotReadyError
from orchestrator.kube import api_error
from orchestrator.kube.client import Client
from orchestrator.kube.credentials import from_file
from orchestrator.kube.shoot_credentials import shoot_credentials


def data(kubeconfig):
    return {"kubeconfig": base64.b64encode(json.dumps(kubeconfig).encode()).decode()}


@pytest.fixture
def keep(client, namespace):
    """Keeps a kubeconfig in a Secret."""

    def make(name, kubeconfig):
        metadata = {"namespace": namespace, "name": name}
        client.create(SECRETS, {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data(kubeconfig)})

    return make


def test_the_address_inside_the_seed_is_preferred(client, namespace, server, keep):
    keep("gardener-internal", server.kubeconfig())
    keep("gardener", server.kubeconfig(NOBODY))

    assert shoot_credentials(client, namespace).token is None
    assert shoot_credentials(client, namespace, external=True).token.read() == NOBODY


def test_without_it_the_shoots_own_is_taken(client, namespace, server, keep):
    keep("gardener", server.kubeconfig())

    with Client(shoot_credentials(client, namespace)) as shoot:
        assert shoot.get(NAMESPACES, "default")["metadata"]["name"] == "default"


def test_without_either_it_is_not_ready(client, namespace):
    with pytest.raises(NotReadyError, match="no access"):
        shoot_credentials(client, namespace)


def test_a_token_that_is_not_there_yet_is_no_error_of_anybody(client, namespace, server, keep):
    empty = server.kubeconfig(NOBODY)
    empty["users"][0]["user"]["token"] = ""
    keep("gardener-internal", empty)

    with pytest.raises(NotReadyError, match="no token yet"):
        shoot_credentials(client, namespace)


def test_a_renewed_token_is_used_by_the_next_run(client, namespace, server, keep):
    keep("gardener-internal", server.kubeconfig("worn-out"))
    with Client(shoot_credentials(client, namespace)) as shoot, pytest.raises(api_error.UnauthorizedError):
        shoot.get(NAMESPACES, "default")

    client.patch(SECRETS, "gardener-internal", {"data": data(server.kubeconfig(NOBODY))}, namespace)

    with Client(shoot_credentials(client, namespace)) as shoot, pytest.raises(api_error.ForbiddenError):
        shoot.get(NAMESPACES, "default")


def test_who_may_not_read_the_secret_is_told(kubeconfig, namespace):
    with Client(from_file(kubeconfig(token=NOBODY))) as nobody, pytest.raises(api_error.ForbiddenError):
        shoot_credentials(nobody, namespace)
