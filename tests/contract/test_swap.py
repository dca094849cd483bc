"""This controller takes the upstream extension's place: in place, and nothing that runs of the latter's stays."""

from __future__ import annotations

import base64

import pytest
from landscape import FINALIZER, SMR, facts, pmr
from patience import eventually

from orchestrator.controller.kinds import CONFIG_MAPS, MANAGED_RESOURCES, SERVICE_ACCOUNTS
from orchestrator.kube.resource import Resource
from orchestrator.kube.shoot_credentials import SECRETS

DAEMON_SETS = Resource("apps", "v1", "daemonsets", "DaemonSet")
SYSTEM = "kube-system"

# The objects of gardener-extension-runtime-gvisor v0.45.0, as far as they matter to who takes its place.
SHARED = """
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: gvisor}
handler: runsc
scheduling:
  nodeSelector: {containerruntime.worker.gardener.cloud/gvisor: "true"}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: gvisor, namespace: kube-system}
"""
INSTALLATION = """
apiVersion: v1
kind: ConfigMap
metadata: {name: containerd-gvisor-a, namespace: kube-system}
data: {run.sh: "#!/bin/sh"}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: containerd-gvisor-a, namespace: kube-system}
spec:
  selector: {matchLabels: {app.kubernetes.io/name: containerd-gvisor}}
  template:
    metadata: {labels: {app.kubernetes.io/name: containerd-gvisor}}
    spec:
      serviceAccountName: gvisor
      containers: [{name: install, image: example.com/installation}]
"""


@pytest.fixture
def upstream(shoot):
    """A Shoot that upstream has reconciled, and whose objects the resource manager has applied."""
    for name, manifest in ((SMR, SHARED), (pmr("a"), INSTALLATION)):
        metadata = {"namespace": shoot.namespace, "name": f"managedresource-{name}-0123abcd"}
        metadata["labels"] = {"resources.gardener.cloud/garbage-collectable-reference": "true"}
        data = {"config.yaml": base64.b64encode(manifest.encode()).decode()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "immutable": True, "data": data}
        shoot.client.create(SECRETS, secret)
        raw = {
            "apiVersion": MANAGED_RESOURCES.api_version,
            "kind": MANAGED_RESOURCES.kind,
            "metadata": {
                "namespace": shoot.namespace,
                "name": name,
                "labels": {"origin": "extension-runtime-gvisor"},
                "annotations": {"reference.resources.gardener.cloud/secret-00000000": metadata["name"]},
            },
            "spec": {
                "injectLabels": {"shoot.gardener.cloud/no-cleanup": "true"},
                "keepObjects": False,
                "secretRefs": [{"name": metadata["name"]}],
            },
        }
        shoot.client.create(MANAGED_RESOURCES, raw)
    shoot.deploy(operation=None, metadata={"finalizers": [FINALIZER]})
    last = {"type": "Create", "state": "Succeeded", "progress": 100, "description": ""}
    last["lastUpdateTime"] = "2026-08-21T10:00:00Z"
    shoot.patch("a", {"status": {"lastOperation": last, "observedGeneration": 1}}, "status")
    eventually(lambda: found(shoot, DAEMON_SETS) and shoot.runtime_class())
    return shoot


def found(shoot, resource, name="containerd-gvisor-a"):
    return shoot.target.find(resource, name, SYSTEM)


def test_upstreams_objects_go_and_the_runtime_class_stays_the_same_object(upstream, controller):
    before = upstream.runtime_class()
    with controller():
        upstream.ask()
        raw = upstream.await_ready()
        eventually(lambda: not found(upstream, DAEMON_SETS), 60, lambda: upstream.resource(pmr("a")))
        eventually(lambda: not found(upstream, CONFIG_MAPS) and not found(upstream, SERVICE_ACCOUNTS, "gvisor"))
        upstream.await_healthy()

    assert "Reconcile" == facts(raw)[0]
    assert before["metadata"]["uid"] == upstream.runtime_class()["metadata"]["uid"]
    assert found(upstream, CONFIG_MAPS, "gvisor-nodes-a")
    for name in (SMR, pmr("a")):
        [annotation] = [
            key for key in upstream.resource(name)["metadata"]["annotations"] if key.startswith("reference.")
        ]
        assert annotation != "reference.resources.gardener.cloud/secret-00000000"


def test_what_upstream_left_alone_is_left_alone_until_gardenlet_asks(upstream, controller, beacon):
    with controller() as running:
        beacon(upstream, running)

    assert found(upstream, DAEMON_SETS)
