"""The objects of the contract's fixtures, as an API server would send them."""

from __future__ import annotations

import copy

from orchestrator.api.merge_patch import merge

NAMESPACE = "shoot--foo--bar"
CONFIGURATION = {
    "apiVersion": "gvisor.runtime.extensions.config.gardener.cloud/v1alpha1",
    "kind": "GVisorConfiguration",
}
# The upstream README's examples, as they stand there (indentation restored).
README_CONTAINER_RUNTIME = """
apiVersion: extensions.gardener.cloud/v1alpha1
kind: ContainerRuntime
metadata:
  name: my-container-runtime
spec:
  binaryPath: /var/bin/containerruntimes
  type: gvisor
  providerConfig:
    apiVersion: gvisor.runtime.extensions.config.gardener.cloud/v1alpha1
    configFlags:
      net-raw: "true"
    kind: GVisorConfiguration
  workerPool:
    name: worker-ubuntu
    selector:
      matchLabels:
        worker.gardener.cloud/pool: worker-xyz
"""
README_PROVIDER_CONFIGS = (
    """
apiVersion: gvisor.runtime.extensions.config.gardener.cloud/v1alpha1
kind: GVisorConfiguration
configFlags:
  debug: "true"
  net-raw: "true"
  nvproxy: "true"
""",
    """
apiVersion: gvisor.runtime.extensions.config.gardener.cloud/v1alpha1
kind: GVisorConfiguration
configFlags:
  nvproxy: "true"
""",
)


def container_runtime(pool="a", **changes):
    """CR-x of the contract: no finalizer, no status, asked to reconcile; then the changes as a merge patch."""
    raw = {
        "apiVersion": "extensions.gardener.cloud/v1alpha1",
        "kind": "ContainerRuntime",
        "metadata": {
            "name": f"gvisor-{pool}",
            "namespace": NAMESPACE,
            "uid": f"uid-of-{pool}",
            "resourceVersion": "7",
            "generation": 1,
            "annotations": {
                "gardener.cloud/operation": "reconcile",
                "gardener.cloud/timestamp": "2026-08-21T10:00:00.123456789Z",
            },
        },
        "spec": {
            "type": "gvisor",
            "binaryPath": "/var/bin/containerruntimes",
            "workerPool": {
                "name": pool,
                "selector": {
                    "matchLabels": {"worker.gardener.cloud/pool": pool, "worker.garden.sapcloud.io/group": pool}
                },
            },
        },
    }
    return merge(raw, changes)


def cluster(**shoot):
    """CL of the contract, its Shoot changed by a merge patch."""
    raw = {
        "apiVersion": "core.gardener.cloud/v1beta1",
        "kind": "Shoot",
        "metadata": {"name": "bar", "namespace": "garden-foo", "creationTimestamp": None},
        "spec": {
            "kubernetes": {"version": "1.33.0"},
            "provider": {
                "workers": [{"name": "a", "cri": {"name": "containerd", "containerRuntimes": [{"type": "gvisor"}]}}]
            },
        },
        "status": {
            "lastOperation": {"type": "Reconcile", "state": "Processing"},
            "technicalID": NAMESPACE,
        },
    }
    return {
        "apiVersion": "extensions.gardener.cloud/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": NAMESPACE},
        "spec": {"cloudProfile": {}, "seed": None, "shoot": merge(copy.deepcopy(raw), shoot)},
    }


def node(name, *, pool="a", group="a", cri="containerd", **labels):
    """A Node of a pool; a label that is None is not there."""
    wanted = {
        "worker.gardener.cloud/pool": pool,
        "worker.garden.sapcloud.io/group": group,
        "worker.gardener.cloud/cri-name": cri,
        **labels,
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {key: value for key, value in wanted.items() if value is not None}},
        "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]},
    }
