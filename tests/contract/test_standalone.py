"""The same controller and verbs in a cluster without Gardener: its own definition, objects written directly."""

from __future__ import annotations

import secrets
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest
import yaml
from gardener_objects import CONFIGURATION, README_CONTAINER_RUNTIME
from landscape import FINALIZER, NAMESPACES, NODES, Running, controller_process, facts, version, with_options
from patience import eventually
from played_kubelet import PlayedKubelet

from orchestrator.controller.definition import DEFINITIONS, definition, ensure_definition
from orchestrator.controller.installation import Installation
from orchestrator.controller.kinds import CONFIG_MAPS, CONTAINER_RUNTIMES, RUNTIME_CLASSES, SERVICE_ACCOUNTS
from orchestrator.controller.nodes.job import JobSettings
from orchestrator.controller.nodes.plan import Pace
from orchestrator.controller.nodes.settings import NodesOptions
from orchestrator.controller.verb import TriggerMode
from orchestrator.kube import api_error
from orchestrator.kube.client import Selection

NAME = "containerruntimes.extensions.gardener.cloud"
SYSTEM = "kube-system"


@pytest.fixture
def pools(client):
    """Pools in a namespace of the test's own; the cluster has none of them afterwards."""
    namespace = f"test-{secrets.token_hex(3)}"
    client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    one = Pools(client, namespace)
    yield one
    with Running(client, STANDALONE):
        for name in one.names():
            client.delete(CONTAINER_RUNTIMES, name, namespace)
        eventually(lambda: not one.names(), what=one.names)
    client.delete(RUNTIME_CLASSES, "gvisor")


STANDALONE = with_options(standalone=True, mode=TriggerMode.GENERATION)


class Pools:
    def __init__(self, client, namespace):
        self.client = client
        self.namespace = namespace

    def apply(self, name="a", **spec):
        wanted = {
            "type": "gvisor",
            "binaryPath": "/opt/gvisor-nodes",
            "workerPool": {"name": f"{self.namespace}-{name}", "selector": {"matchLabels": {"pool": name}}},
            **spec,
        }
        metadata = {"name": name, "namespace": self.namespace}
        kind = {"apiVersion": CONTAINER_RUNTIMES.api_version, "kind": CONTAINER_RUNTIMES.kind}
        return self.client.create(CONTAINER_RUNTIMES, {**kind, "metadata": metadata, "spec": wanted})

    def patch(self, name, patch):
        return self.client.patch(CONTAINER_RUNTIMES, name, patch, self.namespace)

    def get(self, name="a"):
        return self._found(CONTAINER_RUNTIMES, name, self.namespace)

    def runtime_class(self):
        return self._found(RUNTIME_CLASSES, "gvisor", "")

    def of(self, resource, name="a"):
        """What a pool has of a kind."""
        return self._found(resource, f"gvisor-nodes-{self.namespace}-{name}", SYSTEM)

    def names(self):
        pages = self.client.pages(CONTAINER_RUNTIMES, Selection(self.namespace))
        return [raw["metadata"]["name"] for page in pages for raw in page.items]

    def await_observed(self, name="a", state="Succeeded"):
        """Wait until the newest spec has been dealt with."""

        def looked():
            raw = self.get(name)
            status = raw.get("status", {})
            last = status.get("lastOperation", {})
            current = status.get("observedGeneration") == raw["metadata"]["generation"]
            return raw if current and last.get("state") == state else None

        return eventually(looked, what=lambda: self.get(name))

    def _found(self, resource, name, namespace):
        return self.client.find(resource, name, namespace)


def test_the_definition_is_made_once_and_brought_to_this_version(client):
    before = client.get(DEFINITIONS, NAME)
    ensure_definition(client, threading.Event())
    assert version(before) == version(client.get(DEFINITIONS, NAME))

    client.patch(DEFINITIONS, NAME, {"spec": {"names": {"shortNames": ["old"]}}})
    ensure_definition(client, threading.Event())
    assert definition()["spec"]["names"]["shortNames"] == client.get(DEFINITIONS, NAME)["spec"]["names"]["shortNames"]


