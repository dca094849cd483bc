"""What a run did, as values: host by host, step by step.

``orchestrator.execution.collector`` makes them from the events of a run; ``orchestrator.cli`` prints them and ends with
:attr:`RunResult.exit_code`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

type StepStatus = Literal["ok", "changed", "failed", "refused", "invalid", "unreachable", "skipped"]
type Outcome = Literal["ok", "changed", "failed", "refused", "invalid", "unreachable"]

BAD: frozenset[str] = frozenset({"failed", "refused", "invalid", "unreachable"})
"""Statuses and outcomes that mean that what was wanted is not so."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """One step on one host. ``diff`` is a unified diff, empty unless the run was asked for one."""

    step: str
    status: StepStatus
    message: str = ""
    cause: str = ""
    remedy: str = ""
    seconds: float = 0.0
    diff: str = ""


@dataclass(frozen=True, slots=True)
class HostResult:
    """What one host did.

    ``refused`` and ``invalid`` promise that nothing was changed on the host. ``data`` maps a step's name to what that
    step reported, for example ``data["probe"]["plan"]`` and ``data["report"]["restarts"]``. ``warnings`` are what the
    steps said that stops nothing, as the report has them where there is one.
    """

    host: str
    outcome: Outcome
    steps: tuple[StepResult, ...] = ()
    data: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()

    @property
    def succeeded(self) -> bool:
        """Whether everything that was wanted is so."""
        return self.outcome not in BAD

    @property
    def failure(self) -> StepResult | None:
        """The step that decided a bad outcome: the first that went wrong."""
        return None if self.succeeded else next((step for step in self.steps if step.status in BAD), None)


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run did, hosts in the order in which Ansible took them up; ``warnings`` are Ansible's own."""

    hosts: dict[str, HostResult]
    seconds: float = 0.0
    interrupted: bool = False
    timed_out: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 done, 1 interrupted, 2 invalid input, 3 some hosts failed, 4 every host that did not succeed refused."""
        if self.interrupted:
            return 1
        bad = {host.outcome for host in self.hosts.values() if not host.succeeded}
        if not bad:
            return 0
        return {frozenset({"invalid"}): 2, frozenset({"refused"}): 4}.get(frozenset(bad), 3)


@dataclass(frozen=True, slots=True)
class HostEvent:
    """Something happened on a host just now: a step ``started`` or ended with a status."""

    host: str
    step: str
    status: StepStatus | Literal["started"]
    message: str = ""
    seconds: float = 0.0
