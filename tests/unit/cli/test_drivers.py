"""``gvisor-nodes drivers``: what is printed, in which words, and how it ends."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from orchestrator.cli import drivers
from orchestrator.cli.options import Output
from orchestrator.cli.variables import Wanted
from orchestrator.errors import GvisorNodesError, InvalidInputError
from orchestrator.gvisor.driver_history import listed_by


def run(*arguments):
    result = CliRunner().invoke(drivers.app, [*arguments], env={"COLUMNS": "250"})
    if isinstance(result.exception, GvisorNodesError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture(autouse=True)
def _empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


HOSTS = ("gpu-1", "gpu-2", "plain")


@pytest.fixture
def check(invoke, inventory):
    def call(**more):
        return invoke("drivers check", "drivers", inventory(*HOSTS), drivers.row, layout="drivers", **more)

    return call


@pytest.mark.feature("E8")
def test_check_shows_every_release_of_a_host_and_what_a_switch_takes(check):
    code, out, _err = check()
    lines = [line.split() for line in out.splitlines()]

    assert code == 3
    assert ["HOST", "DRIVER", "RELEASE", "IN", "USE", "VERDICT", "BY", "NEAREST"] == lines[0]
    assert ["gpu-1", "570.86.15", "20260224.0", "yes", "supported", "node", "570.86.15"] == lines[1]
    assert ["20260905.0", "no", "known-unsupported,", "drops", "the", "driver"] == lines[2][:6]
    assert ["plain", "none", "-", "-", "-", "-", "-"] == lines[5]
    assert "A switch to 20260905.0 takes the GPUs of 2 hosts: gpu-1, gpu-2" in out
    assert "to do  install another driver" in out


@pytest.mark.feature("E8")
def test_the_document_says_by_which_releases_a_host_loses_support(check):
    code, out, _err = check(output=Output.json)
    document = json.loads(out)

    assert (code, "drivers check") == (3, document["command"])
    assert {"gpu-1": ["20260905.0"], "gpu-2": ["20260905.0"], "plain": []} == {
        h["host"]: h["loses_support_by"] for h in document["hosts"]
    }


def test_list_shows_a_release_by_the_data_where_its_binary_is_not_here():
    result = run("list", "--release", "20260905.0", "--output", "json")
    rows = json.loads(result.stdout)

    assert list(listed_by("20260905.0")) == [row["driver"] for row in rows]
    assert {"data"} == {row["basis"] for row in rows}
    assert "gvisor-nodes releases fetch 20260905.0" in result.stderr


def test_list_shows_the_releases_that_support_a_driver():
    rows = json.loads(run("list", "--driver", "570.86.15", "--arch", "x86_64", "--output", "json").stdout)
    support = {row["release"]: row["support"] for row in rows}

    assert "supported" == support["20260224.0"]
    assert "known-unsupported" == support["20260905.0"]


@pytest.mark.parametrize(
    "arguments", [("--driver", "garbage"), ("--driver", "570.86.15", "--release", "20260905.0"), ("--release", "new")]
)
def test_list_refuses_what_it_cannot_answer(arguments):
    with pytest.raises(InvalidInputError):
        run("list", *arguments)


def test_releases_to_check_become_the_variable_of_the_playbook():
    wanted = Wanted(check_releases=["20260905.0", "20260224.0"])

    assert {"nvproxy_check_releases": ["20260905.0", "20260224.0"]} == wanted.variables()