def test_gardeners_definition_stays_as_it_is(seed):
    before = seed.get(DEFINITIONS, NAME)
    ensure_definition(seed, threading.Event())

    assert version(before) == version(seed.get(DEFINITIONS, NAME))


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ({"binaryPath": "relative"}, "must be absolute"),
        ({"binaryPath": "/opt/../etc"}, "must be absolute"),
        ({"workerPool": {"name": "A_b", "selector": {}}}, "DNS label"),
        ({"providerConfig": {"kind": "Other"}}, "GVisorConfiguration"),
        ({"providerConfig": {"configFlags": {"debug": True}}}, "configFlags.debug"),
        ({"type": ""}, "type"),
    ],
)
def test_a_wrong_object_is_refused_when_it_is_written(pools, spec, named):
    with pytest.raises(api_error.InvalidObjectError, match=named):
        pools.apply(**spec)


def test_what_a_pool_is_cannot_be_changed(pools):
    pools.apply()
    for spec in ({"type": "kata"}, {"workerPool": {"name": "other"}}):
        with pytest.raises(api_error.InvalidObjectError, match="immutable"):
            pools.patch("a", {"spec": spec})


def test_an_object_is_provided_for_without_anybody_asking(pools):
    with Running(pools.client, STANDALONE):
        pools.apply()
        raw = pools.await_observed()

    assert ("Create", "Succeeded", 100, "Successfully reconciled ContainerRuntime") == facts(raw)
    assert [FINALIZER] == raw["metadata"]["finalizers"]
    assert "runsc" == pools.runtime_class()["handler"]
    assert {"containerruntime.worker.gardener.cloud/gvisor": "true"} == pools.runtime_class()["scheduling"][
        "nodeSelector"
    ]
    assert pools.of(SERVICE_ACCOUNTS)["automountServiceAccountToken"] is False
    assert "/opt/gvisor-nodes" in pools.of(CONFIG_MAPS)["data"]["variables.json"]


@pytest.mark.feature("G3")
def test_the_status_tells_of_nodes_and_of_nothing_that_only_gardener_has(pools):
    options = replace(
        STANDALONE, nodes=NodesOptions(job=JobSettings(image="example/gvisor-nodes:test"), pace=Pace(first=600.0))
    )
    with node(pools, "n1") as name, PlayedKubelet(pools.client) as kubelet, Running(pools.client, options) as running:
        pools.apply()
        kubelet.ends(name, "failed", step="containerd", message="it did not start")
        said = await_nodes_ready(pools, "False")
        assert f"0 of 1 nodes: gVisor is proved; 1 failed; {name} [containerd]: it did not start" == said["message"]

        # Another wish begins anew, without a pause.
        pools.patch("a", {"spec": {"providerConfig": {**CONFIGURATION, "configFlags": {"debug": "true"}}}})
        kubelet.ends(name)
        await_nodes_ready(pools, "True")
        eventually(lambda: running.controller.queue.drain(0.0))

    status = pools.get()["status"]
    assert "SystemComponentsHealthy" not in {one["type"] for one in status["conditions"]}
    assert (1, 1, {"Ready": 1}) == tuple(
        status["providerStatus"][name] for name in ("nodesTotal", "nodesReady", "states")
    )
    assert pools.of(CONFIG_MAPS)["data"]["fingerprint"] == status["providerStatus"]["fingerprint"]


@contextmanager
def node(pools, name):
    """A Node of the pool while the block lasts."""
    metadata = {"name": f"{pools.namespace}-{name}", "labels": {"pool": "a"}}
    pools.client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": metadata})
    info = {"containerRuntimeVersion": "containerd://2.4.2"}
    status = {"nodeInfo": info, "conditions": [{"type": "Ready", "status": "True"}]}
    pools.client.patch(NODES, metadata["name"], {"status": status}, "", "status")
    try:
        yield metadata["name"]
    finally:
        pools.client.delete(NODES, metadata["name"])


def await_nodes_ready(pools, status):
    def looked():
        conditions = pools.get()["status"].get("conditions", ())
        return next((one for one in conditions if (one["type"], one["status"]) == ("GVisorNodesReady", status)), None)

    return eventually(looked, what=lambda: pools.get()["status"])


