"""``delete``: nobody wants the pool's runtime any more, or the pool, or the Shoot."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.api.container_runtime import ContainerRuntime
    from orchestrator.controller.delivery import Delivered, Delivery


def delete(runtime: ContainerRuntime, delivery: Delivery) -> Delivered:
    """Take back what was brought, until it is gone; see :class:`~orchestrator.controller.delivery.Delivery`."""
    return delivery.take_back(runtime, wait=True)
