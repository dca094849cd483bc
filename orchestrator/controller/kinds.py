"""The kinds of objects that the controller reads and writes. Pure."""

from __future__ import annotations

from typing import Final

from orchestrator.api import managed_resource
from orchestrator.kube.resource import Resource
from orchestrator.kube.shoot_credentials import SECRETS

_EXTENSIONS: Final = "extensions.gardener.cloud"
_GROUP, _VERSION = managed_resource.API_VERSION.split("/")

CONTAINER_RUNTIMES: Final = Resource(_EXTENSIONS, "v1alpha1", "containerruntimes", "ContainerRuntime")
CLUSTERS: Final = Resource(_EXTENSIONS, "v1alpha1", "clusters", "Cluster", namespaced=False)
MANAGED_RESOURCES: Final = Resource(_GROUP, _VERSION, "managedresources", managed_resource.KIND)
RUNTIME_CLASSES: Final = Resource("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", namespaced=False)
SERVICE_ACCOUNTS: Final = Resource("", "v1", "serviceaccounts", "ServiceAccount")
CONFIG_MAPS: Final = Resource("", "v1", "configmaps", "ConfigMap")
JOBS: Final = Resource("batch", "v1", "jobs", "Job")
PODS: Final = Resource("", "v1", "pods", "Pod")
NODES: Final = Resource("", "v1", "nodes", "Node", namespaced=False)

WRITTEN: Final = {one.kind: one for one in (MANAGED_RESOURCES, SECRETS, RUNTIME_CLASSES, SERVICE_ACCOUNTS, CONFIG_MAPS)}
"""The kinds that steps are about, by the word in ``kind``."""