def test_a_changed_spec_is_acted_upon_and_the_same_again_writes_nothing(pools):
    with Running(pools.client, STANDALONE) as running:
        pools.apply()
        pools.await_observed()
        pools.patch("a", {"spec": {"providerConfig": {**CONFIGURATION, "configFlags": {"debug": "true"}}}})
        raw = pools.await_observed()
        assert "Reconcile" == facts(raw)[0]
        assert "--debug=true" in pools.of(CONFIG_MAPS)["data"]["flags"]

        before = [version(one) for one in (pools.runtime_class(), pools.of(CONFIG_MAPS), pools.of(SERVICE_ACCOUNTS))]
        pools.patch("a", {"metadata": {"annotations": {"gardener.cloud/operation": "reconcile"}}})
        eventually(lambda: not pools.get()["metadata"].get("annotations"), what=pools.get)
        running.await_quiet()
        assert before == [
            version(one) for one in (pools.runtime_class(), pools.of(CONFIG_MAPS), pools.of(SERVICE_ACCOUNTS))
        ]


def test_a_controller_that_begins_with_another_release_brings_it_without_being_asked(pools):
    pools.apply()
    with Running(pools.client, STANDALONE):
        pools.await_observed()
    other = with_options(standalone=True, mode=TriggerMode.GENERATION, installation=Installation(release="20250205.0"))
    with Running(pools.client, other):
        eventually(lambda: "20250205.0" in pools.of(CONFIG_MAPS)["data"]["variables.json"])


def test_a_deletion_removes_the_pools_objects_and_the_last_one_the_runtime_class(pools):
    with Running(pools.client, STANDALONE):
        for name in ("a", "b"):
            pools.apply(name)
            pools.await_observed(name)
        pools.client.delete(CONTAINER_RUNTIMES, "a", pools.namespace)
        eventually(lambda: pools.get("a") is None, what=pools.get)
        assert (None, None) == (pools.of(CONFIG_MAPS, "a"), pools.of(SERVICE_ACCOUNTS, "a"))
        assert pools.of(CONFIG_MAPS, "b")
        assert pools.runtime_class()

        pools.client.delete(CONTAINER_RUNTIMES, "b", pools.namespace)
        eventually(lambda: pools.get("b") is None, what=lambda: pools.get("b"))
        assert pools.of(CONFIG_MAPS, "b") is None
        assert pools.runtime_class() is None


def test_a_migration_leaves_the_cluster_what_it_has(pools):
    with Running(pools.client, STANDALONE):
        pools.apply()
        pools.await_observed()
        pools.patch("a", {"metadata": {"annotations": {"gardener.cloud/operation": "migrate"}}})
        raw = eventually(
            lambda: (raw := pools.get()) and not raw["metadata"].get("annotations") and raw, what=pools.get
        )

    assert ("Migrate", "Succeeded") == facts(raw)[:2]
    assert "finalizers" not in raw["metadata"]
    assert pools.runtime_class()
    assert pools.of(CONFIG_MAPS)
    assert pools.of(SERVICE_ACCOUNTS)


def test_a_runtime_class_of_somebody_else_is_named_and_left_and_its_end_is_enough_to_go_on(pools):
    foreign = {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": "gvisor"},
        "handler": "mine",
    }
    pools.client.create(RUNTIME_CLASSES, foreign)
    with Running(pools.client, STANDALONE):
        pools.apply()
        raw = pools.await_observed(state="Error")
        assert "RuntimeClass gvisor" in facts(raw)[3]
        assert "To do: delete it" in facts(raw)[3]
        assert "mine" == pools.runtime_class()["handler"]
        assert pools.of(CONFIG_MAPS) is None

        pools.client.delete(RUNTIME_CLASSES, "gvisor")
        pools.await_observed()


def test_the_process_brings_what_it_needs_and_serves_the_upstream_readmes_example(pools, server, tmp_path):
    pools.client.delete(DEFINITIONS, NAME)
    eventually(lambda: pools.client.find(DEFINITIONS, NAME) is None)
    with controller_process(tmp_path, server.kubeconfig_file, {"mode": "standalone"}) as one:
        one.await_ready()
        raw = yaml.safe_load(README_CONTAINER_RUNTIME)
        raw["metadata"]["namespace"] = pools.namespace
        pools.client.create(CONTAINER_RUNTIMES, raw)
        pools.await_observed("my-container-runtime")
        assert pools.runtime_class()
        assert 0 == one.end(), one.text
