"""What the commands print and how they end, on real runs of playbooks that answer what they are told to."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys

import pytest
import yaml

from orchestrator.cli import invocation, summary, tables
from orchestrator.cli.options import Output
from orchestrator.cli.variables import Wanted
from orchestrator.errors import InvalidInputError
from orchestrator.execution.results import HostResult, RunResult
from orchestrator.execution.runner import Options


@pytest.fixture
def installed(installation):
    """Run the command line of an installation outside the checkout."""

    def call(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "orchestrator.cli.app", *map(str, arguments)],
            cwd="/",
            env={**os.environ, "PYTHONPATH": str(installation), "COLUMNS": "60"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return call


@pytest.mark.feature("J2")
def test_an_installation_outside_the_checkout_applies(installed, inventory):
    done = installed("apply", "-i", inventory("n1", "gated"), "--output", "json")
    document = json.loads(done.stdout)

    assert done.returncode == 4, done.stderr
    assert document["exit_code"] == 4
    assert {host["host"]: host["outcome"] for host in document["hosts"]} == {"n1": "changed", "gated": "refused"}
    row = document["hosts"][0]
    assert (row["containerd"], row["release"], row["restarts"], row["proof"]) == ("1.7.24", "20260905.0", 1, "proved")
    assert document["hosts"][1]["steps"][-1]["remedy"] == "drain the node"
    assert "n1 probe ok planned\n" in done.stderr


def test_apply_prints_a_table_and_below_it_what_failed_and_what_to_do(invoke, inventory):
    code, out, err = invoke("apply", "install", inventory("n1", "gated"), summary.apply_row)
    lines = out.splitlines()

    assert code == 4
    assert lines[0].split() == ["HOST", "CONTAINERD", "GVISOR", "RESTARTS", "PROOF", "SECONDS", "RESULT"]
    cells = lines[1].split()
    assert [*cells[:5], cells[6]] == ["n1", "1.7.24", "20260905.0", "1", "proved", "changed"]
    assert lines[2].split()[0:5] == ["gated", "1.7.24", "-", "-", "-"]
    assert out.endswith(
        "\n\ngated [preflight] refused\n  what   pods use it\n  why    pod default/a\n  to do  drain the node\n"
    )
    assert "gated preflight refused pods use it\n" in err


def test_plan_prints_what_and_why(invoke, inventory):
    code, out, _err = invoke("plan", "probe", inventory("n1"), summary.plan_row)

    assert code == 0
    assert [re.split(" {2,}", line.strip()) for line in out.splitlines()] == [
        ["HOST", "RESTART", "WHAT", "WHY"],
        ["n1", "yes", "handler runsc in config.toml", "containerd does not know the handler"],
    ]


def test_a_warning_is_printed_once_below_the_table_with_its_hosts_and_is_in_the_document(invoke, inventory):
    hosts = inventory("n1", "n2")
    code, out, err = invoke("plan", "warns", hosts, summary.plan_row)
    _code, document, _err = invoke("plan", "warns", hosts, summary.plan_row, output=Output.json)

    assert code == 0
    assert out.endswith("\n\nn1, n2 warning\n  pods may hang: choose another release\n")
    assert "WARNING" not in err
    assert [["pods may hang: choose another release"]] * 2 == [h["warnings"] for h in json.loads(document)["hosts"]]


def test_status_prints_what_is_there_and_the_drift(invoke, inventory):
    code, out, _err = invoke("status", "probe", inventory("n1"), summary.status_row)

    assert code == 0
    for text in ("20260905.0", "--debug=true", "2026-09-21T14:13:20Z", "containerd does not know the handler"):
        assert text in out


def test_remove_prints_what_was_removed(invoke, inventory):
    code, out, _err = invoke("remove", "uninstall", inventory("n1"), summary.remove_row)

    assert code == 0
    assert out.splitlines()[1].split()[:3] == ["n1", "yes", "1"]


def test_yaml_and_json_say_the_same(invoke, inventory):
    _code, text, _err = invoke("plan", "probe", inventory("n1"), summary.plan_row, output=Output.yaml)
    _code, same, _err = invoke("plan", "probe", inventory("n1"), summary.plan_row, output=Output.json)
    one, other = yaml.safe_load(text), json.loads(same)

    for document in (one, other):
        del document["seconds"], document["hosts"][0]["steps"][0]["seconds"]
    assert one == other


def test_a_run_over_its_timeout_says_what_is_where(invoke, tmp_path):
    never_ready = tmp_path / "inventory.sh"
    never_ready.write_text("#!/bin/sh\nexec sleep 600\n")
    never_ready.chmod(0o755)
    code, _out, err = invoke("plan", "probe", never_ready, summary.plan_row, options=Options(timeout=0.1))

    assert code == 1
    assert "stopped: --timeout is over. Running the same command again continues" in err
    assert "done:     no host" in err


def test_on_a_terminal_every_host_has_its_line_while_it_lasts(installation, inventory):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli.app", "remove", "-i", inventory("n1", "n2")],
        env={**os.environ, "PYTHONPATH": str(installation), "TERM": "xterm", "COLUMNS": "100"},
        cwd="/",  # the checkout would come before the installation
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    screen = read_until(ours, b"[y/N]")
    os.write(ours, b"y\n")
    screen += read_until(ours, None)
    code = process.wait(60)

    assert code == 0
    assert b"Remove gVisor from all hosts of" in screen
    assert b"Report" in screen
    assert b"REMOVED" in screen.rpartition(b"\x1b[?25h")[2]  # the table comes after the live part gave the cursor back


def test_no_answer_but_yes_removes_anything(installation, inventory):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestrator.cli.app", "remove", "-i", inventory("n1")],
        env={**os.environ, "PYTHONPATH": str(installation)},
        cwd="/",  # the checkout would come before the installation
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    read_until(ours, b"[y/N]")
    os.write(ours, b"\n")
    screen = read_until(ours, None)

    assert process.wait(60) == 1
    assert b"REMOVED" not in screen


def read_until(terminal, text):
    """Read a terminal until ``text`` has come; None reads to its end, and closes it."""
    seen = b""
    while text is None or text not in seen:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # Linux: the other side is closed
            piece = b""
        if not piece:
            os.close(terminal)
            break
        seen += piece
    return seen


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--version"], 0, "gvisor-nodes "),
        (["--help"], 0, "4 refused"),
        (["--nonsense"], 2, "No such option"),
        (["apply"], 2, "Missing option"),
        (["apply", "-i", "/none"], 2, "there is no inventory /none"),
        (["plan", "-i", "/none"], 2, "there is no inventory /none"),
        (["verify", "-i", "/none"], 2, "there is no inventory /none"),
        (["status", "-i", "/none"], 2, "there is no inventory /none"),
        (["remove", "--yes", "-i", "/none"], 2, "there is no inventory /none"),
        (["remove", "--check", "--diff", "-i", "/none"], 2, "there is no inventory /none"),
        (["apply", "-i", "a,", "--flag", "debug"], 2, "is not NAME=VALUE"),
        (["apply", "-i", "a,", "--flag", "debug=true", "--flag", "--debug=false"], 2, "is given twice"),
        (["apply", "-i", "a,", "--release", "{{ x }}"], 2, "the value of runsc_release holds {{"),
        (["apply", "-i", "a,", "--artifacts", "/none"], 2, "there is no directory /none"),
        (["apply", "-i", "a,", "--releases-file", "/none"], 2, "there is no file /none"),
        (["apply", "-i", "a,", "--directory", "opt"], 2, "is no absolute path"),
        (["apply", "-i", "a,", "--forks", "0"], 2, "Invalid value"),
        (["inventory"], 2, "no host is given"),
        (["inventory", "--nodes-file", "/none"], 2, "/none cannot be read"),
        (["lab", "--help"], 0, "Throw-away nodes"),
        (["releases", "--help"], 0, "releases"),
    ],
)
def test_how_the_command_line_ends(cli, arguments, code, text):
    ended, out, err = cli(*arguments)

    assert ended == code
    assert text in out + err


@pytest.mark.feature("F5")
def test_an_unknown_flag_is_an_error_before_anything_runs(cli):
    ended, _out, err = cli("apply", "-i", "a,", "--flag", "nonsense=true")

    assert ended == 2
    assert "nonsense" in err


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["node", "--pod", "cart"], "debug_logs_collect_pod is not a pod as namespace/name"),
        (["node", "--container", "../x"], "debug_logs_collect_container is not"),
        (["node", "--since", "yesterday"], "debug_logs_collect_since is no time"),
        (["node", "--pod", "a/b", "--container", "abcdef"], "a pod and a container are asked for"),
        (["all:!x"], "'all:!x' is not one host"),
        (["a,b"], "'a,b' is not one host"),
    ],
)
def test_logs_that_cannot_be_asked_for_are_an_error_before_anything_runs(cli, arguments, what):
    ended, _out, err = cli("logs", "-i", "a,", *arguments)

    assert ended == 2
    assert what in err


def test_logs_says_where_the_file_is_and_what_is_in_it():
    report = {"file": "/x/a.tar.gz", "size": 10, "containers": 2, "files": 8, "left_out": 1, "pods": ["a/b"]}
    row = summary.logs_row(HostResult("a", "ok", data={"report": report}))

    assert {"host": "a", "outcome": "ok", "stopped": None, **report} == row


def test_an_error_is_a_document_where_documents_are_asked_for(cli):
    ended, out, _err = cli("apply", "-i", "/none", "--output", "json")

    assert ended == 2
    assert json.loads(out) == {
        "command": "apply",
        "exit_code": 2,
        "error": {
            "what": "there is no inventory /none",
            "why": "no such file or directory",
            "remedy": "check the path after --inventory",
            "host": "",
            "step": "",
        },
    }


def test_every_table_has_a_row_for_every_kind_of_host(capsys):
    refused = {"what": "no space", "why": "1 MiB", "remedy": "free some"}
    probe = {"plan": {"needed": True, "restart": True, "changes": [], "refusals": [refused]}, "state": {"tree": {}}}
    done = {"plan": {"needed": False, "restart": False, "changes": [], "refusals": []}}
    hosts = [
        HostResult("gone", "unreachable"),
        HostResult("full", "ok", data={"probe": probe}),
        HostResult("done", "ok", data={"probe": done}),
    ]
    out = tables.console()
    tables.show(out, "plan", [summary.plan_row(host) for host in hosts])
    tables.show(out, "status", [summary.status_row(host) for host in hosts])
    tables.show_failures(out, hosts)
    lines = capsys.readouterr().out.splitlines()

    assert [line.split() for line in lines[1:4]] == [
        ["gone", "unreachable", "-", "-"],
        ["full", "refused", "no", "space", "1", "MiB"],
        ["done", "no", "nothing", "everything", "is", "as", "wanted"],
    ]
    assert lines[6].endswith("not installed")
    assert lines[-1] == "gone unreachable"
    assert all(line == line.rstrip() for line in lines)
    assert invocation.exit_code(RunResult({}), [summary.plan_row(hosts[1])]) == 4


def test_what_is_asked_for_becomes_variables(tmp_path):
    catalogue = tmp_path / "more.json"
    catalogue.touch()
    wanted = Wanted(release="20260905.0", artifacts=tmp_path, releases_files=[catalogue], directory="/opt/g")

    assert wanted.variables() == {
        "runsc_release": "20260905.0",
        "runsc_artifacts_directory": str(tmp_path),
        "runsc_releases_files": [str(catalogue)],
        "runsc_directory": "/opt/g",
    }
    assert Wanted().variables() == {}
    assert Wanted(flags=["debug=true", "--net-raw=true"]).variables() == {
        "runsc_flags": {"debug": "true", "net-raw": "true"}
    }
    with pytest.raises(InvalidInputError):
        Wanted(flags=["=x"]).variables()


def test_an_inventory_is_printed_and_can_be_used(cli, tmp_path):
    nodes = tmp_path / "nodes"
    nodes.write_text("c\n")
    ended, out, _err = cli(
        "inventory", "--host", "b", "--host", "a=10.0.0.1:22", "--nodes-file", nodes, "--user", "root"
    )

    assert ended == 0
    assert out == (
        "all:\n  hosts:\n    a:\n      ansible_host: 10.0.0.1\n      ansible_port: 22\n    b: {}\n    c: {}\n"
        "  vars:\n    ansible_python_interpreter: /usr/bin/python3\n    ansible_user: root\n"
    )
    ended, out, _err = cli("inventory", "--host", "b", "--become", "--output", "json")
    assert json.loads(out)["all"]["vars"]["ansible_become"] is True


def test_the_reference_is_what_the_command_line_says():
    root = invocation.__file__.rpartition("/orchestrator/")[0]
    done = subprocess.run(
        [sys.executable, f"{root}/scripts/generate-cli-reference", "--check"],
        capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "40"},
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr


def test_help_needs_none_of_the_heavy_imports():
    heavy = ["grpc", "yaml", "elftools", "ansible_runner", "pydantic", "rich", "orchestrator.execution", "tomlrt"]
    code = f"""
import sys
from orchestrator.cli.app import main
try:
    main(["--help"])
except SystemExit:
    pass
print([name for name in {heavy} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)

    assert done.stderr == "[]\n"
