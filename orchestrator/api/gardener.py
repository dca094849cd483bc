"""Names that Gardener gives a meaning: annotations, labels, the finalizer, the labels of nodes.

Source: gardener/gardener v1.149.3, ``pkg/apis/core/v1beta1/constants/types_constants.go`` where nothing else is said.
"""

from __future__ import annotations

from typing import Final

OPERATION: Final = "gardener.cloud/operation"
"""The annotation that asks an extension to act; the values are below."""
OPERATION_RECONCILE: Final = "reconcile"
OPERATION_RESTORE: Final = "restore"
OPERATION_MIGRATE: Final = "migrate"
OPERATION_WAIT_FOR_STATE: Final = "wait-for-state"

FORCE_DELETION: Final = "confirmation.gardener.cloud/force-deletion"
"""The Shoot's annotation: delete without waiting for anybody."""

FINALIZER: Final = "extensions.gardener.cloud/containerruntime"
"""Shared by all controllers of ContainerRuntimes (``extensions/pkg/controller/containerruntime/controller.go``)."""

ORIGIN: Final = "origin"
"""The label of a ManagedResource that says whose it is; gardenlet deletes and keeps those of ``gardener``."""
NO_CLEANUP: Final = "shoot.gardener.cloud/no-cleanup"
"""The label that keeps an object through gardenlet's cleanup of a Shoot that is deleted."""

GARBAGE_COLLECTABLE: Final = "resources.gardener.cloud/garbage-collectable-reference"
"""The label of Secrets that the resource manager deletes once no annotation references them."""
REFERENCE_PREFIX: Final = "reference.resources.gardener.cloud/"
"""Annotations below it say what an object references
(``pkg/resourcemanager/controller/garbagecollector/references``)."""

CRI_NAME: Final = "worker.gardener.cloud/cri-name"
"""The Node's label that names its container runtime interface, ``containerd`` where gVisor is possible."""
RUNTIME_LABEL: Final = "containerruntime.worker.gardener.cloud/gvisor"
"""The label of every Node of a pool with gVisor, known to the autoscaler before the pool has a Node."""


def parse_bool(value: str) -> bool:
    """Whether a text is one of those that Go's ``strconv.ParseBool`` takes for true."""
    return value in {"1", "t", "T", "TRUE", "true", "True"}
