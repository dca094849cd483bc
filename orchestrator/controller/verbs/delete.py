"""``delete``: nobody wants the pool's runtime any more, or the pool, or the Shoot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.controller.delivery import Delivered

if TYPE_CHECKING:
    from orchestrator.api.container_runtime import ContainerRuntime
    from orchestrator.controller.delivery import Delivery, Nodes


def delete(runtime: ContainerRuntime, delivery: Delivery, nodes: Nodes) -> Delivered:
    """Clear the nodes, which need what was brought for that, then take it back until it is gone."""
    waits = nodes.release(runtime)
    return Delivered(waits=waits) if waits is not None else delivery.take_back(runtime, wait=True)
