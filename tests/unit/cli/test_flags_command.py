"""``gvisor-nodes flags``: what is known of flags, for a release or for all, as a table and as a document."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.cli.flags import COLUMNS
from orchestrator.cli.variables import Wanted
from orchestrator.errors import InvalidInputError
from orchestrator.gvisor.flag_catalogue import known_flags


def run(*arguments):
    return CliRunner().invoke(app, ["flags", *arguments], env={"COLUMNS": "250"})


@pytest.mark.feature("F1")
def test_every_known_flag_is_shown_with_its_values_class_and_what_is_allowed():
    rows = json.loads(run("--output", "json").stdout)["flags"]
    network = next(row for row in rows if row["flag"] == "network")

    assert list(known_flags()) == [row["flag"] for row in rows]
    assert ("sandbox, host or none", "sandbox", "weakens isolation", "sandbox") == tuple(
        network[key] for key in ("values", "default", "class", "allowed")
    )


@pytest.mark.feature("F3")
def test_of_a_release_only_its_own_flags_are_shown_and_whether_that_is_certain():
    rows = {row["flag"]: row for row in json.loads(run("--release", "20260817.0", "-o", "json").stdout)["flags"]}

    assert "TESTONLY-save-restore-netstack" not in rows
    assert rows["nvproxy-allow-unsupported-driver"]["certain"]
    assert not rows["in-sandbox-cgroup"]["certain"]
    assert "20260615.0" == rows["nvproxy-allow-unsupported-driver"]["since"]


def test_the_table_has_a_line_for_every_flag():
    lines = run().stdout.splitlines()

    assert [column.upper() for column in COLUMNS] == lines[0].split()
    assert set(known_flags()) <= {line.split()[0] for line in lines if line[:1].strip()}


def test_what_is_no_release_is_invalid_input_and_a_document():
    result = run("--release", "latest", "-o", "json")

    assert isinstance(result.exception, InvalidInputError)
    assert "latest" in json.loads(result.stdout)["error"]["what"]


@pytest.mark.feature("F5")
@pytest.mark.parametrize(
    ("flag", "what"),
    [
        ("degub=true", "flag 'degub' is unknown"),
        ("root=/run/x", "flag root cannot be set"),
        ("platform=moon", "flag platform takes systrap, kvm or ptrace"),
        ("rdmaproxy=false", "gVisor 20260224.0 has no flag rdmaproxy"),
        ("file-access=shared", "flag file-access does not go together with the others"),
    ],
)
def test_a_bad_flag_behind_the_option_is_an_error_before_any_host_is_asked(flag, what):
    with pytest.raises(InvalidInputError) as caught:
        Wanted(release="20260224.0", flags=[flag]).variables()

    assert what == caught.value.what


def test_whether_policy_allows_a_flag_is_not_decided_where_the_policy_is_not_known():
    assert {"runsc_flags": {"network": "host"}} == Wanted(flags=["network=host"]).variables()
