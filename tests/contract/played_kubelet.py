"""The nodes' side of a run: what the Job controller, the scheduler and a kubelet would make of a Job of ours.

Everything is written to the real API server, and nothing runs. The results are those that the program in the Job writes.
"""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager, suppress

from patience import eventually

from orchestrator.api.workload import JOB_NAME
from orchestrator.controller.kinds import JOBS, PODS
from orchestrator.controller.nodes import job
from orchestrator.controller.pool_objects import NAMESPACE
from orchestrator.execution.job_result import JobResult, render
from orchestrator.kube.api_error import AbsentError, ForbiddenError, InvalidObjectError
from orchestrator.kube.client import Selection


class PlayedKubelet:
    """Use it in a ``with`` block: what it has made, and all Jobs, are gone afterwards.

    Args:
        client: of the cluster with the nodes.
    """

    def __init__(self, client):
        self._client = client
        self._served = {}
        self._uids = set()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for pod in self._served.values():
            self._client.delete(PODS, pod, NAMESPACE)
        for raw in self.jobs():
            self._client.delete(JOBS, raw["metadata"]["name"], NAMESPACE)

    def jobs(self, node=None):
        """The Jobs of a node, or of all, the oldest first."""
        pages = self._client.pages(JOBS, Selection(NAMESPACE, labels=job.SELECTOR))
        there = [raw for page in pages for raw in page.items]
        mine = [raw for raw in there if node in {None, raw["metadata"]["annotations"][job.NODE]}]
        return sorted(mine, key=lambda raw: int(raw["metadata"]["resourceVersion"]))

    def await_job(self, node):
        """The Job of a node that it has not served yet."""

        def new():
            there = (raw for raw in self.jobs(node) if not raw["metadata"].get("deletionTimestamp"))
            return next((raw for raw in there if raw["metadata"]["uid"] not in self._uids), None)

        return eventually(new, what=lambda: f"no Job for {node}")

    def begins(self, node, **state):
        """Make the pod of a node's next Job, its container in this state; return the Job."""
        raw = self.await_job(node)
        name, template = raw["metadata"]["name"], raw["spec"]["template"]
        metadata = {**template["metadata"], "name": f"{name}-{len(self._uids)}", "namespace": NAMESPACE}
        uid = raw["metadata"]["uid"]
        metadata["labels"] = {**metadata["labels"], JOB_NAME: name, "batch.kubernetes.io/controller-uid": uid}
        owner = {"apiVersion": JOBS.api_version, "kind": JOBS.kind, "name": name, "uid": uid, "controller": True}
        metadata["ownerReferences"] = [owner]
        # Its ServiceAccount may not have been applied yet; the Job controller would try again.
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        eventually(lambda: self._created(pod))
        self._served[name] = metadata["name"]
        self._uids.add(uid)
        self._says(name, "Pending", state or {"waiting": {"reason": "ContainerCreating"}})
        return raw

    def ends(self, node, outcome="changed", **more):
        """Let a node's next Job end with a result; return the Job."""
        raw = self.begins(node)
        self.succeeds(raw, outcome, **more)
        return raw

    def succeeds(self, raw, outcome="changed", **more):
        """Let a Job that has begun end with a result."""
        action = raw["metadata"]["labels"]["gvisor-nodes/action"]
        fingerprint = raw["metadata"]["annotations"]["gvisor-nodes/fingerprint"]
        proved = action == "apply" and outcome in {"ok", "changed"}
        told = {"fingerprint": fingerprint, "proved": proved}
        if proved:
            told |= {"release": _release(raw), "generation": 1}
        result = JobResult(action=action, outcome=outcome, **told | more)
        self.says(raw, render(result), 0 if result.succeeded else 1)

    def says(self, raw, message, exit_code=0):
        """Let the container of a Job that has begun end with these words."""
        times = {"startedAt": "2026-08-21T10:00:00Z", "finishedAt": "2026-08-21T10:00:01Z"}
        reason = "Error" if exit_code else "Completed"
        ended = {"terminated": {"exitCode": exit_code, "reason": reason, "message": message, **times}}
        self._says(raw["metadata"]["name"], "Failed" if exit_code else "Succeeded", ended)

    def forgets(self, raw):
        """Let the pod of a Job go, as the garbage collector and the kubelet do where the Job is gone."""
        self._client.delete(PODS, self._served[raw["metadata"]["name"]], NAMESPACE)

    def evicts(self, raw):
        """Let the pod of a Job that has begun be evicted, and its Job say that it has failed."""
        name = raw["metadata"]["name"]
        status = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
        self._client.patch(PODS, self._served[name], {"status": status}, NAMESPACE, "status")
        said = {"status": "True", "reason": "BackoffLimitExceeded", "message": "Job has reached its backoff limit"}
        conditions = [{"type": kind, **said} for kind in ("FailureTarget", "Failed")]
        status = {"startTime": "2026-08-21T10:00:00Z", "failed": 1, "conditions": conditions}
        self._client.patch(JOBS, name, {"status": status}, NAMESPACE, "status")

    @contextmanager
    def serving(self):
        """Let every Job end well, one after the other, as long as the block lasts."""
        stop = threading.Event()
        thread = threading.Thread(target=self._serve, args=(stop,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(60)

    def _serve(self, stop):
        while not stop.wait(0.02):
            for raw in self.jobs():
                metadata = raw["metadata"]
                if metadata["uid"] in self._uids or metadata.get("deletionTimestamp"):
                    continue
                with suppress(AbsentError, InvalidObjectError):  # it was deleted meanwhile
                    self.ends(metadata["annotations"][job.NODE])

    def _says(self, name, phase, state):
        container = {"name": "gvisor-nodes", "image": "example/gvisor-nodes:test", "imageID": "", "ready": False}
        status = {"phase": phase, "containerStatuses": [{**container, "restartCount": 0, "state": state}]}
        self._client.patch(PODS, self._served[name], {"status": status}, NAMESPACE, "status")

    def _created(self, pod):
        try:
            return self._client.create(PODS, pod)
        except ForbiddenError:
            return None


def _release(raw):
    variables = json.loads(raw["spec"]["template"]["metadata"]["annotations"][job.VARIABLES])
    return variables["runsc_release"]
