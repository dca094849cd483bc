"""Rules of a run over SSH before anything is connected to, and where its key comes from."""

from __future__ import annotations

import dataclasses
import threading

import pytest

from orchestrator.controller.nodes.mark import Action
from orchestrator.controller.nodes.run import Order
from orchestrator.controller.nodes.ssh_executor import SshExecutor, key_source
from orchestrator.controller.nodes.ssh_runs import SshRuns
from orchestrator.controller.nodes.ssh_settings import SshSettings
from orchestrator.errors import InvalidInputError

ORDER = Order(
    "run", "a", "n1", "0-1", "192.0.2.1", Action.APPLY, "ab" * 32, {"runsc_release": "20260209.1"}, "ns/gvisor-a"
)
REMOVE = dataclasses.replace(ORDER, action=Action.REMOVE, variables={})


@pytest.fixture
def executor():
    runs = SshRuns(1)

    def make(place="shoot", *, allowed=True, keys=lambda: (), **settings):
        wake = threading.Event()
        one = SshExecutor(runs, place, keys, SshSettings(**settings), allowed=lambda: allowed, wake=wake.set)
        return one, wake

    yield make
    runs.close()


def outcome(executor, order):
    one, wake = executor
    one.start(order)
    assert wake.wait(10)
    [run] = one.runs(order.owner)
    assert run == one.find(order.name)
    return run.result


def test_without_ssh_access_no_key_is_even_read(executor):
    found = outcome(executor(allowed=False, keys=lambda: pytest.fail("read")), ORDER)

    assert "refused" == found.outcome
    assert "sshAccess" in found.cause


def test_a_node_without_an_address_is_not_guessed(executor):
    found = outcome(executor(), dataclasses.replace(ORDER, address=""))

    assert ("failed", "the node has no address") == (found.outcome, found.message)


def test_what_is_no_key_is_told_without_showing_it(executor):
    found = outcome(executor(keys=lambda: ("geheim",)), ORDER)

    assert "invalid" == found.outcome
    assert "geheim" not in repr(found)


@pytest.mark.parametrize(
    ("place", "settings", "user", "become"),
    [
        ("shoot", {}, "gardener", True),
        ("", {}, "root", None),
        ("", {"user": "admin"}, "admin", True),
        ("", {"user": "admin", "become": False}, "admin", None),
    ],
)
def test_gardeners_user_becomes_root_and_root_is_root(executor, place, settings, user, become):
    one, _ = executor(place, **settings)
    found = one._inventory(ORDER)["all"]

    assert (user, become) == (found["vars"]["ansible_user"], found["vars"].get("ansible_become"))


def test_a_host_key_belongs_to_the_node_and_not_to_its_address_unless_the_operator_has_them(executor):
    one, _ = executor()
    assert "-o HostKeyAlias=0-1" == one._inventory(ORDER)["all"]["hosts"]["n1"]["ansible_ssh_extra_args"]

    one, _ = executor(known_hosts="/known", port=2222)
    assert {"ansible_host": "192.0.2.1", "ansible_port": 2222} == one._inventory(ORDER)["all"]["hosts"]["n1"]


def test_a_uid_that_is_none_is_no_option_of_ssh(executor):
    one, _ = executor()
    with pytest.raises(InvalidInputError):
        one._inventory(dataclasses.replace(ORDER, uid="x -o ProxyCommand=y"))


def test_where_releases_are_is_told_to_what_installs(executor, tmp_path):
    one, _ = executor(artifacts_directory=str(tmp_path))
    (tmp_path / "releases.json").touch()

    assert {
        **ORDER.variables,
        "runsc_artifacts_directory": str(tmp_path),
        "runsc_releases_files": [str(tmp_path / "releases.json")],
        "runsc_offline": True,
    } == one._variables(ORDER)
    assert {} == one._variables(REMOVE)


def test_a_key_file_is_read_for_each_run(tmp_path):
    path = tmp_path / "key"
    path.write_text("one")
    read = key_source(SshSettings(key_file=str(path)), None, "")
    assert ("one",) == read()
    path.write_text("two")
    assert ("two",) == read()
    path.unlink()
    with pytest.raises(InvalidInputError, match="No such file"):
        read()
