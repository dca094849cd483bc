"""The Job that runs on one node: the object, and the run that is read from it and its pod. Pure.

The pod gets what it takes to change its node, the host's root and the host's processes, and nothing else: no token, no
network of pods, no Secret. What it is to do comes as an annotation in a file, because in arguments and environment
variables Kubernetes would expand ``$(…)``. How it ended is its termination message, which is read as a stranger's text.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from orchestrator.api.workload import Job, Pod
from orchestrator.controller.nodes.mark import Action
from orchestrator.controller.nodes.run import Run
from orchestrator.controller.pool_objects import NAMESPACE, wish_name
from orchestrator.errors import InvalidInputError
from orchestrator.execution.job_result import JobResult, parse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.api.view import RawObject
    from orchestrator.controller.nodes.run import Order

NAME_LABEL: Final = "app.kubernetes.io/name"
COMPONENT_LABEL: Final = "app.kubernetes.io/component"
NAME: Final = "gvisor-nodes"
COMPONENT: Final = "node-job"
SELECTOR: Final = f"{NAME_LABEL}={NAME},{COMPONENT_LABEL}={COMPONENT}"
"""Selects our Jobs and their pods."""
POOL: Final = "gvisor-nodes/pool"
"""Label: a digest of the pool's name, which may be longer than a label's value."""
NODE: Final = "gvisor-nodes/node"
"""Annotation: the Node's name."""
NODE_UID: Final = "gvisor-nodes/node-uid"
"""Label: the Node's UID."""
VARIABLES: Final = "gvisor-nodes/variables"
"""Annotation of the pod: the playbooks' variables as a JSON object."""
HOST: Final = "/host"
_CONTROLLER: Final = "batch.kubernetes.io/controller-uid"
"""The label by which a Pod names its Job's UID (https://kubernetes.io/docs/reference/labels-annotations-taints/)."""
_TOLD: Final = "/etc/gvisor-nodes"
_MESSAGE: Final = "/dev/termination-log"
# A container waits for these for ever, or until a person changes something. Those that resolve by themselves are told
# as well: whoever looks wants to know.
_WAITING: Final = frozenset({"ContainerCreating", "PodInitializing"})


@dataclass(frozen=True, slots=True)
class JobSettings:
    """What the operator decides about Jobs.

    Attributes:
        image: of this product, with everything in it.
        pull_policy: when the kubelet fetches it.
        pull_secrets: names of Secrets in the Jobs' namespace.
        timeout: seconds after which Kubernetes ends the pod.
        keep: seconds that an ended Job and its log are kept.
        priority_class: of the pod.
    """

    image: str
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    timeout: int = 300
    keep: int = 3600
    priority_class: str = "system-node-critical"


def pool_label(pool: str) -> str:
    """The value of :data:`POOL`; a pool is known by its ContainerRuntime, as namespace/name."""
    return hashlib.sha256(pool.encode()).hexdigest()[:16]


def job(order: Order, settings: JobSettings) -> RawObject:
    """The Job that carries an order out."""
    labels = {
        NAME_LABEL: NAME,
        COMPONENT_LABEL: COMPONENT,
        POOL: pool_label(order.owner),
        NODE_UID: order.uid,
        "gvisor-nodes/action": order.action.value,
        # Gardener's webhook would send the pods of kube-system to nodes for system components.
        "system-components-config.resources.gardener.cloud/skip": "true",
    }
    told = json.dumps(dict(order.variables), sort_keys=True)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": order.name,
            "namespace": NAMESPACE,
            "labels": labels,
            "annotations": {NODE: order.node, "gvisor-nodes/fingerprint": order.fingerprint},
        },
        "spec": {
            # What failed is tried again by the loop, which knows why it failed and whether it is still wanted.
            "backoffLimit": 0,
            "activeDeadlineSeconds": settings.timeout,
            "ttlSecondsAfterFinished": settings.keep,
            "template": {
                "metadata": {"labels": labels, "annotations": {NODE: order.node, VARIABLES: told}},
                "spec": _pod(order, settings),
            },
        },
    }


def runs(jobs: Iterable[RawObject], pods: Iterable[RawObject]) -> tuple[Run, ...]:
    """The runs of these Jobs, of which these pods are known; and of pods that are at work though their Job is gone."""
    known = [one for one in (_viewed(Job, raw) for raw in jobs) if one is not None]
    by_name = {one.name: one for one in known}
    of_job: dict[str, Pod] = {}
    orphans: dict[str, Pod] = {}
    for pod in (_viewed(Pod, raw) for raw in pods):
        if pod is None or not pod.job:
            continue
        job = by_name.get(pod.job)
        if job is not None and _is_of(pod, job):
            if job.name not in of_job or pod.terminated is not None:
                of_job[job.name] = pod
        elif _at_work(pod):
            orphans[pod.job] = pod
    found = {one.name: run(one, of_job.get(one.name)) for one in known}
    for name, pod in orphans.items():
        there = found.get(name)
        # Of a Job that was deleted and made anew the pod of the first one ends before that of the second may begin.
        if there is None or (there.result is None and name not in of_job):
            found[name] = _orphan(name, pod)
    return tuple(found.values())


