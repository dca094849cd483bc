"""What the operator decides about the nodes of pools. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orchestrator.controller.nodes.plan import Pace

if TYPE_CHECKING:
    from orchestrator.controller.nodes.job import JobSettings
    from orchestrator.controller.nodes.ssh_settings import SshSettings


@dataclass(frozen=True, slots=True)
class NodesOptions:
    """How nodes are looked after.

    Attributes:
        job: how Jobs are made; None if there are none.
        ssh: how nodes are reached by SSH; None if they are not. One of the two is given.
        startup_taint: the key of a taint that keeps pods off a node until gVisor is proved on it; empty for none.
        patience: seconds in which a deletion waits for its nodes.
        running_pods: what happens then: ``leave`` goes on without them, ``wait`` waits for as long as it takes.
        external: whether a Shoot is never reached by its address inside the seed.
        pace: how long what is waited for.
    """

    job: JobSettings | None = None
    ssh: SshSettings | None = None
    startup_taint: str = ""
    patience: float = 90.0
    running_pods: Literal["leave", "wait"] = "leave"
    external: bool = False
    pace: Pace = Pace()  # noqa: RUF009 - frozen

    @property
    def timeout(self) -> int:
        """Seconds that a run may take."""
        found = self.job or self.ssh
        return found.timeout if found is not None else 0
