"""Case 82: how the API server of a Shoot is reached. (Its other rules: ``tests/cluster/test_shoot_credentials.py``.)"""

from __future__ import annotations

import base64
import json

import pytest

from orchestrator.controller.kinds import RUNTIME_CLASSES
from orchestrator.errors import NotReadyError
from orchestrator.kube.client import Client
from orchestrator.kube.shoot_credentials import SECRETS, shoot_credentials


@pytest.fixture
def access(shoot):
    """Writes a Secret with the kubeconfig of the Shoot's API server, of a server name that tells which it is."""

    def write(name, *, token):
        config = shoot.target_kubeconfig(token)
        encoded = base64.b64encode(json.dumps(config).encode()).decode()
        raw = {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": shoot.namespace, "name": name}}
        if shoot.secret(name) is None:
            shoot.client.create(SECRETS, {**raw, "data": {"kubeconfig": encoded}})
        else:
            shoot.client.patch(SECRETS, name, {"data": {"kubeconfig": encoded}}, shoot.namespace)

    return write


def token_of(shoot, **how):
    return shoot_credentials(shoot.client, shoot.namespace, **how).token.read()


def test_case_82_the_internal_access_comes_first(shoot, access):
    access("gardener", token="external")
    assert "external" == token_of(shoot)

    access("gardener-internal", token="internal")
    assert "internal" == token_of(shoot)
    assert "external" == token_of(shoot, external=True)


def test_case_82_a_new_token_is_used_by_the_next_run(shoot, access, viewer):
    access("gardener-internal", token="not-yet-valid")
    access("gardener-internal", token=viewer)
    with Client(shoot_credentials(shoot.client, shoot.namespace)) as client:
        assert list(client.pages(RUNTIME_CLASSES))


def test_case_82_an_empty_token_means_not_ready_yet(shoot, access):
    access("gardener-internal", token="")
    with pytest.raises(NotReadyError):
        token_of(shoot)
