"""The ManagedResource (``resources.gardener.cloud/v1alpha1``): objects that the resource manager keeps in a Shoot.

Source: gardener/gardener v1.149.3, ``pkg/apis/resources/v1alpha1/types.go``.
"""

from __future__ import annotations

from typing import Final

from pydantic import Field

from orchestrator.api.condition import Condition
from orchestrator.api.view import Items, KubernetesObject, View

API_VERSION: Final = "resources.gardener.cloud/v1alpha1"
KIND: Final = "ManagedResource"


class SecretReference(View):
    """A Secret that holds manifests."""

    name: str


class Spec(View):
    """Where the manifests are."""

    secret_refs: Items[SecretReference] = ()


class Status(View):
    """What the resource manager reports."""

    conditions: Items[Condition] = ()


class ManagedResource(KubernetesObject):
    """A view on a ManagedResource."""

    spec: Spec = Field(default_factory=Spec)
    status: Status = Field(default_factory=Status)

    @property
    def secret_names(self) -> tuple[str, ...]:
        """The Secrets it references, in its order."""
        return tuple(reference.name for reference in self.spec.secret_refs)
