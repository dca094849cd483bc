"""Dumps that real containerds gave, before and after the handler was added to their files.

``data/dumps/<containerd>-<files>-<before or after>.toml``: 1.6.20 with Debian's own file edited, 2.0.14 with a version 2
file edited, 2.2.9 with a version 3 file that imports a directory, 2.4.2 with such a file of version 2.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from containerd_model import HANDLER

from orchestrator.planning.containerd_config import verify_dump, verify_removal
from orchestrator.planning.containerd_dump import read_dump
from orchestrator.planning.state import Containerd

DUMPS = Path(__file__).parent / "data" / "dumps"
NAMES = ["1.6.20-debian", "2.0.14-version-2", "2.2.9-imports", "2.4.2-version-2-imports"]
VERSIONS = [2, 3, 3, 4]


def pair(name):
    return tuple((DUMPS / f"{name}-{when}.toml").read_text() for when in ("before", "after"))


@pytest.mark.feature("B3")
@pytest.mark.feature("B4")
@pytest.mark.feature("B17")
@pytest.mark.feature("J10")
@pytest.mark.parametrize(("name", "version"), list(zip(NAMES, VERSIONS, strict=True)))
def test_the_handler_and_nothing_else_comes_and_goes_in_a_dump_of_every_version(name, version):
    before, after = pair(name)

    assert version == read_dump(after).values["version"]
    assert [] == verify_dump(before, after, HANDLER)
    assert [] == verify_removal(after, before, HANDLER)
    assert "is missing" in verify_dump(before, before, HANDLER)[0]
    assert "is still there" in verify_removal(after, after, HANDLER)[0]


@pytest.mark.feature("B17")
@pytest.mark.parametrize("name", NAMES)
def test_any_other_value_that_changes_is_seen_in_a_dump_of_every_version(name):
    before, after = pair(name)
    settings = re.findall(r"^\s*\w+ = (?:true|false)$", after, re.MULTILINE)
    assert len(settings) > 30

    for line in set(settings):
        other = line.replace("true", "x").replace("false", "true").replace("x", "false")
        found = verify_dump(before, after.replace(line + "\n", other + "\n", 1), HANDLER)
        assert found, line


@pytest.mark.feature("B17")
@pytest.mark.parametrize("name", NAMES)
def test_a_runc_that_vanishes_is_seen_in_a_dump_of_every_version(name):
    before, after = pair(name)
    values = read_dump(after)
    assert {"runc", "runsc"} <= values.runtimes.keys()
    lines = after.splitlines(keepends=True)
    header = next(i for i, line in enumerate(lines) if line.strip().endswith("runtimes.runc]"))
    end = next(i for i in range(header + 1, len(lines)) if lines[i].strip().endswith("runtimes.runc.options]"))

    differences = verify_dump(before, "".join(lines[:header] + lines[end:]), HANDLER)

    assert any("runtimes.runc.runtime_type" in line and "vanishes" in line for line in differences)


@pytest.mark.feature("B8")
def test_the_import_that_2_2_and_later_show_by_themselves_is_no_evidence():
    for name in ("2.2.9-imports", "2.4.2-version-2-imports"):
        assert "/etc/containerd/conf.d/*.toml" in tomllib.loads(pair(name)[0])["imports"]
    assert "/etc/containerd/conf.d/*.toml" not in tomllib.loads(pair("2.0.14-version-2")[0])["imports"]


@pytest.mark.parametrize("name", NAMES)
def test_the_socket_is_found_in_a_dump_of_every_version(name):
    dump = pair(name)[0].replace("/run/containerd/containerd.sock'", "/run/other.sock'")
    dump = dump.replace('/run/containerd/containerd.sock"', '/run/other.sock"')
    state = Containerd(config="/c", config_target="/c", dump={"rc": 0, "text": dump})

    assert "/run/other.sock" == state.socket
