"""The ContainerRuntime (``extensions.gardener.cloud/v1alpha1``): one worker pool that wants one container runtime.

Source: gardener/gardener v1.149.3, ``pkg/apis/extensions/v1alpha1/types_containerruntime.go``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from orchestrator.api import gardener
from orchestrator.api.label_selector import LabelSelector
from orchestrator.api.last_operation import LastOperation
from orchestrator.api.view import KubernetesObject, View

if TYPE_CHECKING:
    from collections.abc import Mapping

GVISOR: Final = "gvisor"
"""The type that is ours."""
DEFAULT_CLASS: Final = "shoot"
"""The extension class of an object that names none (``pkg/api/extensions/v1alpha1/helper/extension.go``)."""


class WorkerPool(View):
    """The pool, and how its Nodes are found."""

    name: str
    selector: LabelSelector

    def selects(self, labels: Mapping[str, str]) -> bool:
        """Whether a Node with these labels belongs to the pool and runs containerd."""
        return self.selector.matches(labels) and labels.get(gardener.CRI_NAME) == "containerd"


class Spec(View):
    """What is wanted. ``provider_config`` is opaque here; :mod:`orchestrator.api.gvisor_configuration` reads it."""

    type: str
    extension_class: str = Field(default=DEFAULT_CLASS, alias="class")
    binary_path: str
    worker_pool: WorkerPool
    provider_config: Any = None


class Status(View):
    """What was reported last."""

    observed_generation: int = 0
    last_operation: LastOperation | None = None


class ContainerRuntime(KubernetesObject):
    """A view on a ContainerRuntime of any type."""

    spec: Spec
    status: Status = Field(default_factory=Status)

    @property
    def operation(self) -> str:
        """What the operation annotation asks for; empty if it asks for nothing."""
        return self.metadata.annotations.get(gardener.OPERATION, "")

    @property
    def held(self) -> bool:
        """Whether our finalizer keeps the object from vanishing."""
        return gardener.FINALIZER in self.metadata.finalizers
