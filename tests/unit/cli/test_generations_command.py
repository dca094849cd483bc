"""What ``generations`` and ``rollback`` say, and what ``plan`` and ``status`` say of pods on other generations."""

from __future__ import annotations

import pytest

from orchestrator.cli import summary, tables
from orchestrator.cli.variables import Wanted
from orchestrator.execution.results import HostResult

POD = {
    "namespace": "shop",
    "name": "cart",
    "sandbox": "a" * 64,
    "generation": "1",
    "release": "20260224.0",
    "flags": ["--debug=true"],
    "note": "",
}
GENERATION = {
    "generation": "2",
    "release": "20260905.0",
    "flags": [],
    "pods": 3,
    "current": True,
    "previous": False,
    "made": 1790000000,
    "proved": None,
    "kept": "current",
}


def host(*, pods=(), changes=(), generations=()):
    probe = {
        "plan": {
            "needed": bool(changes),
            "restart": False,
            "changes": list(changes),
            "refusals": [],
            "pods": list(pods),
        },
        "state": {
            "tree": {"current": "2", "generations": {"2": {"release": "20260905.0", "flags": ""}}},
            "pods": list(pods),
            "generations": list(generations),
        },
    }
    return HostResult("n1", "ok", data={"probe": probe})


@pytest.fixture
def shown(capsys):
    def show(layout, row):
        tables.show(tables.console(), layout, [row])
        return capsys.readouterr().out

    return show


@pytest.mark.feature("A12")
def test_plan_names_the_pods_that_stay_and_what_they_run_in(shown):
    row = summary.plan_row(host(pods=[POD]))

    assert [POD] == row["pods"]
    text = shown("plan", row)
    assert "pod shop/cart stays on generation 1" in text
    assert "release 20260224.0, flags --debug=true" in text
    assert "everything is as wanted" in text


def test_plan_says_what_is_wrong_with_a_pod(shown):
    missing = {**POD, "note": "its generation is not on the node", "name": ""}
    unknown = {**POD, "generation": "", "release": None, "note": "its record is lost"}
    text = shown("plan", summary.plan_row(host(pods=[missing, unknown])))

    assert "pod sandbox aaaaaaaaaaaaa stays on generation 1" in text
    assert "release 20260224.0, flags --debug=true; its generation is not on the node" in text
    assert "pod shop/cart is on no generation that is known" in text


@pytest.mark.feature("A12")
def test_status_counts_pods_by_generation(shown):
    pods = [
        POD,
        {**POD, "name": "till"},
        {**POD, "generation": "2"},
        {**POD, "generation": "10"},
        {**POD, "generation": ""},
    ]
    row = summary.status_row(host(pods=pods))

    assert {"": 1, "1": 2, "2": 1, "10": 1} == row["pods"]
    assert "5 (1 on none, 2 on 1, 1 on 10)" in shown("status", row)


def test_what_is_merely_to_be_collected_is_no_drift():
    changes = [
        {"step": "collect", "what": "generation 1", "why": "x"},
        {"step": "files", "what": "f", "why": "missing"},
    ]

    assert ["f: missing"] == summary.status_row(host(changes=changes))["drift"]


def test_generations_are_shown_with_the_reason_why_they_stay(shown):
    old = {
        **GENERATION,
        "generation": "1",
        "current": False,
        "previous": True,
        "pods": 0,
        "kept": "",
        "flags": ["--a=b"],
    }
    row = summary.generations_row(host(pods=[POD], generations=[GENERATION, old]))

    assert "2026-09-21T14:13:20Z" == row["generations"][0]["made"]
    assert row["generations"][0]["proved"] is None
    lines = shown("generations", row).splitlines()
    assert ["n1", "2", "20260905.0", "-", "current", "3", "2026-09-21T14:13:20Z", "-", "current"] == lines[1].split()
    assert "1" == lines[2].split()[0]
    assert "previous" in lines[2]
    assert lines[2].endswith("nothing: apply removes it")


@pytest.mark.parametrize("outcome", ["ok", "unreachable"])
def test_a_host_without_generations_has_a_row(shown, outcome):
    lines = shown("generations", summary.generations_row(HostResult("n1", outcome))).splitlines()

    assert ["n1", "none" if outcome == "ok" else outcome] == lines[1].split()[:2]


def test_the_generation_to_go_to_is_a_variable_only_if_it_was_given():
    assert {"runsc_rollback_generation": 3} == Wanted(generation=3).variables()
    assert {} == Wanted().variables()
