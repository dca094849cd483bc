"""The Node (``v1``): where it answers, and what tells it from another of the same name."""

from __future__ import annotations

from pydantic import Field

from orchestrator.api.view import Items, KubernetesObject, View

_PREFERRED = ("InternalIP", "Hostname")


class Address(View):
    """One of a Node's addresses."""

    type: str
    address: str


class NodeInfo(View):
    """What the kubelet says of its machine."""

    container_runtime_version: str = ""


class Status(View):
    """What the kubelet and the cloud report."""

    addresses: Items[Address] = ()
    node_info: NodeInfo = Field(default_factory=NodeInfo)


class Node(KubernetesObject):
    """A view on a Node."""

    status: Status = Field(default_factory=Status)

    @property
    def address(self) -> str:
        """Its first InternalIP, else its Hostname, else nothing. An ExternalIP is never used: it may be anybody's."""
        by_type = {one.type: one.address for one in reversed(self.status.addresses)}
        return next((by_type[kind] for kind in _PREFERRED if kind in by_type), "")

    @property
    def runs_containerd(self) -> bool:
        """Whether its kubelet uses containerd."""
        return self.status.node_info.container_runtime_version.startswith("containerd://")
