"""``restore``: the object has come from another seed, whose controller let go of it.

Nothing is kept in ``status.state``, because everything can be made anew from the object; and what the Shoot has is
taken over as it is, by its names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.api.container_runtime import ContainerRuntime
    from orchestrator.controller.delivery import Delivered, Delivery, Nodes


def restore(runtime: ContainerRuntime, delivery: Delivery, _nodes: Nodes) -> Delivered:
    """Bring what is wanted; see :class:`~orchestrator.controller.delivery.Delivery`."""
    return delivery.deliver(runtime)
