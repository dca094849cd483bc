"""``force_delete``: the owner of the Shoot has confirmed that nobody is waited for; gardenlet removes what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.api.container_runtime import ContainerRuntime
    from orchestrator.controller.delivery import Delivered, Delivery, Nodes


def force_delete(runtime: ContainerRuntime, delivery: Delivery, _nodes: Nodes) -> Delivered:
    """Ask for the deletions and go; see :class:`~orchestrator.controller.delivery.Delivery`."""
    return delivery.take_back(runtime, wait=False)
