"""One node's work in a Job: what a wish may say, what is added, and what a run is told as."""

from __future__ import annotations

import json

import pytest

from orchestrator.errors import GvisorNodesError, InvalidInputError, RefusedError
from orchestrator.execution import job
from orchestrator.execution.job import Job, failed, read_wish, result_of
from orchestrator.execution.results import HostResult, RunResult, StepResult
from orchestrator.gvisor.releases import DEFAULT_RELEASE
from orchestrator.planning.desired import read_variables

WISH = {
    "runsc_release": "20260905.0",
    "runsc_flags": {"debug": "true"},
    "runsc_flags_policy": {},
    "runsc_directory": "/opt/gvisor-nodes",
}
NODE = "worker-1.example"


def a_job(**options):
    return Job(**{"verb": "apply", "node": NODE, "variables": WISH, **options})


def of_host(outcome, *steps, interrupted=False, verb="apply", **data):
    host = HostResult(NODE, outcome, steps, data, 4.0, ("a warning",))
    run = RunResult({NODE: host}, seconds=5.0, interrupted=interrupted)
    return result_of(verb, run, a_job().desired)


def test_the_fingerprint_is_the_controllers_wherever_the_host_is_mounted(tmp_path):
    (tmp_path / job.RELEASES).write_text("[]")
    controllers = read_variables(WISH, DEFAULT_RELEASE)[0].fingerprint

    assert controllers == a_job().desired.fingerprint
    assert controllers == a_job(host_root="/somewhere/else", artifacts=str(tmp_path)).desired.fingerprint


def test_the_host_is_live_below_its_mount_and_releases_come_from_the_image(tmp_path):
    (tmp_path / job.RELEASES).write_text("[]")
    variables = a_job(artifacts=str(tmp_path)).extra_variables

    assert ("/host", True) == (variables["node_host_root"], variables["node_host_live"])
    assert (str(tmp_path), True) == (variables["runsc_artifacts_directory"], variables["runsc_offline"])
    assert [f"{tmp_path}/releases.json"] == variables["runsc_releases_files"]


def test_a_wish_that_names_a_directory_of_releases_keeps_it(tmp_path):
    variables = a_job(variables={**WISH, "runsc_artifacts_directory": "/srv"}, artifacts=str(tmp_path)).extra_variables

    assert "/srv" == variables["runsc_artifacts_directory"]
    assert "runsc_offline" not in variables


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({**WISH, "ansible_connection": "ssh"}, "ansible_connection"),
        ({**WISH, "node_host_root": "/"}, "node_host_root"),
        ({**WISH, "node_host_live": False}, "node_host_live"),
        ({**WISH, "runsc_flags": {"debug": "{{ evil }}"}}, "runsc_flags"),
        ({**WISH, "runsc_directory": "/opt/../etc"}, "runsc_directory"),
    ],
)
def test_a_wish_says_nothing_of_connections_hosts_or_templates(variables, named):
    with pytest.raises(InvalidInputError, match=named):
        a_job(variables=variables)


@pytest.mark.parametrize("node", ["", "a,b", "a[1:3]", "{{ x }}", "-a", "a" * 300])
def test_a_node_has_a_name_of_kubernetes(node):
    with pytest.raises(InvalidInputError, match="no name of a node"):
        a_job(node=node)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "\xff"])
def test_a_file_without_variables_is_named(tmp_path, text):
    path = tmp_path / "variables.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InvalidInputError, match=r"variables\.json"):
        read_wish(path)
    path.write_text(json.dumps(WISH))

    assert WISH == read_wish(path)


def test_a_proved_node_is_told_with_its_times():
    result = of_host(
        "changed",
        StepResult("probe", "ok", seconds=0.5),
        StepResult("containerd", "changed", seconds=1.0),
        StepResult("probe", "ok", seconds=0.25),
        StepResult("report", "ok", "gVisor is installed and proved"),
        report={"proof": "proved", "restarts": 1, "generation": 3},
    )

    assert ("changed", True, 1, 3) == (result.outcome, result.proved, result.restarts, result.generation)
    assert a_job().desired.fingerprint == result.fingerprint
    assert {"probe": 0.75, "containerd": 1.0, "report": 0.0} == result.steps
    assert ("gVisor is installed and proved", ("a warning",), 5.0) == (result.message, result.warnings, result.seconds)


def test_a_removal_and_a_failed_apply_prove_nothing():
    report = {"proof": "proved", "restarts": 0, "generation": 3}

    assert not of_host("changed", verb="remove", report=report).proved
    assert not of_host("failed", StepResult("proof", "failed", "no"), report=report).proved
    assert not of_host("ok", interrupted=True, report=report).proved
    assert not of_host("ok", report={"proof": ""}).proved


def test_a_failure_is_the_step_that_decided_and_counts_the_restart_before_it():
    result = of_host(
        "failed",
        StepResult("containerd", "changed"),
        StepResult("proof", "failed", "no sandbox", "EOF", "look"),
        StepResult("rollback", "changed"),
        containerd={"restarts": 1},
    )

    assert ("proof", "no sandbox", "EOF", "look", 1) == (
        result.step,
        result.message,
        result.cause,
        result.remedy,
        result.restarts,
    )


def test_a_refused_removal_names_the_pods():
    pods = [{"namespace": "shop", "name": name} for name in ("web", "db", "web")] + [{"namespace": "", "name": ""}]
    refused = of_host(
        "refused", StepResult("preflight", "refused", "pods run"), verb="remove", probe={"state": {"pods": pods}}
    )
    done = of_host("changed", verb="remove", probe={"state": {"pods": pods}})

    assert (("shop/db", "shop/web"), 2) == (refused.pods, refused.pods_total)
    assert ((), 0) == (done.pods, done.pods_total)


def test_an_interrupted_run_is_told_as_that():
    step = StepResult("release", "failed", "stopped before it was done")

    assert "interrupted" == of_host("failed", step, interrupted=True).outcome
    nobody = result_of("apply", RunResult({}, interrupted=True), a_job().desired)
    assert "interrupted" == nobody.outcome


@pytest.mark.parametrize(
    ("error", "outcome", "message"),
    [
        (InvalidInputError("bad"), "invalid", "bad"),
        (RefusedError("no"), "refused", "no"),
        (GvisorNodesError("broken", why="because"), "failed", "broken"),
        (KeyError("x"), "failed", "the Job crashed"),
    ],
)
def test_an_error_before_any_run_is_a_result_too(error, outcome, message):
    result = failed("apply", error, 0.0)

    assert (outcome, message, False) == (result.outcome, result.message, result.proved)
