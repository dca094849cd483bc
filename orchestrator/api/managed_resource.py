"""The ManagedResource (``resources.gardener.cloud/v1alpha1``): objects that the resource manager keeps in a Shoot.

Source: gardener/gardener v1.149.3, ``pkg/apis/resources/v1alpha1/types.go``.
"""

from __future__ import annotations

from typing import Final

from pydantic import Field

from orchestrator.api.condition import Condition
from orchestrator.api.view import Items, KubernetesObject, RawObject, View, pick

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

    observed_generation: int = 0
    conditions: Items[Condition] = ()


class ManagedResource(KubernetesObject):
    """A view on a ManagedResource."""

    spec: Spec = Field(default_factory=Spec)
    status: Status = Field(default_factory=Status)

    @property
    def secret_names(self) -> tuple[str, ...]:
        """The Secrets it references, in its order."""
        return tuple(reference.name for reference in self.spec.secret_refs)


def essential(raw: RawObject) -> RawObject:
    """The object without what this product does not look at, above all the list of what the Shoot has of it."""
    return pick(raw, "apiVersion", "kind", "metadata", "spec", "status.observedGeneration", "status.conditions")
