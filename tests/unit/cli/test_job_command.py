"""The command that a Job's container runs: whatever happens, its message says so."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.execution.job_result import parse

COMMAND = Path(sys.executable).with_name("gvisor-nodes")
WISH = {"runsc_release": "20260905.0", "runsc_flags": {}, "runsc_flags_policy": {}, "runsc_directory": "/opt/gvisor"}


@pytest.fixture
def message(tmp_path):
    """The file that the kubelet has mounted; it is written in place."""
    path = tmp_path / "termination-log"
    path.write_text("x" * 5000)
    return path


@pytest.fixture
def start(tmp_path, message):
    variables = tmp_path / "variables.json"

    def run(verb="apply", wish=WISH, node="node-1"):
        variables.write_text(json.dumps(wish))
        argv = [COMMAND, "job", verb, "--variables", variables, "--message", message, "--host-root", tmp_path / "host"]
        environment = {**os.environ, "NODE_NAME": node}
        return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)

    (tmp_path / "host").mkdir()
    return run


@pytest.fixture
def end(message):
    def wait(process):
        inode = message.stat().st_ino
        output = process.communicate(timeout=120)[0]
        assert inode == message.stat().st_ino
        return process.returncode, parse(message.read_text()), output

    return wait


@pytest.mark.parametrize("verb", ["apply", "remove"])
def test_a_pod_that_does_not_see_its_host_is_refused_with_what_it_lacks(start, end, verb):
    rc, result, output = end(start(verb))

    assert 4 == rc, output
    assert (verb, "refused") == (result.action, result.outcome)
    assert "is not the root of the running host" in result.message
    assert "hostPID: true" in result.remedy
    assert "probe: refused" in output


@pytest.mark.parametrize(("wish", "node"), [([], "node-1"), ({"x": 1}, "node-1"), (WISH, "")])
def test_a_wish_that_is_none_is_told(start, end, wish, node):
    rc, result, output = end(start(wish=wish, node=node))

    assert (2, "invalid") == (rc, result.outcome)
    assert "Traceback" not in output


def test_an_eviction_stops_the_run_and_is_told(start, end):
    process = start()
    assert "apply gVisor 20260905.0 on node-1" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    rc, result, output = end(process)

    assert 1 == rc, output
    assert "interrupted" == result.outcome
