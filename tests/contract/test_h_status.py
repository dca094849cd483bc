"""How nodes are, asked by the command that people type: once, and for as long as they watch."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from landscape import NODES, with_options
from patience import eventually
from played_kubelet import PlayedKubelet

from orchestrator.controller.nodes.job import JobSettings
from orchestrator.controller.nodes.plan import Pace
from orchestrator.controller.nodes.settings import NodesOptions

POOL = {
    "worker.gardener.cloud/pool": "a",
    "worker.garden.sapcloud.io/group": "a",
    "worker.gardener.cloud/cri-name": "containerd",
}
OPTIONS = with_options(nodes=NodesOptions(job=JobSettings(image="example/gvisor-nodes:test"), pace=Pace(first=600.0)))
"""What failed stays so until somebody has looked, also on a machine with much else to do."""


@pytest.fixture
def kubelet(target):
    with PlayedKubelet(target) as one:
        yield one


@pytest.fixture
def pool(shoot, controller):
    """A Shoot whose pool is reconciled and whose nodes are looked after; the controller runs on."""
    shoot.grant_access()
    with controller(OPTIONS):
        shoot.deploy()
        shoot.await_healthy()
        yield shoot


@pytest.fixture
def command(cluster):
    """The arguments of ``gvisor-nodes status --cluster …``."""

    def made(name, *more):
        program = str(Path(sys.executable).with_name("gvisor-nodes"))
        return [program, "status", "--cluster", name, "--kubeconfig", str(cluster.seed.kubeconfig_file), *more]

    return made


@pytest.fixture
def ask(command):
    """Asks once; returns the exit code and what was printed."""

    def run(name, *more):
        done = subprocess.run(command(name, *more), capture_output=True, text=True, check=False, timeout=60)
        return done.returncode, done.stdout, done.stderr

    return run


def await_marks(pool, node, *names):
    def looked():
        return set(names) <= set(pool.target.get(NODES, node)["metadata"].get("annotations", {}))

    eventually(looked, what=lambda: pool.target.get(NODES, node))


@pytest.mark.feature("G3")
def test_the_status_of_a_pool_is_that_of_its_nodes_and_the_exit_code_that_of_the_worst(pool, kubelet, ask):
    name = f"{pool.namespace}/gvisor-a"
    code, out, err = ask(name)
    assert (0, True) == (code, "it has no node" in out), err

    first = pool.add_node("n1", **POOL)
    kubelet.await_job(first)
    assert 1 == ask(name)[0]

    kubelet.ends(first)
    await_marks(pool, first, "gvisor-nodes/proof")
    code, out, _ = ask(name)
    assert 0 == code
    assert ["POOL", "NODE", "STATE", "GVISOR", "GENERATION", "SINCE", "STEP", "WHY"] == out.splitlines()[0].split()
    assert [name, first, "Ready", "20260209.1", "1"] == out.splitlines()[1].split()[:5]

    second = pool.add_node("n2", **POOL)
    kubelet.ends(second, "failed", step="containerd", message="it did not start")
    await_marks(pool, second, "gvisor-nodes/failure")
    code, out, _ = ask("all", "--output", "json")
    document = json.loads(out)
    assert 3 == code == document["exit_code"]
    [mine] = [one for one in document["pools"] if one["pool"] == name]
    assert [(first, "Ready", None), (second, "Failed", "containerd")] == [
        (one["name"], one["state"], one["step"]) for one in mine["nodes"]
    ]


def test_a_pool_that_cannot_be_looked_at_says_why(shoot, controller, ask):
    with controller():
        shoot.deploy()
        shoot.await_ready()
    code, out, _ = ask(f"{shoot.namespace}/gvisor-a")
    assert 3 == code
    assert "Unknown" in out
    assert "there is no access to the API server" in out

    shoot.change_shoot(spec={"hibernation": {"enabled": True}})
    code, out, _ = ask(f"{shoot.namespace}/gvisor-a")
    assert (0, True) == (code, "the Shoot is hibernated" in out)


def test_a_pool_that_is_not_there_is_an_error(shoot, ask):
    code, _, err = ask(f"{shoot.namespace}/gvisor-a")

    assert 4 == code
    assert "gvisor-a" in err


class Watching:
    """A command that goes on, and everything that it has written."""

    def __init__(self, process, source):
        self.process = process
        self._source = source
        self.text = ""

    def until(self, text):
        end = time.monotonic() + 60
        while text not in self.text:
            assert time.monotonic() < end, self.text
            if select.select([self._source], [], [], 1)[0]:
                self.text += os.read(self._source, 65536).decode()

    def end(self):
        """Ctrl-C; returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@contextmanager
def watching(argv, *, terminal=False):
    ours, theirs = pty.openpty() if terminal else os.pipe()
    environment = {**os.environ, "COLUMNS": "200", "TERM": "xterm", "PYTHONUNBUFFERED": "1"}
    # Who was started in the background of a shell does not hear Ctrl-C, nor does whom he starts.
    argv = ["env", "--default-signal=INT", *argv]
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=theirs, stderr=subprocess.PIPE, env=environment)
    os.close(theirs)
    try:
        yield Watching(process, ours)
    finally:
        process.kill()
        process.wait(30)
        process.stderr.close()
        os.close(ours)


@pytest.mark.feature("G3")
@pytest.mark.parametrize("terminal", [False, True], ids=["lines", "terminal"])
def test_who_watches_sees_every_change_until_ctrl_c(pool, kubelet, command, terminal):
    node = pool.add_node("n1", **POOL)
    kubelet.await_job(node)
    with watching(command(f"{pool.namespace}/gvisor-a", "--watch"), terminal=terminal) as one:
        one.until("Running")
        kubelet.ends(node)
        one.until("Ready")
        assert 0 == one.end(), one.text

    if not terminal:
        lines = one.text.splitlines()
        assert f"{pool.namespace}/gvisor-a {node} Running" == lines[0]
        assert f"{pool.namespace}/gvisor-a {node} Ready 20260209.1" == lines[-1]
        assert len(lines) == len(set(lines))
