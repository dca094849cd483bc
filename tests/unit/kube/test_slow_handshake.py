"""A server that takes connections and does not answer the first word of TLS, as one that has much to do when it starts."""

import socket

import pytest

from orchestrator.kube import api_error, client
from orchestrator.kube.credentials import Credentials
from orchestrator.kube.resource import Resource

NODES = Resource("", "v1", "nodes", "Node", namespaced=False)


def test_a_watch_that_cannot_even_begin_goes_on_where_it_was_and_lists_nothing_anew(monkeypatch):
    monkeypatch.setattr(client, "_CONNECT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"https://127.0.0.1:{server.getsockname()[1]}"
        with client.Client(Credentials(url, b"")) as one, pytest.raises(api_error.UnavailableError) as caught:
            one.watch(NODES, "1", 600)

    assert not isinstance(caught.value, api_error.SilentError)
