"""Runs as Jobs in the cluster of the nodes. See :class:`~orchestrator.controller.nodes.run.Executor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.api.workload import JOB_NAME
from orchestrator.controller.kinds import JOBS, PODS
from orchestrator.controller.nodes import job
from orchestrator.controller.pool_objects import NAMESPACE
from orchestrator.kube.api_error import AlreadyExistsError
from orchestrator.kube.client import Selection

if TYPE_CHECKING:
    from orchestrator.api.view import RawObject
    from orchestrator.controller.nodes.job import JobSettings
    from orchestrator.controller.nodes.run import Order, Run
    from orchestrator.kube.client import Client
    from orchestrator.kube.store import Store


class JobExecutor:
    """Safe for threads.

    Args:
        client: of the cluster with the nodes.
        jobs: our Jobs as they were last seen.
        pods: their pods.
        settings: what the operator decides.
    """

    def __init__(self, client: Client, jobs: Store, pods: Store, settings: JobSettings) -> None:
        self._client = client
        self._jobs = jobs
        self._pods = pods
        self._settings = settings

    def runs(self, owner: str) -> tuple[Run, ...]:
        """From what was seen."""
        mine = job.pool_label(owner)

        def of_pool(raw: RawObject) -> bool:
            return ((raw.get("metadata") or {}).get("labels") or {}).get(job.POOL) == mine

        return job.runs(filter(of_pool, self._jobs.objects()), filter(of_pool, self._pods.objects()))

    def find(self, name: str) -> Run | None:
        """From the API server: what was just begun, or has just ended, is not seen yet."""
        raw = self._client.find(JOBS, name, NAMESPACE)
        of_job = Selection(NAMESPACE, labels=f"{JOB_NAME}={name},{job.SELECTOR}")
        pods = [one for page in self._client.pages(PODS, of_job) for one in page.items]
        return next((one for one in job.runs([raw] if raw is not None else [], pods) if one.name == name), None)

    def start(self, order: Order) -> None:
        """Make its Job."""
        try:
            self._client.create(JOBS, job.job(order, self._settings))
        except AlreadyExistsError:
            return

    def stop(self, name: str) -> None:
        """Delete its Job; Kubernetes ends and deletes its pod."""
        self._client.delete(JOBS, name, NAMESPACE)
