"""The main job on a real node: installed, proved, unchanged the second time, taken away to the byte."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from command import gvisor_nodes, starts

from orchestrator.lab.tree import WRITTEN_BY_OTHERS, difference, snapshot

if TYPE_CHECKING:
    from command import Answer

SHIM = "/opt/gvisor-nodes/containerd-shim-runsc-v1"
CONFIG = "/etc/containerd/config.toml"
SMALL = "20260224.0"  # half of the default's size, where the release does not matter
PLAYBOOKS = Path(__file__).parents[2] / "playbooks"


def remove_what_is_there(lab):
    """Removal from the nodes that have anything of ours; others cost no run of the command."""
    if any(node.run("ls -d /opt/gvisor-nodes /var/lib/gvisor-nodes", check=False).stdout for node in lab.nodes):
        answer = gvisor_nodes("remove", "--yes", inventory=lab.inventory)
        assert 0 == answer.rc, answer.stderr


@pytest.fixture(scope="module")
def fresh(lab):
    """The shared nodes' trees before anything of ours; whatever another file's test left is removed first."""
    remove_what_is_there(lab)
    return {node.name: snapshot(node) for node in lab.nodes}


@pytest.fixture
def clean(lab, fresh):
    yield fresh
    remove_what_is_there(lab)


def test_the_list_of_what_others_write_has_at_most_six_entries_with_reasons():
    assert len(WRITTEN_BY_OTHERS) <= 6
    assert all(len(reason) > 20 for reason in WRITTEN_BY_OTHERS.values())


@pytest.mark.feature("E2")
@pytest.mark.feature("C1")
@pytest.mark.feature("C4")
@pytest.mark.feature("C6")
@pytest.mark.feature("H1")
@pytest.mark.feature("H2")
@pytest.mark.feature("H3")
@pytest.mark.feature("J3")
@pytest.mark.feature("J4")
def test_install_prove_repeat_remove_with_one_restart_each_way_and_a_foreign_change_stays(lab, clean):
    before = {node.name: starts(node) for node in lab.nodes}

    first = gvisor_nodes("apply", inventory=lab.inventory)
    assert 0 == first.rc, first.stderr
    for node in lab.nodes:
        assert "changed" == first.host(node)["outcome"]
        assert "proved" == first.host(node)["proof"]
        assert 1 == first.host(node)["restarts"]
        assert 1 == starts(node) - before[node.name]

    again = gvisor_nodes("apply", inventory=lab.inventory)
    assert 0 == again.rc, again.stderr
    for node in lab.nodes:
        assert "ok" == again.host(node)["outcome"]
        assert 0 == again.host(node)["restarts"]
        assert ["probe", "report"] == [step["step"] for step in again.host(node)["steps"]]
        assert 1 == starts(node) - before[node.name]

    noted = lab.nodes[1]
    noted.run(f"sed -i '1i # a note of the administrator' {CONFIG}", check=True)
    removed = gvisor_nodes("remove", "--yes", inventory=lab.inventory)
    assert 0 == removed.rc, removed.stderr
    assert noted.read(CONFIG).startswith("# a note of the administrator\n")
    noted.run(f"sed -i 1d {CONFIG}", check=True)
    for node in lab.nodes:
        assert 1 == removed.host(node)["restarts"]
        assert 2 == starts(node) - before[node.name]
        assert [] == difference(clean[node.name], snapshot(node))
        assert 0 == node.run("test ! -e /run/gvisor-nodes && test ! -e /run/containerd/runsc").returncode


def test_removing_what_is_not_there_changes_nothing(lab, clean):
    answer = gvisor_nodes("remove", "--yes", inventory=lab.inventory)

    assert 0 == answer.rc
    assert {"ok"} == {host["outcome"] for host in answer.hosts.values()}


@pytest.mark.feature("J3")
def test_a_plain_ansible_playbook_does_what_the_command_does(lab, clean):
    node = lab.nodes[1]
    lab.ensure_release(SMALL)
    other = ("-e", f"runsc_release={SMALL}")
    program = Path(sys.executable).with_name("ansible-playbook")

    def play(name):
        argv = [str(program), "-i", str(lab.inventory), "--limit", node.name, *other, str(PLAYBOOKS / name)]
        return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=PLAYBOOKS.parent, timeout=300)

    # Molecule plays verify.yml, and install.yml a second time; test_host_root.py plays preflight.yml.
    installed = play("install.yml")
    assert 0 == installed.returncode, installed.stdout
    assert "Start a sandbox" in installed.stdout
    same = gvisor_nodes("apply", "--release", SMALL, "--limit", node.name, inventory=lab.inventory)
    assert "ok" == same.host(node)["outcome"]
    assert 0 == play("uninstall.yml").returncode
    assert [] == difference(clean[node.name], snapshot(node))


@pytest.mark.feature("H6")
@pytest.mark.exhaustive
def test_ten_rounds_leave_the_tree_as_it_was(lab, clean):
    node = lab.nodes[1]
    for _ in range(10):
        assert 0 == gvisor_nodes("apply", "--limit", node.name, inventory=lab.inventory).rc
        assert 0 == gvisor_nodes("remove", "--yes", "--limit", node.name, inventory=lab.inventory).rc
    assert [] == difference(clean[node.name], snapshot(node))


@dataclass(frozen=True)
class Drift:
    """What somebody does to a node behind our back, how it is named, and how often containerd has to be restarted."""

    command: str
    named: str
    restarts: int = 0


RELEASE = f"/opt/gvisor-nodes/releases/{SMALL}"
DRIFTS = [
    Drift("rm /opt/gvisor-nodes/current", "generation 1: there is no current generation"),
    Drift(f"rm {SHIM}", f"{SHIM}: it is missing"),
    Drift(f"truncate -s 1000 {RELEASE}/runsc", f"release {SMALL}: its files were changed since they were proved"),
    Drift("echo 9 > /opt/gvisor-nodes/current", "generation 1: there is no current generation"),
    Drift("chmod 0600 /opt/gvisor-nodes/runsc", "/opt/gvisor-nodes/runsc: it is not as it should be"),
    Drift("rm -r /opt/gvisor-nodes/releases", f"release {SMALL}: it is not on the node"),
    Drift(
        f"sed -i '/>>> gvisor-nodes/,/<<< gvisor-nodes/d' {CONFIG}",
        f"handler runsc in {CONFIG}: ",
        restarts=1,
    ),
]


@dataclass(frozen=True)
class Installation:
    """gVisor on both nodes, and what was seen while it came there."""

    inventory: Path
    checked: Answer
    after_the_check: list[str]
    installed: Answer

    def do(self, verb, *options):
        return gvisor_nodes(verb, *options, inventory=self.inventory)


class TestInstalled:
    """On nodes that stay installed from one test to the next, each of which begins with gVisor whole.

    Two users who become root install it, work with it and remove it: one without a password on the first node, one with
    a password on the second.
    """

    @pytest.fixture(scope="class")
    @staticmethod
    def installation(lab, fresh, tmp_path_factory):
        lab.ensure_release(SMALL)
        content = yaml.safe_load(lab.inventory_for("admin").read_text())
        content["all"]["vars"]["runsc_release"] = SMALL
        content["all"]["hosts"][lab.nodes[1].name] |= {
            "ansible_user": "operator",
            "ansible_become_password": lab.operator_password,
        }
        inventory = tmp_path_factory.mktemp("inventory") / "users.yml"
        inventory.write_text(yaml.safe_dump(content))
        do = partial(gvisor_nodes, inventory=inventory)
        checked = do("apply", "--check", "--diff")
        changes = [line for node in lab.nodes for line in difference(fresh[node.name], snapshot(node))]
        yield Installation(inventory, checked, changes, do("apply", "--diff"))
        removed = do("remove", "--yes")
        assert 0 == removed.rc, removed.stderr
        for node in lab.nodes:
            assert [] == difference(fresh[node.name], snapshot(node))

    @pytest.fixture
    def do(self, lab, installation):
        """Run a command on the nodes, which are as they were installed."""
        if {"1"} != {node.read("/opt/gvisor-nodes/current").strip() for node in lab.nodes}:
            assert 0 == installation.do("apply").rc
        return installation.do

    def test_users_who_become_root_without_and_with_a_password_install_it(self, lab, installation):
        assert 0 == installation.installed.rc, installation.installed.stderr
        for node in lab.nodes:
            assert "proved" == installation.installed.host(node)["proof"]

    @pytest.mark.feature("J1")
    def test_check_and_diff_are_right_on_the_first_run_and_change_nothing(self, lab, installation, do):
        assert 0 == installation.checked.rc, installation.checked.stderr
        assert [] == installation.after_the_check
        for node in lab.nodes:
            diffs, real = (
                [line for step in answer.host(node)["steps"] for line in step.get("diff", "").splitlines()]
                for answer in (installation.checked, installation.installed)
            )
            assert f'+runtime_type = "{SHIM}"' in diffs
            assert "/opt/gvisor-nodes/current" in "\n".join(diffs)
            config = "runtime_type = "
            assert [line for line in diffs if config in line] == [line for line in real if config in line]

        node = lab.nodes[0]
        installed = snapshot(node)
        nothing = do("apply", "--check", "--diff")
        assert {"ok"} == {host["outcome"] for host in nothing.hosts.values()}
        do("remove", "--check", "--diff")
        assert [] == difference(installed, snapshot(node))

    @pytest.mark.feature("F7")
    def test_flags_change_without_a_restart_and_debug_logs_have_the_documented_path(self, lab, do):
        node = lab.nodes[0]
        limit = ("--limit", node.name)
        before = starts(node)
        answer = do("apply", "--flag", "debug=true", "--flag", "net-raw=true", *limit)

        assert 0 == answer.rc, answer.stderr
        assert 0 == answer.host(node)["restarts"]
        assert before == starts(node)
        logs = node.run("cd /var/log/runsc && ls -d */*-gvisor.log", check=True).stdout.split()
        names = {log.split("/")[1] for log in logs}
        assert {"create-gvisor.log", "start-gvisor.log", "boot-gvisor.log", "gofer-gvisor.log"} <= names
        assert all(len(log.split("/")[0]) == 64 for log in logs)
        assert "0755" == node.run("stat -c %04a /var/log/runsc", check=True).stdout.strip()

        status = do("status", "--flag", "debug=true", "--flag", "net-raw=true", *limit)
        assert "2" == str(status.host(node)["generation"])
        assert [] == status.host(node)["drift"]
        assert "--net-raw=true" in status.host(node)["flags"]

    @pytest.mark.feature("D12")
    @pytest.mark.parametrize(
        ("first", "second"),
        [
            # Each is named by itself, and of each two that are the same step one is on the node without a restart.
            pytest.param(DRIFTS[:3], DRIFTS[3:], id="all at once"),
            *(pytest.param([one], [], id=one.command, marks=pytest.mark.exhaustive) for one in DRIFTS),
        ],
    )
    def test_drift_fails_verify_by_name_and_apply_repairs_it(self, lab, do, first, second):
        drifts = [pair for pair in zip(lab.nodes, (first, second), strict=True) if pair[1]]
        for node, there in drifts:
            node.run("; ".join(drift.command for drift in there), check=True)

        verified = do("verify")
        assert 3 == verified.rc
        for node, there in drifts:
            assert "the node is not as it should be" == verified.bad_step(node)["message"]
            cause = verified.bad_step(node)["cause"]
            assert [] == [drift.named for drift in there if drift.named not in cause], cause

        before = [starts(node) for node, _ in drifts]
        repaired = do("apply")
        assert 0 == repaired.rc, repaired.stderr
        for (node, there), earlier in zip(drifts, before, strict=True):
            assert sum(drift.restarts for drift in there) == starts(node) - earlier
        assert 0 == do("verify").rc

    def test_a_containerd_that_was_restarted_is_proved_again_without_a_restart(self, lab, do):
        node = lab.nodes[0]
        node.run("systemctl restart containerd", check=True)
        before = starts(node)
        answer = do("apply", "--limit", node.name)

        assert "proved" == answer.host(node)["proof"]
        assert "proof" in {step["step"] for step in answer.host(node)["steps"]}
        assert before == starts(node)
