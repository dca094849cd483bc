"""The Node (``v1``): where it answers, and what tells it from another of the same name."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from orchestrator.api.view import Items, KubernetesObject, RawObject, View, pick

_PREFERRED = ("InternalIP", "Hostname")


class Address(View):
    """One of a Node's addresses."""

    type: str
    address: str


class NodeInfo(View):
    """What the kubelet says of its machine."""

    container_runtime_version: str = ""


class Condition(View):
    """One of the things that a Node is, or is not."""

    type: str
    status: str = ""


class Status(View):
    """What the kubelet and the cloud report."""

    addresses: Items[Address] = ()
    node_info: NodeInfo = Field(default_factory=NodeInfo)
    conditions: Items[Condition] = ()


class Taint(View):
    """What keeps pods away that do not tolerate it."""

    key: str
    value: str = ""
    effect: str = ""


class Spec(View):
    """What is wanted of a Node."""

    taints: Items[Taint] = ()


class Node(KubernetesObject):
    """A view on a Node."""

    spec: Spec = Field(default_factory=Spec)
    status: Status = Field(default_factory=Status)

    @property
    def ready(self) -> bool:
        """Whether its kubelet says so, and is heard."""
        return any(one.type == "Ready" and one.status == "True" for one in self.status.conditions)

    @property
    def address(self) -> str:
        """Its first InternalIP, else its Hostname, else nothing. An ExternalIP is never used: it may be anybody's."""
        by_type = {one.type: one.address for one in reversed(self.status.addresses)}
        return next((by_type[kind] for kind in _PREFERRED if kind in by_type), "")

    @property
    def runs_containerd(self) -> bool:
        """Whether its kubelet uses containerd."""
        return self.status.node_info.container_runtime_version.startswith("containerd://")


def essential(raw: RawObject) -> RawObject:
    """The object without what this product does not look at: images, volumes, capacities, most conditions."""
    kept = pick(
        raw,
        "apiVersion",
        "kind",
        "metadata.name",
        "metadata.uid",
        "metadata.resourceVersion",
        "metadata.creationTimestamp",
        "metadata.deletionTimestamp",
        "metadata.labels",
        "metadata.annotations",
        "spec.taints",
        "status.addresses",
        "status.nodeInfo.containerRuntimeVersion",
    )
    conditions = [
        {"type": one.get("type"), "status": one.get("status")}
        for one in (raw.get("status") or {}).get("conditions") or []
        if isinstance(one, Mapping) and one.get("type") == "Ready"
    ]
    return {**kept, "status": {**kept.get("status", {}), "conditions": conditions}}
