"""From events to results. recorded/mixed.jsonl is of a real run (ansible-core 2.21, ansible-runner 2.4)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.errors import GvisorNodesError, InvalidInputError
from orchestrator.execution.collector import Collector
from orchestrator.execution.results import HostResult, RunResult

RECORDED = [json.loads(line) for line in (Path(__file__).parent / "recorded" / "mixed.jsonl").read_text().splitlines()]


def collect(events, **how):
    collector = Collector()
    for event in events:
        collector.add(event)
    return collector.finish(**how)


def verbose(*lines):
    return [{"event": "verbose", "stdout": line, "event_data": {}} for line in lines]


def stats(**counts):
    return {"event": "playbook_on_stats", "event_data": counts}


def test_recorded_events_give_the_outcomes_of_their_run():
    result = collect(RECORDED)

    assert {name: host.outcome for name, host in result.hosts.items()} == {
        "ok": "changed",
        "refused": "refused",
        "failed": "failed",
        "gone": "unreachable",
        "old": "failed",
    }
    assert result.exit_code == 3


def test_a_loop_gives_one_step_an_item_and_a_silent_task_none():
    steps = [(step.step, step.status) for step in collect(RECORDED).hosts["ok"].steps]

    assert steps == [
        ("probe", "ok"),
        ("one", "changed"),
        ("two", "changed"),
        ("Plain", "changed"),
        ("report", "ok"),
    ]


def test_a_missing_python_is_explained():
    step = collect(RECORDED).hosts["old"].failure

    assert "no Python" in step.message
    assert "ansible_python_interpreter" in step.remedy


def test_without_the_final_statistics_a_run_is_an_error():
    with pytest.raises(GvisorNodesError, match="ended before it was done"):
        collect([event for event in RECORDED if event["event"] != "playbook_on_stats"])


def test_a_failure_of_the_child_wins_over_what_came_before():
    with pytest.raises(GvisorNodesError, match="gone"):
        collect(RECORDED[:-1], failure=GvisorNodesError("gone"))


def test_an_interrupt_after_the_end_is_none():
    assert not collect(RECORDED, interrupted=True).interrupted


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("preflight: no. To do: this", ["preflight"]),
        ("the undoing failed too", ["preflight", "Undo"]),
        ("", ["preflight", "Undo"]),
    ],
)
def test_a_rescue_that_ends_with_the_reason_for_which_it_began_tells_it_once(words, told):
    own = {"step": "preflight", "status": "refused", "message": "no", "remedy": "this"}
    failures = [
        ("Install", {"msg": "preflight: no. To do: this", "gvisor": own}),
        ("Undo", {"msg": words}),
    ]
    events = [
        {"event": "runner_on_failed", "event_data": {"host": "node", "task": task, "res": res}}
        for task, res in failures
    ]
    host = collect([*events, stats(processed={"node": 1}, failures={"node": 1})]).hosts["node"]

    assert told == [step.step for step in host.steps]
    assert "refused" == host.outcome


@pytest.mark.parametrize("count", range(0, len(RECORDED), 5))
def test_an_interrupt_at_any_event_gives_every_host_a_state(count):
    result = collect(RECORDED[:count], interrupted=True)

    assert result.interrupted
    assert result.exit_code == 1
    for host in result.hosts.values():
        assert host.succeeded == ("report" in host.data)
        assert host.succeeded or host.failure.message


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([], 0),
        (["ok", "changed"], 0),
        (["ok", "failed"], 3),
        (["unreachable"], 3),
        (["refused", "refused"], 4),
        (["ok", "refused"], 4),
        (["refused", "failed"], 3),
        (["refused", "unreachable"], 3),
        (["invalid"], 2),
        (["invalid", "ok"], 2),
        (["invalid", "refused"], 3),
    ],
)
def test_exit_codes_follow_from_the_outcomes(outcomes, code):
    hosts = {str(index): HostResult(str(index), outcome) for index, outcome in enumerate(outcomes)}

    assert code == RunResult(hosts).exit_code
    assert RunResult(hosts, interrupted=True).exit_code == 1


def test_a_failure_that_only_the_statistics_know_counts():
    result = collect([stats(processed={"a": 1}, failures={"a": 1})])

    assert result.hosts["a"].outcome == "failed"
    assert result.hosts["a"].failure is None


def test_statistics_without_hosts_are_invalid_input():
    with pytest.raises(InvalidInputError, match="has no host"):
        collect([stats(processed={})])


def test_the_reasons_of_the_inventory_plugins_are_told():
    events = verbose(
        "[WARNING]: Failed to parse inventory with 'ini' plugin: line 3 is odd",
        "[ERROR]: Completely failed to parse inventory source /i",
    )
    with pytest.raises(InvalidInputError, match="cannot be read") as caught:
        collect(events, inventory=["/i"])

    assert "line 3 is odd" in caught.value.why


def test_warnings_of_ansible_are_kept():
    events = [*verbose("[WARNING]: Could not match supplied host pattern, ignoring: x"), *RECORDED]

    assert collect(events).warnings == ("[WARNING]: Could not match supplied host pattern, ignoring: x",)


def answer(host, step, warnings=(), data=None):
    own = {"step": step, "status": "ok", "message": "", "data": data or {}, "warnings": list(warnings)}
    return {"event": "runner_on_ok", "event_data": {"host": host, "task": step, "res": {"gvisor": own}}}


def test_what_our_own_steps_warn_of_belongs_to_the_host_and_is_not_told_twice():
    events = [
        answer("n1", "probe", warnings=["too old", "odd"]),
        answer("n2", "probe"),
        *verbose("[WARNING]: n1: too old", "[WARNING]: n2: too old", "[WARNING]: another"),
        stats(processed={"n1": 1, "n2": 1}),
    ]
    result = collect(events)

    assert ("too old", "odd") == result.hosts["n1"].warnings
    assert () == result.hosts["n2"].warnings
    assert ("[WARNING]: n2: too old", "[WARNING]: another") == result.warnings


def test_the_report_has_the_last_word_on_warnings():
    events = [
        answer("n1", "probe", warnings=["predicted"]),
        answer("n1", "release", warnings=["found"]),
        answer("n1", "report", data={"warnings": ["found"]}),
        stats(processed={"n1": 1}),
    ]

    assert ("found",) == collect(events).hosts["n1"].warnings
