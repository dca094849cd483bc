"""Runs of playbooks on single nodes, as values, and what an executor has to offer. Pure.

A run is ordered, has a name of its own from then on, and ends with a result. Who runs it, a Job on the node or this
process over SSH, is the executor's business.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.controller.nodes.mark import Action
    from orchestrator.execution.job_result import JobResult


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be run.

    Attributes:
        name: of the run; a DNS label.
        pool: the worker pool's name.
        node: the Node's name.
        uid: the Node's.
        address: where the node answers; empty if it has no address.
        action: what is done.
        fingerprint: of what it brings; empty for a removal.
        variables: the playbooks', JSON values.
        owner: the ContainerRuntime, as namespace/name.
    """

    name: str
    pool: str
    node: str
    uid: str
    address: str
    action: Action
    fingerprint: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """How a run is.

    Attributes:
        name: of the run.
        node: the Node's name.
        uid: the Node's.
        result: how it ended; None while it has not.
        waits: why it has not begun; empty if it has, or if nobody knows.
        silent: its own words were not seen, though it has ended or is not whole: it is asked for where it is.
    """

    name: str
    node: str
    uid: str
    result: JobResult | None = None
    waits: str = ""
    silent: bool = False


class Executor(Protocol):
    """Safe for threads. Raises ApiError where it asks an API server."""

    def runs(self, owner: str) -> tuple[Run, ...]:
        """All runs of an order's owner that are known, those that have ended included."""

    def find(self, name: str) -> Run | None:
        """The run of this name, asked for where it would be; None if it never began or was cleared away."""

    def start(self, order: Order) -> None:
        """Let it begin; that one of its name is there already is as good.

        Raises:
            RefusedError, InvalidInputError: it cannot begin, and trying again at once does not help.
        """

    def stop(self, name: str) -> None:
        """End a run and forget it; that it is gone is as good."""
