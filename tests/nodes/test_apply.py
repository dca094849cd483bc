"""The main job on a real node: installed, proved, unchanged the second time, taken away to the byte."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import yaml
from command import gvisor_nodes, starts

from orchestrator.lab.tree import WRITTEN_BY_OTHERS, difference, snapshot

PLAYBOOKS = Path(__file__).parents[2] / "playbooks"


@pytest.fixture(scope="module")
def fresh(lab):
    """The shared nodes' trees before anything of ours; whatever another file's test left is removed first."""
    gvisor_nodes("remove", "--yes", inventory=lab.inventory)
    return {node.name: snapshot(node) for node in lab.nodes}


@pytest.fixture
def clean(lab, fresh):
    yield fresh
    answer = gvisor_nodes("remove", "--yes", inventory=lab.inventory)
    assert 0 == answer.rc, answer.stderr


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
def test_install_prove_repeat_remove_with_one_restart_each_way(lab, clean):
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

    removed = gvisor_nodes("remove", "--yes", inventory=lab.inventory)
    assert 0 == removed.rc, removed.stderr
    for node in lab.nodes:
        assert 1 == removed.host(node)["restarts"]
        assert 2 == starts(node) - before[node.name]
        assert [] == difference(clean[node.name], snapshot(node))
        assert 0 == node.run("test ! -e /run/gvisor-nodes && test ! -e /run/containerd/runsc").returncode


def test_removing_what_is_not_there_changes_nothing(lab, clean):
    answer = gvisor_nodes("remove", "--yes", inventory=lab.inventory)

    assert 0 == answer.rc
    assert {"ok"} == {host["outcome"] for host in answer.hosts.values()}


@pytest.mark.feature("J1")
def test_check_and_diff_are_right_on_the_first_run_and_change_nothing(lab, clean):
    node = lab.nodes[0]
    answer = gvisor_nodes("apply", "--check", "--diff", "--limit", node.name, inventory=lab.inventory)

    assert 0 == answer.rc, answer.stderr
    assert [] == difference(clean[node.name], snapshot(node))
    diffs = "\n".join(step.get("diff", "") for step in answer.host(node)["steps"])
    assert '+runtime_type = "/opt/gvisor-nodes/containerd-shim-runsc-v1"' in diffs
    assert "/opt/gvisor-nodes/current" in diffs

    done = gvisor_nodes("apply", "--diff", "--limit", node.name, inventory=lab.inventory)
    real = "\n".join(step.get("diff", "") for step in done.host(node)["steps"])
    config = "runtime_type = "
    assert [line for line in diffs.splitlines() if config in line] == [
        line for line in real.splitlines() if config in line
    ]

    nothing = gvisor_nodes("apply", "--check", "--diff", "--limit", node.name, inventory=lab.inventory)
    assert "ok" == nothing.host(node)["outcome"]

    installed = snapshot(node)
    gvisor_nodes("remove", "--check", "--diff", "--limit", node.name, inventory=lab.inventory)
    assert [] == difference(installed, snapshot(node))


@pytest.mark.feature("F7")
def test_flags_change_without_a_restart_and_debug_logs_have_the_documented_path(lab, clean):
    node = lab.nodes[0]
    limit = ("--limit", node.name)
    gvisor_nodes("apply", *limit, inventory=lab.inventory)
    before = starts(node)
    answer = gvisor_nodes("apply", "--flag", "debug=true", "--flag", "net-raw=true", *limit, inventory=lab.inventory)

    assert 0 == answer.rc, answer.stderr
    assert 0 == answer.host(node)["restarts"]
    assert before == starts(node)
    logs = node.run("cd /var/log/runsc && ls -d */*-gvisor.log", check=True).stdout.split()
    names = {log.split("/")[1] for log in logs}
    assert {"create-gvisor.log", "start-gvisor.log", "boot-gvisor.log", "gofer-gvisor.log"} <= names
    assert all(len(log.split("/")[0]) == 64 for log in logs)
    assert "0755" == node.run("stat -c %04a /var/log/runsc", check=True).stdout.strip()

    status = gvisor_nodes("status", "--flag", "debug=true", "--flag", "net-raw=true", *limit, inventory=lab.inventory)
    assert "2" == str(status.host(node)["generation"])
    assert [] == status.host(node)["drift"]
    assert "--net-raw=true" in status.host(node)["flags"]


@pytest.mark.feature("A1")
def test_a_switch_of_the_release_needs_no_restart_and_is_proved(lab, clean):
    node = lab.nodes[0]
    lab.ensure_release("20260224.0")
    limit = ("--limit", node.name)
    gvisor_nodes("apply", *limit, inventory=lab.inventory)
    before = starts(node)
    switched = gvisor_nodes("apply", "--release", "20260224.0", *limit, inventory=lab.inventory)

    assert 0 == switched.rc, switched.stderr
    assert "20260224.0" == switched.host(node)["release"]
    assert "proved" == switched.host(node)["proof"]
    assert before == starts(node)

    back = gvisor_nodes("apply", *limit, inventory=lab.inventory)
    assert 0 == back.rc
    assert "1" == node.read("/opt/gvisor-nodes/current").strip()
    assert before == starts(node)


class TestInstalled:
    """On a node that stays installed from one test to the next, each of which ends with gVisor whole again."""

    @pytest.fixture(scope="class")
    @staticmethod
    def node(lab, fresh):
        node = lab.nodes[0]
        yield node
        answer = gvisor_nodes("remove", "--yes", "--limit", node.name, inventory=lab.inventory)
        assert 0 == answer.rc, answer.stderr
        assert [] == difference(fresh[node.name], snapshot(node))

    @pytest.fixture
    def do(self, lab, node):
        """Run a command on the installed node."""
        run = partial(gvisor_nodes, inventory=lab.inventory)
        installed = run("apply", "--limit", node.name)
        assert 0 == installed.rc, installed.stderr
        return lambda verb: run(verb, "--limit", node.name)

    @pytest.mark.feature("D12")
    @pytest.mark.parametrize(
        ("damage", "restarts"),
        [
            ("rm /opt/gvisor-nodes/current", 0),
            ("echo 9 > /opt/gvisor-nodes/current", 0),
            ("rm /opt/gvisor-nodes/containerd-shim-runsc-v1", 0),
            ("chmod 0600 /opt/gvisor-nodes/runsc", 0),
            ("truncate -s 1000 /opt/gvisor-nodes/releases/20260905.0/runsc", 0),
            ("rm -r /opt/gvisor-nodes/releases", 0),
            ("sed -i '/>>> gvisor-nodes/,/<<< gvisor-nodes/d' /etc/containerd/config.toml", 1),
        ],
    )
    def test_drift_fails_verify_by_name_and_apply_repairs_it(self, do, node, damage, restarts):
        node.run(damage, check=True)

        verified = do("verify")
        assert 3 == verified.rc
        assert "the node is not as it should be" == verified.bad_step(node)["message"]
        assert verified.bad_step(node)["cause"]

        before = starts(node)
        repaired = do("apply")
        assert 0 == repaired.rc, repaired.stderr
        assert restarts == starts(node) - before
        assert 0 == do("verify").rc

    def test_a_containerd_that_was_restarted_is_proved_again_without_a_restart(self, do, node):
        node.run("systemctl restart containerd", check=True)
        before = starts(node)
        answer = do("apply")

        assert "proved" == answer.host(node)["proof"]
        assert "proof" in {step["step"] for step in answer.host(node)["steps"]}
        assert before == starts(node)


@pytest.mark.feature("J3")
def test_a_plain_ansible_playbook_does_what_the_command_does(lab, clean):
    node = lab.nodes[1]
    program = Path(sys.executable).with_name("ansible-playbook")

    def play(name):
        argv = [str(program), "-i", str(lab.inventory), "--limit", node.name, str(PLAYBOOKS / name)]
        return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=PLAYBOOKS.parent, timeout=300)

    assert 0 == play("preflight.yml").returncode
    installed = play("install.yml")
    assert 0 == installed.returncode, installed.stdout
    assert "Start a sandbox" in installed.stdout
    assert "changed=0" in play("install.yml").stdout
    assert 0 == play("verify.yml").returncode
    assert "ok" == gvisor_nodes("apply", "--limit", node.name, inventory=lab.inventory).host(node)["outcome"]
    assert 0 == play("uninstall.yml").returncode
    assert [] == difference(clean[node.name], snapshot(node))


def test_as_a_user_who_becomes_root_without_and_with_a_password(lab, clean, tmp_path):
    node = lab.nodes[1]
    for user in ("admin", "operator"):
        content = yaml.safe_load(lab.inventory_for(user).read_text())
        if user == "operator":
            content["all"]["vars"]["ansible_become_password"] = lab.operator_password
        inventory = tmp_path / f"{user}.yml"
        inventory.write_text(yaml.safe_dump(content))
        answer = gvisor_nodes("apply", "--limit", node.name, inventory=inventory)
        assert 0 == answer.rc, answer.stderr
        assert "proved" == answer.host(node)["proof"]
        removed = gvisor_nodes("remove", "--yes", "--limit", node.name, inventory=inventory)
        assert 0 == removed.rc, removed.stderr
        assert [] == difference(clean[node.name], snapshot(node))


@pytest.mark.feature("H6")
@pytest.mark.exhaustive
def test_ten_rounds_leave_the_tree_as_it_was(lab, clean):
    node = lab.nodes[1]
    for _ in range(10):
        assert 0 == gvisor_nodes("apply", "--limit", node.name, inventory=lab.inventory).rc
        assert 0 == gvisor_nodes("remove", "--yes", "--limit", node.name, inventory=lab.inventory).rc
    assert [] == difference(clean[node.name], snapshot(node))


def test_a_foreign_change_between_install_and_removal_stays(lab, clean):
    node = lab.nodes[0]
    limit = ("--limit", node.name)
    original = node.read("/etc/containerd/config.toml")
    gvisor_nodes("apply", *limit, inventory=lab.inventory)
    node.run("sed -i '1i # a note of the administrator' /etc/containerd/config.toml", check=True)
    removed = gvisor_nodes("remove", "--yes", *limit, inventory=lab.inventory)

    assert 0 == removed.rc, removed.stderr
    assert "# a note of the administrator\n" + original == node.read("/etc/containerd/config.toml")
    node.run("sed -i 1d /etc/containerd/config.toml", check=True)
    assert [] == difference(clean[node.name], snapshot(node))
