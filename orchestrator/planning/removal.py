"""Whether gVisor may be taken away from a node now. Pure; the taking is the node's, by its journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.planning.generations import pod_title
from orchestrator.planning.plan import Refusal

if TYPE_CHECKING:
    from orchestrator.planning.state import NodeState


def running(state: NodeState) -> Refusal | None:
    """The refusal where pods still need our binaries: without them they could no longer be deleted."""
    users = state.users
    if not users.pods and not users.processes:
        return None
    pods = sorted({pod_title(pod.namespace, pod.name, pod.sandbox) for pod in users.pods})
    named = ", ".join(pods) or f"{len(users.processes)} processes without a pod"
    return Refusal(
        what="pods still run in gVisor on this node",
        why=named,
        remedy="drain the node or delete these pods; without gVisor's binaries they could no longer be deleted",
    )
