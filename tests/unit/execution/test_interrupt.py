"""However a run ends, no process and no directory of it is left."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.execution import processes

DRIVER = """
import dataclasses, json, sys
from pathlib import Path
from orchestrator.errors import GvisorNodesError
from orchestrator.execution.content import Content
from orchestrator.execution.runner import run

def tell(event):
    print(json.dumps([event.host, event.step, event.status]), flush=True)

try:
    result = run("wait", Path(sys.argv[2]), content=Content(Path(sys.argv[1])), on_event=tell, grace=float(sys.argv[3]))
except GvisorNodesError as error:
    print(json.dumps({"error": str(error), "exit_code": error.exit_code}), flush=True)
else:
    print(json.dumps({**dataclasses.asdict(result), "exit_code": result.exit_code}), flush=True)
"""
WAIT = """
- name: Wait
  hosts: all
  gather_facts: false
  tasks:
    - name: First
      answer: {step: first, status: changed}
    - name: Wait
      ansible.builtin.command: %s
"""
# Deaf to SIGTERM, and with a child in a session of its own that would live on.
STUBBORN = """/usr/bin/python3 -c "
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0: os.setsid()
time.sleep(600)" """


class Driver:
    """A process that runs a playbook which waits, up to the moment when it waits."""

    def __init__(self, content, inventory, grace):
        root = Path(__file__).resolve().parents[3]
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, content.root, inventory, str(grace)],
            stdout=subprocess.PIPE,
            bufsize=0,  # what select does not see would wait in a buffer
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        self.directory = None

    def until_it_waits(self, hosts=2):
        for _ in range(hosts):
            while json.loads(self.line())[1:] != ["Wait", "started"]:
                pass
        self.wait_until(lambda: any(b"sleep" in one or b"time.sleep" in one for one in self.command_lines()))
        self.child = next(pid for pid in self.pids() if b"orchestrator.execution.child" in command_line(pid))
        environment = Path(f"/proc/{self.child}/environ").read_text()
        self.directory = Path(re.search(rf"{processes.MARK}=([^\0]+)", environment)[1])

    def line(self):
        ready, _, _ = select.select([self.process.stdout], [], [], 60)
        assert ready, "nothing came from the run"
        return self.process.stdout.readline()

    def pids(self):
        return processes.descendants(self.process.pid)

    def command_lines(self):
        return [command_line(pid) for pid in self.pids()]

    def wait_until(self, condition):
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true"
            select.select([], [], [], 0.05)

    def nothing_left(self):
        return not processes.marked(str(self.directory)) and not self.directory.exists()

    def result(self):
        text, _ = self.process.communicate(timeout=60)
        return json.loads(text.splitlines()[-1])


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture
def waiting(make_content, make_inventory):
    drivers = []

    def start(command="sleep 603", grace=5.0):
        content = make_content(wait=WAIT % command.replace("\n", "\n        "))
        driver = Driver(content, make_inventory(a=None, b=None), grace)
        drivers.append(driver)
        driver.until_it_waits()
        return driver

    yield start
    for driver in drivers:
        driver.process.kill()
        driver.process.wait()
        driver.process.stdout.close()
        if driver.directory is not None:
            driver.wait_until(driver.nothing_left)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_run_and_says_what_is_where(waiting, number):
    driver = waiting()
    driver.process.send_signal(number)
    result = driver.result()

    assert (result["interrupted"], result["exit_code"]) == (True, 1)
    assert {"a", "b"} == set(result["hosts"])
    failure = result["hosts"]["a"]["steps"][-1]
    assert (failure["step"], failure["status"]) == ("Wait", "failed")
    assert "done before: first" in failure["cause"]
    assert "run the same command again" in failure["remedy"]
    assert driver.nothing_left()


def test_what_ignores_sigterm_is_killed_after_the_grace_period(waiting):
    driver = waiting(json.dumps(STUBBORN), grace=2.0)
    begun = time.monotonic()
    driver.process.send_signal(signal.SIGINT)
    result = driver.result()

    assert result["interrupted"]
    assert time.monotonic() - begun < 20
    assert driver.nothing_left()


def test_a_second_signal_kills_at_once(waiting):
    driver = waiting(json.dumps(STUBBORN), grace=300.0)
    driver.process.send_signal(signal.SIGINT)
    # ansible-playbook has ended: the first signal was taken, so the second is not merged with it
    driver.wait_until(lambda: not any(b"ansible-playbook" in line for line in driver.command_lines()))
    driver.process.send_signal(signal.SIGINT)
    begun = time.monotonic()
    result = driver.result()

    assert result["interrupted"]
    assert time.monotonic() - begun < 20
    assert driver.nothing_left()


def test_a_killed_child_is_an_error_and_leaves_nothing(waiting):
    driver = waiting()
    os.kill(driver.child, signal.SIGKILL)
    result = driver.result()

    assert result["exit_code"] == 1
    assert "the run ended without a result" in result["error"]
    assert driver.nothing_left()


def test_a_killed_caller_leaves_nothing(waiting):
    driver = waiting()
    driver.process.kill()
    driver.process.wait()

    driver.wait_until(driver.nothing_left)
