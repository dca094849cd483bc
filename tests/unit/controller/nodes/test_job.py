"""The Job of a run: the object that is made, and what is read from whatever becomes of it."""

from __future__ import annotations

import json
import re

import hypothesis.strategies as st
import pytest
from hypothesis import given
from node_objects import F1, OWNER

from orchestrator.api.merge_patch import merge
from orchestrator.controller.nodes import job as jobs
from orchestrator.controller.nodes.job import JobSettings, job
from orchestrator.controller.nodes.mark import Action
from orchestrator.controller.nodes.run import Order, Run
from orchestrator.execution.job_result import JobResult, render

SETTINGS = JobSettings(image="example.com/gvisor-nodes:1", pull_secrets=("s1",))
OK = JobResult(action="apply", outcome="ok", fingerprint=F1, proved=True)
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def order(**changes):
    base = {
        "name": "gvisor-nodes-apply-0123456789ab",
        "pool": "a",
        "node": "n1.example.com",
        "uid": "uid-of-n1",
        "address": "10.0.0.1",
        "action": Action.APPLY,
        "fingerprint": F1,
        "variables": {"runsc_release": "20260817.0"},
        "owner": OWNER,
    }
    return Order(**base | changes)


def made(*, end=None, action=Action.APPLY, uid="job-1", **condition):
    """A Job that the API server has, ended so if it has."""
    status = {"conditions": [{"type": end, "status": "True", **condition}]} if end else {}
    return merge(job(order(action=action), SETTINGS), {"metadata": {"uid": uid}, "status": status})


def pod(state=None, *, of="job-1", name="gvisor-nodes-apply-0123456789ab", deleting=False, **status):
    labels = {"batch.kubernetes.io/job-name": name, jobs.NODE_UID: "uid-of-n1"}
    labels |= {"batch.kubernetes.io/controller-uid": of} if of else {}
    metadata = {"name": f"{name}-x", "labels": labels, "annotations": {jobs.NODE: "n1.example.com"}}
    metadata |= {"deletionTimestamp": "2026-08-21T10:00:00Z"} if deleting else {}
    statuses = [{"name": "gvisor-nodes", "state": state}] if state is not None else []
    return {"metadata": metadata, "status": {"containerStatuses": statuses, **status}}


def ended(message="", code=0, reason="Completed"):
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def read(*objects):
    [one] = jobs.runs(
        [raw for raw in objects if raw.get("kind") == "Job"], [raw for raw in objects if raw.get("kind") != "Job"]
    )
    return one


@pytest.mark.feature("J5")
def test_it_is_json_with_a_name_and_labels_that_are_dns_labels_and_no_token_or_secret():
    raw = job(order(), SETTINGS)
    spec = raw["spec"]["template"]["spec"]

    assert raw == json.loads(json.dumps(raw))
    assert LABEL.fullmatch(raw["metadata"]["name"])
    assert all(len(value) <= 63 for value in raw["metadata"]["labels"].values())
    assert spec["automountServiceAccountToken"] is False
    assert {"hostPath", "downwardAPI"} == {key for volume in spec["volumes"] for key in volume if key != "name"}
    assert [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}] == spec["containers"][0][
        "env"
    ]
    assert (0, 300, 3600) == tuple(
        raw["spec"][key] for key in ("backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished")
    )


@given(
    st.dictionaries(
        st.text(), st.text() | st.sampled_from(["$(NODE_NAME)", "$$(X)", "{{ 1 + 1 }}", "{% raw %}", "`id`"])
    )
)
def test_variables_stay_the_text_that_they_are_and_are_in_the_annotation_alone(variables):
    raw = job(order(variables=variables), SETTINGS)
    template = raw["spec"]["template"]

    assert variables == json.loads(template["metadata"]["annotations"][jobs.VARIABLES])
    assert job(order(variables={}), SETTINGS)["spec"]["template"]["spec"] == template["spec"]


def test_the_pods_node_is_chosen_by_its_name_and_what_it_runs_by_the_action():
    spec = job(order(action=Action.REMOVE), SETTINGS)["spec"]["template"]["spec"]
    [term] = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]

    assert [{"key": "metadata.name", "operator": "In", "values": ["n1.example.com"]}] == term["matchFields"]
    assert ["gvisor-nodes", "job", "remove"] == spec["containers"][0]["command"]


def test_pools_of_one_name_in_two_namespaces_have_jobs_of_their_own():
    one, other = (job(order(owner=owner), SETTINGS)["metadata"]["labels"][jobs.POOL] for owner in ("x/a", "y/a"))

    assert one != other


