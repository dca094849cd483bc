"""A real kube-apiserver with etcd for the tests of this folder; where they are not built, an error says what builds them.

The server is shared: a test that needs objects makes a namespace of its own, a test that stops a server has its own.
"""

from __future__ import annotations

import json
import secrets
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode finds no sibling modules by itself

from kinds import NAMESPACES, NOBODY

from orchestrator.kube.client import Client
from orchestrator.kube.credentials import from_file
from orchestrator.lab.api_server import ApiServer
from orchestrator.lab.paths import replace_file


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The server that tests share."""
    with ApiServer(tmp_path_factory.mktemp("api-server"), tokens={NOBODY: "nobody"}) as running:
        yield running


@pytest.fixture(scope="session")
def kubeconfig(tmp_path_factory, server):
    """Writes the kubeconfig of a server, of the administrator or of a token's user; returns its path."""

    def write(of=server, token=""):
        path = tmp_path_factory.mktemp("kubeconfig") / "config"
        replace_file(path, json.dumps(of.kubeconfig(token)), mode=0o600)
        return path

    return write


@pytest.fixture(scope="session")
def client(kubeconfig):
    """The administrator."""
    with Client(from_file(kubeconfig())) as one:
        yield one


@pytest.fixture
def namespace(client):
    """A namespace of the test's own."""
    name = f"test-{secrets.token_hex(4)}"
    client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


@contextmanager
def _running(reflector):
    thread = threading.Thread(target=reflector.run, daemon=True)
    thread.start()
    try:
        yield reflector
    finally:
        reflector.stop()
        thread.join(60)
        assert not thread.is_alive(), "it does not stop"


@pytest.fixture
def running():
    """Runs a reflector in a thread while a block lasts, and checks that it stops."""
    return _running
