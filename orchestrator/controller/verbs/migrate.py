"""``migrate``: the Shoot moves to another seed. Its nodes and what they run are not touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.api.container_runtime import ContainerRuntime
    from orchestrator.controller.delivery import Delivered, Delivery, Nodes


def migrate(runtime: ContainerRuntime, delivery: Delivery, _nodes: Nodes) -> Delivered:
    """Let go; see :class:`~orchestrator.controller.delivery.Delivery`."""
    return delivery.let_go(runtime)
