"""Flags on a real node: what policy or the release's binary refuses never arrives, what is allowed is proved."""

from __future__ import annotations

import hashlib
import json
import shutil
from datetime import UTC, datetime

import pytest
import yaml
from command import gvisor_nodes

from orchestrator.gvisor.catalogue_entry import CatalogueEntry, render
from orchestrator.gvisor.elf import host_architecture
from orchestrator.gvisor.releases import RUNSC, SHIM
from orchestrator.lab import capabilities
from orchestrator.lab.artifacts import LabReleases
from orchestrator.lab.tree import difference, snapshot

RELEASE = "20260905.0"
OTHER = "20260401.0"  # between two releases that the catalogue was made from
PROVED = {
    "control-rpc-stop-timeout": "90s",
    "cpu-num-from-quota": False,
    "debug-command": "create,boot",
    "directfs": False,
    "file-access": "shared",
    "host-settings": "ignore",
    "host-uds": "open",
    "net-raw": True,
    "network": "host",
    "overlay2": "none",
    "panic-signal": 12,
    "strace": True,
    "strace-log-size": 64,
    "watchdog-action": "log",
}


@pytest.fixture
def target(lab):
    node = lab.nodes[1]
    yield node
    gvisor_nodes("remove", "--yes", "--limit", node.name, inventory=lab.inventory)


@pytest.fixture
def inventory(lab, target, tmp_path):
    """Write the lab's inventory with one host and other variables; return its path."""

    def write(**variables):
        content = yaml.safe_load(lab.inventory.read_text())
        content["all"]["hosts"] = {target.name: content["all"]["hosts"][target.name]}
        content["all"]["vars"].update(variables)
        path = tmp_path / "inventory.yml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


@pytest.fixture
def relabelled(tmp_path):
    """An operator's directory with 20260224.0 under the name of a later release, and its catalogue file."""
    made = LabReleases.of(patched=not capabilities.probe().lowers_oom_score).ensure("20260224.0")
    place = tmp_path / "artifacts" / OTHER / host_architecture()
    place.mkdir(parents=True)
    digests = {}
    for name in (RUNSC, SHIM):
        data = (made / name).read_bytes().replace(b"release-20260224.0", f"release-{OTHER}".encode())
        (place / name).write_bytes(data)
        (place / name).chmod(0o755)
        digests[name] = f"sha512:{hashlib.sha512(data).hexdigest()}"
    entry = CatalogueEntry.model_validate(
        {
            "release": OTHER,
            "architecture": host_architecture(),
            "layout": "module",
            "source": "20260224.0 under another name, for a test",
            "date": datetime.now(tz=UTC).date(),
            "files": digests,
        }
    )
    (tmp_path / "releases.json").write_text(render([entry]))
    yield {
        "runsc_release": OTHER,
        "runsc_artifacts_directory": str(tmp_path / "artifacts"),
        "runsc_releases_files": [str(tmp_path / "releases.json")],
    }
    shutil.rmtree(tmp_path / "artifacts")


@pytest.mark.feature("F2")
@pytest.mark.feature("F5")
def test_what_policy_forbids_never_reaches_a_node(target, inventory):
    before = snapshot(target)
    cases = [
        ({"network": "host"}, {}, "flag network=host is not allowed by policy"),
        ({"host-uds": "all"}, {"allow": {"host-uds": ["open"]}}, "flag host-uds=all is not allowed by policy"),
        ({"debug": "true"}, {"base": "none"}, "flag debug=true is not allowed by policy"),
        ({"root": "/run/x"}, {}, "flag root cannot be set"),
        ({"debug": "true"}, {"allow": {"systemd-cgroup": "any"}}, "runsc_flags_policy cannot allow systemd-cgroup"),
    ]
    for flags, policy, message in cases:
        answer = gvisor_nodes("apply", inventory=inventory(runsc_flags=flags, runsc_flags_policy=policy))
        assert 2 == answer.rc, answer.stderr
        bad = answer.bad_step(target)
        assert ("probe", "invalid", message) == (bad["step"], bad["status"], bad["message"])
        assert bad["remedy"]
    named = gvisor_nodes("apply", "--flag", "network=host", inventory=inventory())

    assert 2 == named.rc
    assert "not allowed by policy" in named.bad_step(target)["message"]
    assert [] == difference(before, snapshot(target))


@pytest.mark.feature("F1")
@pytest.mark.parametrize("release", [RELEASE, "20250205.0"])
def test_flags_that_policy_allows_are_carried_by_the_sandbox(lab, target, inventory, release):
    lab.ensure_release(release)
    flags = {**PROVED}
    if release == "20250205.0":
        del flags["control-rpc-stop-timeout"]
        flags["watchdog-action"] = "panic"
    policy = {"base": "default", "allow": {"network": ["host"], "host-uds": "any", "watchdog-action": "any"}}
    path = inventory(runsc_release=release, runsc_flags=flags, runsc_flags_policy=policy)
    answer = gvisor_nodes("apply", inventory=path)

    assert 0 == answer.rc, answer.stderr
    assert "proved" == answer.host(target)["proof"]
    current = target.read("/opt/gvisor-nodes/current").strip()
    lines = target.read(f"/opt/gvisor-nodes/generations/{current}/flags").splitlines()
    assert sorted(lines) == lines
    assert len(flags) == len(lines)
    assert {"--network=host", "--host-uds=open", "--panic-signal=12"} <= set(lines)


@pytest.mark.feature("F3")
def test_a_flag_that_only_the_binary_refuses_is_refused_before_anything_is_uploaded(target, inventory, relabelled):
    before = snapshot(target)
    answer = gvisor_nodes("apply", inventory=inventory(**relabelled, runsc_flags={"in-sandbox-cgroup": "v2"}))

    assert 2 == answer.rc, answer.stderr
    bad = answer.bad_step(target)
    assert ("release", "invalid") == (bad["step"], bad["status"])
    assert f"runsc {OTHER} refuses the flags --in-sandbox-cgroup=v2" == bad["message"]
    assert "flag provided but not defined: -in-sandbox-cgroup" == bad["cause"]
    assert [] == difference(before, snapshot(target))

    # The same as a change of flags alone: the generation that is current stays, and no other is made.
    assert 0 == gvisor_nodes("apply", inventory=inventory(**relabelled)).rc
    installed = snapshot(target)
    again = gvisor_nodes("apply", inventory=inventory(**relabelled, runsc_flags={"in-sandbox-cgroup": "v2"}))

    assert 2 == again.rc, json.dumps(again.document)
    assert "refuses the flags" in again.bad_step(target)["message"]
    assert [] == difference(installed, snapshot(target))