def test_a_job_that_has_just_been_made_is_under_way():
    assert Run(order().name, "n1.example.com", "uid-of-n1") == read(made())
    assert Run(order().name, "n1.example.com", "uid-of-n1") == read(made(), pod({"running": {}}))


def test_the_pods_word_counts_as_soon_as_it_is_there():
    assert OK == read(made(), pod(ended(render(OK)))).result
    assert OK == read(made(end="Complete"), pod(ended(render(OK)))).result


@pytest.mark.parametrize(
    "reason", ["ErrImagePull", "ImagePullBackOff", "CreateContainerConfigError", "InvalidImageName"]
)
def test_why_a_pod_waits_is_told(reason):
    assert f"{reason}: because" == read(made(), pod({"waiting": {"reason": reason, "message": "because"}})).waits


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing"])
def test_what_every_pod_waits_for_is_not(reason):
    assert not read(made(), pod({"waiting": {"reason": reason}})).waits


@pytest.mark.parametrize(
    "message",
    [
        render(OK)[:-1],
        render(OK)[:200],
        "x",
        "{}",
        "[" * 3000,
        "\x00\x1b[2J",
        "9" * 4096,
        render(OK) + " " * 5000,
        json.dumps({**json.loads(render(OK)), "fingerprint": "../.."}),
        json.dumps({**json.loads(render(OK)), "proved": "yes"}),
    ],
    ids=range(10),
)
def test_a_message_that_is_not_whole_proves_nothing(message):
    result = read(made(end="Complete"), pod(ended(message))).result

    assert ("unknown", False) == (result.outcome, result.proves)
    assert result.message


@given(st.text(max_size=5000), st.integers(-10, 300), st.text())
def test_no_message_at_all_raises_or_proves_anything(message, code, reason):
    result = read(made(end="Failed"), pod(ended(message, code, reason))).result

    assert not result.proves


@pytest.mark.parametrize(
    ("result", "code", "why"),
    [
        (OK, 1, "exit code 1"),
        (OK, 137, "exit code 137"),
        (JobResult(action="remove", outcome="ok"), 0, "about remove, the Job was for apply"),
    ],
)
def test_a_success_that_the_exit_code_or_the_job_denies_is_not_believed(result, code, why):
    found = read(made(), pod(ended(render(result), code))).result

    assert ("unknown", "the Job's result cannot be believed", False) == (found.outcome, found.message, found.proves)
    assert why in found.cause


def test_a_failure_is_believed_whatever_the_exit_code_says():
    failed = JobResult(action="apply", outcome="failed", message="no")

    assert ["failed"] * 2 == [read(made(), pod(ended(render(failed), code))).result.outcome for code in (0, 1)]


def test_a_job_without_a_pod_tells_what_it_was_told():
    late = read(made(end="Failed", reason="DeadlineExceeded", message="Job was active longer than specified deadline"))
    assert ("interrupted", True) == (late.result.outcome, late.silent)
    assert "DeadlineExceeded: Job was active" in late.result.cause

    gone = read(made(end="Complete"))
    assert ("unknown", "the Job left no result", True) == (gone.result.outcome, gone.result.message, gone.silent)


def test_an_evicted_pod_and_one_out_of_memory_are_told_apart():
    over = made(end="Failed", reason="BackoffLimitExceeded", message="Job has reached the specified backoff limit")
    evicted = read(over, pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."))
    assert "pod: Evicted: The node was low" in evicted.result.cause

    killed = read(over, pod(ended("", 137, "OOMKilled"), phase="Failed"))
    assert "container: OOMKilled, exit code 137" in killed.result.cause
    assert "BackoffLimitExceeded" in killed.result.cause


def test_a_pod_of_an_earlier_job_of_the_name_says_nothing_and_ends_first():
    old = pod(ended(render(OK)), of="job-0")
    assert read(made(), old).result is None
    assert read(made(), old, pod({"running": {}})).result is None

    at_work = read(made(), pod({"running": {}}, of="job-0"))
    assert (None, True) == (at_work.result, at_work.silent)


def test_a_pod_whose_job_is_gone_is_at_work_until_it_ends():
    assert Run(order().name, "n1.example.com", "uid-of-n1", silent=True) == read(pod({"running": {}}))
    for over in (
        pod(ended(render(OK))),
        pod(phase="Failed"),
        pod({"waiting": {"reason": "ErrImagePull"}}, deleting=True),
        pod(deleting=True),
    ):
        assert () == jobs.runs([], [over])


def test_objects_that_are_none_do_not_keep_others_from_being_read():
    strange = {"kind": "Job", "metadata": {"name": 1}}

    assert [order().name] == [
        one.name for one in jobs.runs([strange, made()], [{"metadata": {"labels": 1}}, pod(of="")])
    ]
