"""``gvisor-nodes controller``: upstream's flags, and what is refused before anything is asked of a cluster."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from orchestrator.cli.app import app
from orchestrator.controller.upstream_flags import UPSTREAM_FLAGS, Kind

ROOT = Path(__file__).resolve().parents[3]


def options():
    group = typer.main.get_group(app)
    command = group.get_command(typer.Context(group), "controller")
    return {option.removeprefix("--"): parameter for parameter in command.params for option in parameter.opts}


def test_every_flag_of_upstream_is_an_option_and_there_is_one_more():
    assert set(options()) == {flag.name for flag in UPSTREAM_FLAGS} | {"version", "config"}


def test_booleans_take_a_value_as_upstreams_do():
    booleans = [flag.name for flag in UPSTREAM_FLAGS if flag.kind is Kind.BOOL]

    assert {options()[name].metavar for name in booleans} == {"BOOL"}
    assert not any(options()[name].is_flag for name in booleans)


def test_help_tells_which_options_have_no_effect():
    quiet = {name for name, option in options().items() if "without effect" in (option.help or "")}

    assert quiet == {flag.name for flag in UPSTREAM_FLAGS if not flag.path}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--heartbeat-renew-interval-seconds=0"], "--heartbeat-renew-interval-seconds should be greater than 0"),
        (["--heartbeat-renew-interval-seconds", "-1"], "--heartbeat-renew-interval-seconds should be greater than 0"),
        (["--leader-election=yes"], "--leader-election cannot be used"),
        (["--log-level=trace"], "--log-level should be one of"),
        (["--config=/no/such/file"], "/no/such/file cannot be read: No such file or directory"),
    ],
)
def test_case_70_a_wrong_flag_is_an_error_before_anything_is_asked_of_a_cluster(cli, arguments, named):
    code, out, err = cli("controller", *arguments)

    assert (code, out) == (2, "")
    assert named in err


def test_a_fault_of_the_file_is_told_with_its_path(cli, tmp_path):
    path = tmp_path / "controller.yaml"
    path.write_text("mode: gardener\nheartbeat: {every: 3}\n")

    code, _, err = cli("controller", "--config", path)

    assert code == 2
    assert f"{path} cannot be used: heartbeat.every is unknown; there are namespace, renewIntervalSeconds" in err


def test_a_file_that_is_no_text_is_told(cli, tmp_path):
    path = tmp_path / "controller.yaml"
    path.write_bytes(b"\xff\xfe")

    assert cli("controller", "--config", path)[0] == 2


def test_the_version_is_printed_as_upstream_does(cli):
    code, out, _ = cli("controller", "--version")

    assert code == 0
    assert out.startswith("gvisor-nodes ")


def test_help_imports_nothing_of_the_controller():
    script = (
        "import sys\nfrom orchestrator.cli.app import main\ntry:\n    main(['controller', '--help'])\n"
        "except SystemExit:\n    pass\n"
        "print([name for name in sys.modules if name.split('.')[0] in "
        "('structlog', 'prometheus_client', 'kubernetes', 'yaml')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)

    assert done.stdout.splitlines()[-1] == "[]"