def run(job: Job, pod: Pod | None) -> Run:
    """The run of a Job, as far as its pod is known."""
    said = pod.terminated if pod is not None else None
    words = said if said is not None and said.message else None
    return Run(
        name=job.name,
        node=job.metadata.annotations.get(NODE, ""),
        uid=job.metadata.labels.get(NODE_UID, ""),
        result=_fitting(parse(words.message), job, exit_code=words.exit_code) if words else _unspoken(job, pod),
        waits=_waits(pod) if pod is not None else "",
        silent=words is None and job.end is not None,
    )


def _orphan(name: str, pod: Pod) -> Run:
    return Run(name, pod.metadata.annotations.get(NODE, ""), pod.metadata.labels.get(NODE_UID, ""), silent=True)


def _viewed[Seen: (Job, Pod)](kind: type[Seen], raw: RawObject) -> Seen | None:
    try:
        return kind.read(raw)
    except InvalidInputError:  # no API server lets one in; it must not keep the others from being read
        return None


def _is_of(pod: Pod, job: Job) -> bool:
    """Whether a pod is of this very Job: an earlier one may have had its name."""
    controller = pod.metadata.labels.get(_CONTROLLER, "")
    return not controller or not job.metadata.uid or controller == job.metadata.uid


def _at_work(pod: Pod) -> bool:
    """Whether a pod may be doing something on its node; one that goes before it began does not begin any more."""
    over = pod.terminated is not None or pod.status.phase in {"Succeeded", "Failed"}
    never = pod.deleting and (pod.waiting is not None or not pod.status.container_statuses)
    return not over and not never


def _unspoken(job: Job, pod: Pod | None) -> JobResult | None:
    """How a Job ended whose pod has left no words; None while it has not ended."""
    ended = pod.terminated if pod is not None else None
    end = job.end
    if end is None:
        return None
    action = _action(job)
    if end.type == "Complete":
        return JobResult(action=action, outcome="unknown", message="the Job left no result", cause="its pod is gone")
    causes = (
        f"{end.reason}: {end.message}" if end.reason else end.message,
        f"container: {ended.reason}, exit code {ended.exit_code}" if ended else "",
        f"pod: {pod.status.reason}: {pod.status.message}" if pod is not None and pod.status.reason else "",
    )
    return JobResult(
        action=action,
        outcome="interrupted" if end.reason == "DeadlineExceeded" or pod is None else "unknown",
        message="the Job ended without a result",
        cause="; ".join(one for one in causes if one),
        remedy="nothing, if the node was drained or ran out of something: another run follows",
    )


def _fitting(result: JobResult, job: Job, *, exit_code: int) -> JobResult:
    """The result, unless it speaks of something else than this Job was for."""
    action = _action(job)
    if result.outcome == "unknown":
        return result
    if result.action != action:
        why = f"the message is about {result.action}, the Job was for {action}"
    elif result.succeeded and exit_code != 0:
        why = f"the message says {result.outcome}, the container ended with exit code {exit_code}"
    else:
        return result
    return JobResult(
        action=action, outcome="unknown", message="the Job's result cannot be believed", cause=why, remedy=_LOOK
    )


_LOOK: Final = "look at the Job and its pod in kube-system; another run follows"


def _action(job: Job) -> Any:
    """What a Job of ours is for."""
    return "remove" if job.metadata.labels.get("gvisor-nodes/action") == Action.REMOVE else "apply"


def _waits(pod: Pod) -> str:
    waiting = pod.waiting
    if waiting is not None and waiting.reason not in _WAITING:
        return ": ".join(one for one in (waiting.reason, waiting.message) if one)
    return ""


def _pod(order: Order, settings: JobSettings) -> dict[str, Any]:
    return {
        "restartPolicy": "Never",
        "serviceAccountName": wish_name(order.pool),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "hostPID": True,  # systemd of the host is asked through its process
        "hostNetwork": True,  # it needs none; a network of its own would make it wait for the node's plugin
        "dnsPolicy": "Default",
        "priorityClassName": settings.priority_class,
        "terminationGracePeriodSeconds": 30,
        # The Job's own comes first; this is for a pod that somebody has separated from its Job.
        "activeDeadlineSeconds": settings.timeout + 60,
        "tolerations": [{"operator": "Exists"}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": _only(order.node)}},
        "imagePullSecrets": [{"name": name} for name in settings.pull_secrets],
        "containers": [
            {
                "name": "gvisor-nodes",
                "image": settings.image,
                "imagePullPolicy": settings.pull_policy,
                "command": ["gvisor-nodes", "job", order.action.value],
                "args": ["--host-root", HOST, "--variables", f"{_TOLD}/variables.json", "--message", _MESSAGE],
                "env": [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
                "terminationMessagePath": _MESSAGE,
                "securityContext": {"privileged": True, "runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": False},
                "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}},
                "volumeMounts": [
                    {"name": "host", "mountPath": HOST, "mountPropagation": "HostToContainer"},
                    {"name": "told", "mountPath": _TOLD, "readOnly": True},
                ],
            }
        ],
        "volumes": [
            {"name": "host", "hostPath": {"path": "/", "type": "Directory"}},
            {"name": "told", "downwardAPI": {"items": [_told()]}},
        ],
    }


def _told() -> dict[str, Any]:
    return {"path": "variables.json", "fieldRef": {"fieldPath": f"metadata.annotations['{VARIABLES}']"}}


def _only(node: str) -> dict[str, Any]:
    """As a DaemonSet's pods: by the scheduler, so that what the node can bear is counted."""
    field = {"key": "metadata.name", "operator": "In", "values": [node]}
    return {"nodeSelectorTerms": [{"matchFields": [field]}]}
