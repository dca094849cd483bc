"""A ManagedResource with its Secret, as the extension library of Gardener writes them: same names, same bytes. Pure.

The Secret is named by its content and immutable, so equal manifests are the same Secret and a change is a new one. The
resource manager collects old ones: their label says that it may, and the annotation on the ManagedResource says which
is in use. A Secret with the label and without the annotation is lost ten minutes later.

Source: gardener/gardener v1.149.3, ``pkg/utils/managedresources/managedresources.go``, ``.../builder``,
``pkg/utils/checksums.go``, ``pkg/utils/kubernetes/object.go``, ``pkg/resourcemanager/controller/garbagecollector``.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from orchestrator.api import gardener, managed_resource

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.api.view import RawObject

ORIGIN: Final = "extension-runtime-gvisor"
"""Whose ManagedResources these are: the upstream extension's word, whose place this controller takes."""
DATA_KEY: Final = "config.yaml"
_PREFIX: Final = "managedresource-"
_LENGTH: Final = 8


@dataclass(frozen=True, slots=True)
class Bundle:
    """A ManagedResource and the one Secret that it references, as raw objects."""

    managed_resource: RawObject
    secret: RawObject

    @property
    def name(self) -> str:
        """The ManagedResource's name."""
        return str(self.managed_resource["metadata"]["name"])

    @property
    def secret_name(self) -> str:
        """The Secret's name."""
        return str(self.secret["metadata"]["name"])


def bundle(name: str, namespace: str, objects: Sequence[RawObject]) -> Bundle:
    """Wrap objects for a Shoot.

    Args:
        name: of the ManagedResource.
        namespace: the Shoot's in the seed.
        objects: what the resource manager shall keep in the Shoot; their order is kept, keys are sorted.
    """
    data = {DATA_KEY: manifest(objects)}
    secret_name = f"{legacy_secret_name(name)}-{checksum(data)}"
    return Bundle(_managed_resource(name, namespace, secret_name), _secret(secret_name, namespace, data))


def manifest(objects: Sequence[RawObject]) -> bytes:
    """Objects as documents of one YAML file; equal objects give equal bytes."""
    # A line that is folded would be one more thing that a release of PyYAML can do otherwise.
    text: str = yaml.safe_dump_all(objects, sort_keys=True, explicit_start=True, width=1_000_000)
    return text.encode()


def checksum(data: Mapping[str, bytes]) -> str:
    """The eight digits that end a Secret's name: a hash over the values in the order of their keys."""
    digests = "".join(hashlib.sha256(data[key]).hexdigest() for key in sorted(data))
    return hashlib.sha256(digests.encode()).hexdigest()[:_LENGTH]


def reference(secret_name: str) -> dict[str, str]:
    """The annotation that keeps a Secret from being collected."""
    digest = hashlib.sha256(secret_name.encode()).hexdigest()[:_LENGTH]
    return {f"{gardener.REFERENCE_PREFIX}secret-{digest}": secret_name}


def legacy_secret_name(name: str) -> str:
    """How the Secret of a ManagedResource was named before it was named by its content."""
    return f"{_PREFIX}{name}"


def _secret(name: str, namespace: str, data: Mapping[str, bytes]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": {gardener.GARBAGE_COLLECTABLE: "true"}},
        "type": "Opaque",
        "immutable": True,
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def _managed_resource(name: str, namespace: str, secret_name: str) -> dict[str, Any]:
    return {
        "apiVersion": managed_resource.API_VERSION,
        "kind": managed_resource.KIND,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {gardener.ORIGIN: ORIGIN},
            "annotations": reference(secret_name),
        },
        "spec": {
            "injectLabels": {gardener.NO_CLEANUP: "true"},
            "keepObjects": False,
            "secretRefs": [{"name": secret_name}],
        },
    }
