"""A process is found again by whoever comes later, and is never mistaken for another one."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.errors import GvisorNodesError
from orchestrator.lab import process as process_module
from orchestrator.lab.process import Identity, Process, await_ready

SHELL = Path("/bin/sh")
SLEEP = Path("/bin/sleep")


@pytest.fixture
def process(tmp_path):
    one = Process("sleeper", tmp_path)
    yield one
    one.stop(0)


@pytest.fixture
def stranger():
    """A process that is nobody's business."""
    with subprocess.Popen(["sleep", "600"]) as one:
        yield one
        one.kill()


def eventually(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def says(process, word):
    return lambda: process.log.exists() and word in process.log.read_text()


def test_what_is_started_runs_until_it_is_stopped_and_leaves_nothing_but_its_log(process, tmp_path):
    assert process.identity is None
    assert process.start(SLEEP, ["600"])
    pid = process.identity.pid

    assert process.stop(10)

    assert Identity.of(pid) is None
    assert not Path(f"/proc/{pid}").exists(), "it was not waited for"
    assert [path.name for path in tmp_path.iterdir()] == ["sleeper.log"]
    assert not process.stop(10)


def test_what_runs_is_not_started_twice(process):
    process.start(SLEEP, ["600"])
    before = process.identity

    assert not process.start(SLEEP, ["600"])
    assert process.identity == before


def test_what_another_process_started_is_found_and_ended(tmp_path):
    code = "import sys; from pathlib import Path; from orchestrator.lab.process import Process\n"
    code += "Process('sleeper', Path(sys.argv[1])).start(Path('/bin/sleep'), ['600'])"
    subprocess.run([sys.executable, "-c", code, tmp_path], check=True)
    found = Process("sleeper", tmp_path)
    pid = found.identity.pid

    assert os.getsid(pid) == pid, "Ctrl-C would end it"
    assert found.stop(10)
    eventually(lambda: Identity.of(pid) is None)


def test_a_number_that_now_is_anothers_is_not_touched(process, tmp_path, stranger):
    identity = Identity.of(stranger.pid)
    (tmp_path / "sleeper.pid").write_text(f"{identity.pid} {identity.started - 1}\n")

    assert process.identity is None
    assert not process.stop(10)
    with pytest.raises(GvisorNodesError, match="frozen"), process.frozen():
        pass

    assert stranger.poll() is None
    assert Identity.of(stranger.pid) == identity


@pytest.mark.parametrize("content", ["", "x", "1", "1 2 3", "0 1", "-1 1", "4194305 1"])
def test_a_file_that_names_no_process_is_as_if_nothing_ran(process, tmp_path, content):
    (tmp_path / "sleeper.pid").write_text(content)

    assert process.identity is None
    assert process.start(SLEEP, ["600"])


def test_one_that_does_not_want_to_end_is_killed(process):
    process.start(SHELL, ["-c", "trap '' TERM; echo deaf; while :; do sleep 600; done"])
    eventually(says(process, "deaf"))
    pid = process.identity.pid
    children = Path(f"/proc/{pid}/task/{pid}/children")
    eventually(children.read_text)
    left = int(children.read_text().split()[0])

    assert process.stop(0.1)

    assert Identity.of(pid) is None
    os.kill(left, signal.SIGKILL)  # the sleep of a shell that was killed


def test_a_frozen_one_goes_on_afterwards(process):
    process.start(SLEEP, ["600"])
    stat = Path(f"/proc/{process.identity.pid}/stat")

    def state():
        return stat.read_text().rpartition(")")[2].split()[0]

    with process.frozen():
        eventually(lambda: state() == "T")
    eventually(lambda: state() == "S")


def test_one_that_ends_while_it_is_waited_for_is_told_with_its_code_and_its_last_words(process):
    process.start(SHELL, ["-c", "for i in $(seq 50); do echo line $i; done; exit 3"])

    with pytest.raises(GvisorNodesError) as caught:
        await_ready(lambda: False, process)

    assert caught.value.what == "sleeper does not start"
    assert caught.value.why.splitlines() == ["it exited with 3", *(f"line {number}" for number in range(43, 51))]
    assert str(process.log) in caught.value.remedy


def test_one_without_which_nothing_gets_ready_is_told_in_its_place(process, tmp_path):
    process.start(SLEEP, ["600"])
    other = Process("other", tmp_path)
    other.start(SHELL, ["-c", "echo cannot; exit 1"])

    with pytest.raises(GvisorNodesError, match="other does not start: it exited with 1\ncannot"):
        await_ready(lambda: False, process, other)


def test_one_that_is_not_ready_in_time_is_an_error(process, monkeypatch):
    monkeypatch.setattr(process_module, "READY_SECONDS", 0.2)
    process.start(SLEEP, ["600"])

    with pytest.raises(GvisorNodesError, match="not ready after"):
        await_ready(lambda: False, process)


def test_variables_that_would_mislead_it_are_left_out_and_its_own_come_beside_the_others(process, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", "/somewhere")
    monkeypatch.setenv("OTHER", "stays")
    script = 'echo "<$KUBECONFIG> <$OTHER> <$OWN>"; exec sleep 600'

    process.start(SHELL, ["-c", script], without={"KUBECONFIG"}, variables={"OWN": "comes"})

    eventually(says(process, "<> <stays> <comes>"))


def test_a_second_run_adds_to_the_log(process):
    for word in ("first", "second"):
        process.start(SHELL, ["-c", f"echo {word}; exec sleep 600"])
        eventually(says(process, word))
        process.stop(10)

    assert process.log.read_text() == "first\nsecond\n"
