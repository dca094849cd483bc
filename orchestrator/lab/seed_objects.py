"""What a seed has before an extension comes: Gardener's definitions, and what gardenlet makes for a Shoot."""

from __future__ import annotations

import base64
import json
import time
from typing import TYPE_CHECKING, Any, Final

import yaml

from orchestrator.errors import NotReadyError
from orchestrator.kube.api_error import AbsentError, AlreadyExistsError
from orchestrator.kube.client import Client
from orchestrator.kube.credentials import from_file
from orchestrator.kube.resource import Resource
from orchestrator.lab import gardener

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orchestrator.api.view import RawObject

NAMESPACES: Final = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
SECRETS: Final = Resource("", "v1", "secrets", "Secret")
CLUSTERS: Final = Resource("extensions.gardener.cloud", "v1alpha1", "clusters", "Cluster", namespaced=False)
DEFINITIONS: Final = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)

_SERVED_SECONDS: Final = 60.0  # a tenth of a second on an idle machine
_POLL_SECONDS: Final = 0.02


def define(kubeconfig: Path, directory: Path) -> None:
    """Let an API server serve Gardener's kinds; those that it has stay as they are.

    Args:
        kubeconfig: the administrator's.
        directory: where the files with the definitions are.

    Raises:
        NotReadyError: it accepts them and does not serve them.
        ApiError: it does not accept them.
    """
    raws = [yaml.safe_load((directory / name).read_text(encoding="utf-8")) for name in gardener.DEFINITIONS]
    with Client(from_file(kubeconfig)) as client:
        for raw in raws:
            _ensure(client, DEFINITIONS, raw)
        deadline = time.monotonic() + _SERVED_SECONDS
        for raw in raws:
            while not _is_served(client, raw):
                if time.monotonic() > deadline:
                    raise NotReadyError(
                        f"the definition {raw['metadata']['name']} is not served",
                        why=f"{_SERVED_SECONDS:.0f} s have passed",
                        remedy="look at its status, and at the API server's log",
                    )
                time.sleep(_POLL_SECONDS)  # a definition's condition comes before its paths do


def make_shoot(kubeconfig: Path, namespace: str, shoot: Mapping[str, Any], version: str) -> None:
    """Make what gardenlet makes for a Shoot, unless it is there; see :func:`shoot_objects`.

    Args:
        kubeconfig: the administrator's of the seed.
        namespace: the Shoot's in the seed.
        shoot: the kubeconfig of its API server.
        version: its version of Kubernetes.
    """
    with Client(from_file(kubeconfig)) as client:
        for resource, raw in shoot_objects(namespace, shoot, version):
            _ensure(client, resource, raw)


def shoot_objects(
    namespace: str, kubeconfig: Mapping[str, Any], version: str
) -> Sequence[tuple[Resource, dict[str, Any]]]:
    """The objects in a seed that stand for a Shoot with one pool ``a``, in the order of their making. Pure.

    Namespace, Cluster, and the Secret ``gardener`` by which its API server is reached. Source: gardener v1.149.3
    pkg/gardenlet/operation/botanist/namespaces.go, pkg/extensions/cluster.go and
    extensions/pkg/util/shoot_clients.go.
    """
    project, _, name = namespace.removeprefix("shoot--").partition("--")
    worker = {"name": "a", "cri": {"name": "containerd", "containerRuntimes": [{"type": "gvisor"}]}}
    shoot = {
        "apiVersion": "core.gardener.cloud/v1beta1",
        "kind": "Shoot",
        "metadata": {"name": name, "namespace": f"garden-{project}"},
        "spec": {"kubernetes": {"version": version}, "provider": {"workers": [worker]}},
        "status": {"technicalID": namespace, "lastOperation": {"type": "Create", "state": "Succeeded"}},
    }
    place = {"name": namespace, "labels": {"gardener.cloud/role": "shoot"}}
    access = {"name": "gardener", "namespace": namespace}
    cluster = {"cloudProfile": {}, "shoot": shoot}
    return (
        (NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": place}),
        (
            CLUSTERS,
            {"apiVersion": CLUSTERS.api_version, "kind": "Cluster", "metadata": {"name": namespace}, "spec": cluster},
        ),
        (
            SECRETS,
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": access,
                "data": {"kubeconfig": base64.b64encode(json.dumps(kubeconfig).encode()).decode("ascii")},
            },
        ),
    )


def _ensure(client: Client, resource: Resource, raw: RawObject) -> None:
    try:
        client.create(resource, raw)
    except AlreadyExistsError:
        return


def _is_served(client: Client, definition: RawObject) -> bool:
    spec = definition["spec"]
    served = Resource(
        spec["group"], spec["versions"][0]["name"], spec["names"]["plural"], spec["names"]["kind"], namespaced=False
    )
    try:
        next(client.pages(served, limit=1))
    except AbsentError:
        return False
    return True
