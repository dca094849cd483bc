"""What the operator decides about the nodes of pools. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from orchestrator.controller.nodes.job import JobSettings


@dataclass(frozen=True, slots=True)
class NodesOptions:
    """How nodes are looked after.

    Attributes:
        job: how Jobs are made.
        startup_taint: the key of a taint that keeps pods off a node until gVisor is proved on it; empty for none.
        patience: seconds in which a deletion waits for its nodes.
        running_pods: what happens then: ``leave`` goes on without them, ``wait`` waits for as long as it takes.
        external: whether a Shoot is never reached by its address inside the seed.
    """

    job: JobSettings
    startup_taint: str = ""
    patience: float = 90.0
    running_pods: Literal["leave", "wait"] = "leave"
    external: bool = False
