"""Jobs (``batch/v1``) and Pods (``v1``), as far as one run on a node is read from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import Field

from orchestrator.api.view import Items, KubernetesObject, View

if TYPE_CHECKING:
    from collections.abc import Iterable

JOB_NAME: Final = "batch.kubernetes.io/job-name"
"""The label by which a Pod names its Job (https://kubernetes.io/docs/reference/labels-annotations-taints/)."""


class JobCondition(View):
    """How a Job ended."""

    type: str
    status: str = ""
    reason: str = ""
    message: str = ""


class JobStatus(View):
    """How far a Job is."""

    conditions: Items[JobCondition] = ()


class Job(KubernetesObject):
    """A view on a Job."""

    status: JobStatus = Field(default_factory=JobStatus)

    @property
    def end(self) -> JobCondition | None:
        """The condition that says that it is over, whether well or not; None while it is not."""
        # FailureTarget and SuccessCriteriaMet come earlier, while pods may still run.
        over = (one for one in self.status.conditions if one.type in {"Complete", "Failed"} and one.status == "True")
        return next(over, None)


class Terminated(View):
    """How a container ended."""

    exit_code: int = 0
    reason: str = ""
    message: str = ""


class Waiting(View):
    """Why a container does not run yet."""

    reason: str = ""
    message: str = ""


class ContainerState(View):
    """One of these at most."""

    waiting: Waiting | None = None
    terminated: Terminated | None = None


class ContainerStatus(View):
    """How a container is."""

    state: ContainerState = Field(default_factory=ContainerState)


class PodStatus(View):
    """How a Pod is."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    container_statuses: Items[ContainerStatus] = ()


class Pod(KubernetesObject):
    """A view on a Pod."""

    status: PodStatus = Field(default_factory=PodStatus)

    @property
    def job(self) -> str:
        """The name of its Job; empty for none."""
        return self.metadata.labels.get(JOB_NAME, "")

    @property
    def terminated(self) -> Terminated | None:
        """How its first container ended that did."""
        return _first(one.state.terminated for one in self.status.container_statuses)

    @property
    def waiting(self) -> Waiting | None:
        """Why its first container waits that does."""
        return _first(one.state.waiting for one in self.status.container_statuses)


def _first[Found](found: Iterable[Found | None]) -> Found | None:
    return next((one for one in found if one is not None), None)
