"""The way into a node past the container engine is taken where it is seen to lead there, and nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from orchestrator.lab import entry
from orchestrator.lab.entry import Entry


@pytest.fixture
def sleeper():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def own_group(process):
    with open(f"/proc/{process.pid}/cgroup") as file:
        return file.read().split(":")[2].splitlines()[0]


def test_a_process_of_another_container_is_no_way_in(sleeper):
    assert Entry.find(sleeper.pid, "no group has such a name") is None


@pytest.mark.parametrize("missing", ["root", "nsenter"])
def test_who_may_not_enter_asks_the_engine(sleeper, monkeypatch, missing):
    if missing == "root":
        monkeypatch.setattr(entry.os, "geteuid", lambda: 1000)
    else:
        monkeypatch.setattr(entry.shutil, "which", lambda _: None)

    assert Entry.find(sleeper.pid, own_group(sleeper)) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may enter")
def test_it_is_open_until_the_process_ends_even_if_nobody_has_asked_for_its_end(sleeper):
    found = Entry.find(sleeper.pid, own_group(sleeper))
    assert found.is_open

    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)

    assert not found.is_open


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may enter")
def test_another_process_of_the_same_number_is_not_taken_for_it(sleeper):
    found = Entry.find(sleeper.pid, own_group(sleeper))

    assert not Entry(replace(found.process, started=found.process.started - 1)).is_open
