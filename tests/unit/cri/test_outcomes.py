"""What the runtime says, in its own words, and what it means. The texts were printed by real daemons."""

import pytest

from orchestrator.cri.daemon import HandlerView
from orchestrator.cri.faults import CallError
from orchestrator.cri.outcomes import Facts, classify
from orchestrator.cri.request import Expectation, Request

DIRECTORY = "/opt/gvisor-nodes"
RUNSC = f"{DIRECTORY}/releases/20260905.0/runsc"
SHIM = f"{DIRECTORY}/containerd-shim-runsc-v1"
OPTIONS = f"{DIRECTORY}/runsc.toml"
REQUEST = Request(
    verb="prove",
    timeout=60,
    expect=Expectation(
        release="20260905.0",
        runsc=RUNSC,
        flags=("--debug=true",),
        config_path=OPTIONS,
        runtime_type=SHIM,
        directory=DIRECTORY,
    ),
)
VIEW = HandlerView(runtime_type=SHIM, config_path=OPTIONS)
ACCEPTED = {"argv": [f"{DIRECTORY}/runsc", "--root=/nonexistent", "list"], "rc": 0, "text": "ID"}
SILENT = (
    "failed to create containerd task: failed to create shim task: OCI runtime create failed: /opt/gvisor-nodes/runsc "
    "did not terminate successfully (unable to retrieve OCI runtime error: open /run/containerd/x/log.json: no such "
    "file or directory): unknown"
)


def evidence(**changes):
    return {
        "pid": 498,
        "exe": RUNSC,
        "cmdline": ["runsc-sandbox", "--root=/run/containerd/runsc/k8s.io", "--debug=true", "boot", "--cpu-num", "2"],
        "runsc": RUNSC,
        **changes,
    }


def failed(message, code="UNKNOWN", call="RunPodSandbox", **facts):
    return classify(
        Facts(**{"view": VIEW, "flags": ACCEPTED, **facts}, failure=CallError(call, code, message)), REQUEST
    )


@pytest.mark.parametrize(
    ("message", "outcome", "remedy"),
    [
        (
            'failed to get sandbox runtime: no runtime for "runsc" is configured',
            "handler-missing",
            "restart containerd",
        ),
        (
            (
                "failed to create containerd task: failed to start shim: failed to resolve runtime path: runtime "
                '"io.containerd.runsc.v1" binary not installed "containerd-shim-runsc-v1": file does not exist: unknown'
            ),
            "shim-missing",
            "put the shim back",
        ),
        (
            (
                "failed to create containerd task: failed to start shim: failed to resolve runtime path: invalid "
                f"custom binary path: stat {SHIM}: no such file or directory: unknown"
            ),
            "shim-missing",
            "put the shim back",
        ),
        (
            (
                f"failed to create containerd task: failed to start shim: start failed: : fork/exec {SHIM}: permission "
                "denied: unknown"
            ),
            "shim-missing",
            "executable",
        ),
        (
            (
                f"failed to create containerd task: failed to start shim: start failed: {SHIM}: 2: exec: "
                f"{DIRECTORY}/releases/20260905.0/containerd-shim-runsc-v1: not found\n: exit status 127: unknown"
            ),
            "shim-missing",
            "put the shim back",
        ),
        (
            (
                'failed to get sandbox image "registry.k8s.io/pause:3.8": failed to pull image: '
                "failed to resolve reference: dial tcp: lookup registry.k8s.io: no such host"
            ),
            "pause-image-missing",
            "pause image",
        ),
        (
            (
                'failed to start shim: start failed: dial unix {"version":2,"address":"unix:///run/containerd/s/1ae0",'
                '"protocol":"ttrpc"}: connect: invalid argument'
            ),
            "failed",
            "containerd 1.7",
        ),
        (
            (
                'failed to create shim task: decode config file "/opt/gvisor-nodes/runsc.toml": toml: line 8 (last key '
                '"runsc_config.strace"): incompatible types: TOML value has type bool; destination has type string'
            ),
            "failed",
            "quoted string",
        ),
        (
            (
                "failed to create shim task: OCI runtime create failed: fork/exec /opt/gvisor-nodes/runsc: no such "
                "file or directory (unable to retrieve OCI runtime error: open /x/log.json: no such file): unknown"
            ),
            "failed",
            "put runsc back",
        ),
        (
            'OCI runtime create failed: creating container: cannot set up cgroup for root: invalid systemd path: "/k"',
            "failed",
            "slice",
        ),
        ("cannot read client sync file: waiting for sandbox to start: EOF", "failed", "static binary"),
        ("failed to set OOM Score on shim: write /proc/9/oom_score_adj: permission denied", "failed", "SYS_RESOURCE"),
        ("cannot create sandbox process: cannot look up platform: unknown platform: foo", "flags-refused", "platform"),
        ("something nobody has seen yet", "failed", "journalctl"),
    ],
)
def test_an_error_of_the_runtime_means_one_outcome_with_its_next_step(message, outcome, remedy):
    verdict = failed(message)

    assert outcome == verdict.outcome
    assert remedy in verdict.remedy
    assert message in verdict.detail


