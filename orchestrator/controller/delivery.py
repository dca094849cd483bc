"""How what a ContainerRuntime wants comes into its cluster and out of it again; verbs say when.

In Gardener that is by ManagedResources in the seed (``seed_delivery.py``), without Gardener directly
(``direct_delivery.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from orchestrator.errors import NotReadyError

if TYPE_CHECKING:
    from orchestrator.api.container_runtime import ContainerRuntime
    from orchestrator.controller.conditions import Observation
    from orchestrator.errors import StillThereError


@dataclass(frozen=True, slots=True)
class Delivered:
    """How far it came.

    Attributes:
        observations: conditions to record.
        waits: what has to be gone before it can go on, as the error that it is when that lasts too long; None when all
            is done.
    """

    observations: tuple[Observation, ...] = ()
    waits: StillThereError | None = None


class Delivery(Protocol):
    """Safe for threads. Nothing here waits; what has to be waited for is told.

    Raises of every method:
        ConfigurationError: the owner of the pool must correct the configuration; nothing was changed.
        InvalidInputError: somebody else must correct something; nothing was changed.
        ApiError: an API server refuses or does not answer.
    """

    def deliver(self, runtime: ContainerRuntime) -> Delivered:
        """Bring what is wanted, and repair what somebody changed."""

    def take_back(self, runtime: ContainerRuntime, *, wait: bool) -> Delivered:
        """Remove the pool's, and what all pools share if it was the last; with ``wait`` until it is gone."""

    def let_go(self, runtime: ContainerRuntime) -> Delivered:
        """Leave the cluster what it has, and remove what would be in the way of another controller."""


class Nodes(Protocol):
    """Who looks after the nodes of pools. Safe for threads."""

    def release(self, runtime: ContainerRuntime) -> StillThereError | None:
        """Have gVisor removed from a pool's nodes; return what has to be gone first, None if nothing is waited for."""


class NoNodes:
    """Nobody looks after nodes."""

    def release(self, runtime: ContainerRuntime) -> StillThereError | None:  # noqa: ARG002 - there is nothing to do
        """Wait for nothing."""
        return None


def restless(what: str, runtime: ContainerRuntime, rounds: int) -> NotReadyError:
    """The error for objects that somebody else changed each time they were read and written.

    Args:
        what: which objects, in the plural.
        runtime: whose they are.
        rounds: how often that was tried.
    """
    return NotReadyError(
        f"the {what} of {runtime.namespace}/{runtime.name} do not stay as they are written",
        why=f"they were read and written {rounds} times, and somebody changed them every time",
        remedy="nothing: it is tried again; if it happens often, look who else writes them",
    )
