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

RELEASE, OLD = "20260905.0", "20250205.0"
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


@pytest.fixture(scope="module")
def removed(lab):
    """After the last test; each is about a change, from whatever the one before it left."""
    yield
    assert 0 == gvisor_nodes("remove", "--yes", inventory=lab.inventory).rc


@pytest.fixture
def inventory(lab, removed, tmp_path):
    """Write the lab's inventory with other variables for all and for each of the given hosts; return its path.

    A host is a name with the node that it leads to, and variables of its own.
    """

    def write(hosts, **variables):
        content = yaml.safe_load(lab.inventory.read_text())
        known = content["all"]["hosts"]
        content["all"]["hosts"] = {name: known[node.name] | own for name, (node, own) in hosts.items()}
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


FORBIDDEN = {
    "network": ({"network": "host"}, {}, "flag network=host is not allowed by policy"),
    "host-uds": ({"host-uds": "all"}, {"allow": {"host-uds": ["open"]}}, "flag host-uds=all is not allowed by policy"),
    "debug": ({"debug": "true"}, {"base": "none"}, "flag debug=true is not allowed by policy"),
    "root": ({"root": "/run/x"}, {}, "flag root cannot be set"),
    "policy": (
        {"debug": "true"},
        {"allow": {"systemd-cgroup": "any"}},
        "runsc_flags_policy cannot allow systemd-cgroup",
    ),
}


@pytest.mark.feature("F2")
@pytest.mark.feature("F5")
def test_what_policy_forbids_never_reaches_a_node(lab, inventory):
    node = lab.nodes[1]
    before = snapshot(node)
    hosts = {
        name: (node, {"runsc_flags": flags, "runsc_flags_policy": policy})
        for name, (flags, policy, _) in FORBIDDEN.items()
    }
    answer = gvisor_nodes("apply", inventory=inventory(hosts))

    assert 2 == answer.rc, answer.stderr
    assert FORBIDDEN.keys() == answer.hosts.keys()
    for name, (_, _, message) in FORBIDDEN.items():
        (bad,) = answer.hosts[name]["steps"]
        assert ("probe", "invalid", message) == (bad["step"], bad["status"], bad["message"])
        assert bad["remedy"]

    named = gvisor_nodes("apply", "--flag", "network=host", "--limit", node.name, inventory=lab.inventory)

    assert 2 == named.rc
    assert "not allowed by policy" in named.bad_step(node)["message"]
    assert [] == difference(before, snapshot(node))


@pytest.mark.feature("F3")
def test_a_flag_that_only_the_binary_refuses_is_refused_before_anything_is_uploaded(lab, inventory, relabelled):
    installed, without = lab.nodes
    before = snapshot(without)
    unknown = {"runsc_flags": {"in-sandbox-cgroup": "v2"}}

    def refused(answer, node):
        assert 2 == answer.rc, json.dumps(answer.document)
        bad = answer.bad_step(node)
        assert ("release", "invalid") == (bad["step"], bad["status"])
        assert f"runsc {OTHER} refuses the flags --in-sandbox-cgroup=v2" == bad["message"]
        assert "flag provided but not defined: -in-sandbox-cgroup" == bad["cause"]

    hosts = {installed.name: (installed, {}), without.name: (without, unknown)}
    answer = gvisor_nodes("apply", inventory=inventory(hosts, **relabelled))
    refused(answer, without)
    assert "proved" == answer.host(installed)["proof"], "the refusal is one node's alone"
    assert [] == difference(before, snapshot(without))

    # The same as a change of flags alone: the generation that is current stays, and no other is made.
    before = snapshot(installed)
    again = gvisor_nodes("apply", inventory=inventory({installed.name: (installed, unknown)}, **relabelled))
    refused(again, installed)
    assert [] == difference(before, snapshot(installed))


@pytest.mark.feature("F1")
def test_flags_that_policy_allows_are_carried_by_the_sandbox_whatever_its_release(lab, inventory):
    lab.ensure_release(OLD)
    old = {name: value for name, value in PROVED.items() if name != "control-rpc-stop-timeout"}
    wishes = {RELEASE: PROVED, OLD: {**old, "watchdog-action": "panic"}}
    hosts = {
        node.name: (node, {"runsc_release": release, "runsc_flags": flags})
        for node, (release, flags) in zip(lab.nodes, wishes.items(), strict=True)
    }
    policy = {"base": "default", "allow": {"network": ["host"], "host-uds": "any", "watchdog-action": "any"}}
    answer = gvisor_nodes("apply", inventory=inventory(hosts, runsc_flags_policy=policy))

    assert 0 == answer.rc, answer.stderr
    for node, (release, flags) in zip(lab.nodes, wishes.items(), strict=True):
        assert release == answer.host(node)["release"]
        assert "proved" == answer.host(node)["proof"]
        current = node.read("/opt/gvisor-nodes/current").strip()
        lines = node.read(f"/opt/gvisor-nodes/generations/{current}/flags").splitlines()
        assert sorted(lines) == lines
        assert len(flags) == len(lines)
        assert {"--network=host", "--host-uds=open", "--panic-signal=12"} <= set(lines)