@pytest.mark.parametrize("rc", [2, 128])
def test_flags_that_runsc_refuses_are_named_with_its_own_reason(rc):
    said = {"argv": ["/opt/gvisor-nodes/runsc", "list"], "rc": rc, "text": "flag provided: -nope\nUsage: runsc <flags>"}

    verdict = classify(Facts(view=VIEW, flags=said), REQUEST)

    assert verdict.outcome == "flags-refused"
    assert "flag provided: -nope (" in verdict.detail
    assert "Usage" not in verdict.detail


def test_a_silent_end_of_runsc_with_good_flags_points_at_the_options_file():
    verdict = failed(SILENT)

    assert verdict.outcome == "flags-refused"
    assert "runsc_config" in verdict.remedy


def test_a_silent_end_of_a_runsc_that_cannot_run_says_what_its_own_check_said():
    verdict = failed(SILENT, flags={**ACCEPTED, "rc": 127, "text": "exec: runsc: not found"})

    assert verdict.outcome == "failed"
    assert "exits 127: exec: runsc: not found" in verdict.detail


def test_a_silent_end_that_nobody_checked_stays_a_failure():
    assert failed(SILENT, flags=None).outcome == "failed"


def test_no_answer_in_time_is_a_timeout():
    verdict = failed("Deadline Exceeded", "DEADLINE_EXCEEDED")

    assert verdict.outcome == "timeout"
    assert "60 s" in verdict.detail


@pytest.mark.parametrize(
    ("code", "message", "remedy"),
    [
        ("UNIMPLEMENTED", "unknown service runtime.v1.RuntimeService", "did not load"),
        ("UNAVAILABLE", "/run/containerd/containerd.sock: No such file or directory", "systemctl status containerd"),
        ("UNAVAILABLE", "/run/containerd/containerd.sock: Permission denied", "become root"),
    ],
)
def test_a_runtime_that_cannot_be_asked_is_told_apart_from_one_that_refuses(code, message, remedy):
    verdict = failed(message, code, "Version", view=None)

    assert verdict.outcome == "cri-unavailable"
    assert remedy in verdict.remedy


def test_a_handler_the_daemon_does_not_have_is_missing():
    assert classify(Facts(), REQUEST).outcome == "handler-missing"


def test_a_failure_with_another_handler_than_ours_says_so_beside_the_error():
    verdict = failed("boom", view=HandlerView("io.containerd.runsc.v1", OPTIONS))

    assert verdict.outcome == "failed"
    assert "'io.containerd.runsc.v1', not '/opt/gvisor-nodes/containerd-shim-runsc-v1'" in verdict.detail


def test_the_wanted_release_with_its_flags_is_proved():
    assert classify(Facts(VIEW, ACCEPTED, None, evidence()), REQUEST).outcome == "proved"


@pytest.mark.parametrize(
    "found",
    [
        evidence(exe=f"{RUNSC} (deleted)"),
        evidence(exe=f"{DIRECTORY}/releases/20260905.0/gvisor-bin/gvisor_sentry"),
        evidence(exe="/data/gvisor/runsc", runsc="/data/gvisor/runsc"),
    ],
    ids=["removed since", "its own sentry", "behind links"],
)
def test_a_release_is_known_by_the_file_it_executes(found):
    assert classify(Facts(VIEW, ACCEPTED, None, found), REQUEST).outcome == "proved"


@pytest.mark.parametrize(
    ("found", "outcome", "text"),
    [
        (evidence(exe="/pause", cmdline=["/pause"]), "not-gvisor", "/pause"),
        (evidence(cmdline=["runsc-gofer", "--debug=true"]), "not-gvisor", "runsc-gofer"),
        (evidence(cmdline=[]), "not-gvisor", "no gVisor sandbox"),
        (evidence(exe=f"{DIRECTORY}/releases/20260224.0/runsc"), "wrong-release", "20260224.0"),
        (evidence(exe="/usr/local/bin/runsc"), "wrong-release", "/usr/local/bin/runsc"),
        (evidence(cmdline=["runsc-sandbox", "boot", "--debug=true"]), "failed", "--debug=true (is not there)"),
        (evidence(cmdline=["runsc-sandbox", "--debug=false", "boot"]), "failed", "--debug=true (is 'false')"),
        (evidence(exe=""), "failed", "gone"),
    ],
)
def test_a_process_that_is_not_what_was_wanted_is_named(found, outcome, text):
    verdict = classify(Facts(VIEW, ACCEPTED, None, found), REQUEST)

    assert outcome == verdict.outcome
    assert text in verdict.detail
    assert verdict.remedy


def test_a_good_sandbox_of_a_daemon_that_did_not_load_our_handler_is_no_proof():
    verdict = classify(Facts(HandlerView(SHIM, "/etc/containerd/runsc.toml"), ACCEPTED, None, evidence()), REQUEST)

    assert (verdict.outcome, verdict.code) == ("handler-missing", "handler-differs")
    assert "/etc/containerd/runsc.toml" in verdict.detail


def test_what_is_not_expected_is_not_compared():
    found = evidence(exe="/usr/bin/runsc", cmdline=["runsc-sandbox", "boot"])

    assert classify(Facts(HandlerView("x", "y"), None, None, found), Request(verb="prove")).outcome == "proved"
