"""What several releases would do to the GPUs of a node, and whose word every answer is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.gvisor.driver_history import listed_by
from orchestrator.gvisor.driver_lists import DriverList
from orchestrator.planning.gpu_report import lists_needed, make
from orchestrator.planning.state import NodeState

CLEAN = json.loads((Path(__file__).parent / "data" / "probe-clean.json").read_text())
OLD, NEW = "20250205.0", "20260905.0"
OLD_LIST, NEW_LIST = "550.54.14\n570.86.15\n", "550.90.12\n570.172.08\n"


def node(driver, *, module=None, params=True, now=OLD, supported=None):
    nvidia = {
        "proc": f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {driver}  x\n" if driver else None,
        "module": f"{module or driver}\n" if driver else None,
        "params_readable": params,
        "devices": ["0000:01:00.0"] if driver else [],
        "files": ["nvidia0", "nvidia-uvm", "nvidiactl"],
        "supported": {OLD: OLD_LIST} if supported is None else supported,
    }
    tree = CLEAN["tree"]
    if now:
        tree = {**tree, "current": "1", "generations": {"1": {"release": now, "flags": "--nvproxy=true\n"}}}
    return NodeState.model_validate({**CLEAN, "nvidia": nvidia, "tree": tree})


def verdicts(report):
    return [(row.release, row.verdict, row.basis) for row in report.rows]


@pytest.mark.feature("E8")
def test_a_switch_that_drops_the_driver_is_a_failure_that_names_both():
    state = node("570.86.15")
    assert (NEW,) == lists_needed(state, (NEW,))
    report = make(state, (NEW,), {NEW: DriverList(NEW, NEW_LIST, "binary")}, known=(OLD, NEW))

    assert [(OLD, "supported", "node"), (NEW, "known-unsupported", "controller")] == verdicts(report)
    assert [False, True] == [row.drops for row in report.rows]
    assert [True, False] == [row.in_use for row in report.rows]
    assert "runsc 20260905.0" in report.failures[0].what
    assert "(20250205.0)" in report.failures[0].remedy


def test_a_driver_that_keeps_working_is_no_failure():
    report = make(node("570.172.08", now=None), (NEW,), {NEW: DriverList(NEW, NEW_LIST, "binary")})

    assert () == report.failures
    assert "NVIDIA driver 570.172.08: 20260905.0 can use it" == report.message


@pytest.mark.feature("E6")
def test_with_the_flag_a_node_without_a_driver_is_a_failure():
    with_flag = make(node(None), (NEW,), {}, flags=("--nvproxy=true",))

    assert ["no sandbox would start"] == [one.what.rpartition(": ")[2] for one in with_flag.failures]
    assert ((), "no NVIDIA driver is loaded") == (
        make(node(None), (NEW,), {}).failures,
        make(node(None), (NEW,), {}).message,
    )


def test_with_the_flag_a_driver_without_its_device_is_a_failure_that_is_told_once():
    state = node("570.172.08")
    state = state.model_copy(update={"nvidia": state.nvidia.model_copy(update={"files": ["nvidia-uvm"]})})
    listed = {NEW: DriverList(NEW, NEW_LIST, "binary")}

    found = make(state, (NEW,), listed, flags=("--nvproxy=true",))
    assert (1, ()) == (len(found.failures), found.notes)
    without = make(state, (NEW,), listed)
    assert (0, 1) == (len(without.failures), len(without.notes))


def test_a_release_that_nobody_asked_for_is_shown_and_is_no_failure():
    report = make(node("570.172.08"), (NEW,), {NEW: DriverList(NEW, NEW_LIST, "binary")})

    assert [(OLD, "unknown", "node"), (NEW, "supported", "controller")] == verdicts(report)
    assert () == report.failures
    assert not any(row.drops for row in report.rows)


@pytest.mark.feature("E8")
@pytest.mark.parametrize(
    ("driver", "release", "verdict"),
    [
        ("570.86.15", "20260224.0", "supported"),
        ("550.54.14", "20260905.0", "known-unsupported"),
        ("999.1.1", "20260224.0", "unknown"),
        ("580.178.04", "20261005.0", "undecided"),
    ],
)
def test_without_a_binary_the_data_answers_and_says_so(driver, release, verdict):
    found = DriverList(release, "\n".join(listed_by(release)), "data", "the binary is not here")
    report = make(node(driver, now=None, supported={}), (release,), {release: found})

    assert [(release, verdict, "data")] == verdicts(report)
    assert "the binary is not here" in report.rows[0].why
    assert (verdict != "supported") == bool(report.failures)


def test_what_no_release_helps_with_is_said_first():
    pending = make(node("570.86.15", module="570.172.08"), (NEW,), {NEW: DriverList(NEW, NEW_LIST, "binary")})
    unread = make(node("570.172.08", params=False), (NEW,), {NEW: DriverList(NEW, NEW_LIST, "binary")})

    assert () == pending.rows
    assert "reboot" in pending.failures[0].remedy
    assert "/proc/driver/nvidia/params" in unread.failures[0].what
    assert 2 == len(unread.rows)


def test_a_node_without_a_driver_needs_no_list_and_has_no_rows():
    state = node(None)

    assert () == lists_needed(state, (NEW,))
    assert () == make(state, (NEW,), {}).failures
    assert "no NVIDIA driver is loaded" == make(state, (NEW,), {}).message


def test_the_report_is_data_with_every_answer():
    data = make(node("570.86.15"), (NEW,), {NEW: DriverList(NEW, NEW_LIST, "binary")}).as_data()

    assert json.loads(json.dumps(data)) == data
    assert [False, True] == [row["fails"] for row in data["rows"]]
