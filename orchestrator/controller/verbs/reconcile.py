"""``reconcile``: the cluster of the pool has what a pod with gVisor needs, and the wish for the pool's nodes.

It ends in seconds and knows no node: when a Shoot is made there is none, and later ones do not bring it back. Nodes are
the node loop's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.api.container_runtime import ContainerRuntime
    from orchestrator.controller.delivery import Delivered, Delivery, Nodes


def reconcile(runtime: ContainerRuntime, delivery: Delivery, _nodes: Nodes) -> Delivered:
    """Bring what is wanted; see :class:`~orchestrator.controller.delivery.Delivery`."""
    return delivery.deliver(runtime)
