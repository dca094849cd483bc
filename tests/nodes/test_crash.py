"""Killed once at every step on the node, with the controller dead too: the next apply or remove goes on, to the byte.

The node's Python is a wrapper that counts the renames, links and removals that the product's files go through, kills
the module with SIGKILL at the chosen one, and from then on answers nothing, as a node whose controller died gets no
further step. No line of the product knows about it.
"""

from __future__ import annotations

import pytest
import yaml
from command import gvisor_nodes, starts

from orchestrator.lab.tree import difference, snapshot

MAIN = "/etc/containerd/config.toml"
DROP_IN = "/etc/containerd/conf.d/gvisor-nodes.toml"
WRAPPER = """#!/bin/sh
[ "$(cat /run/kill/left 2>/dev/null)" = dead ] && exit 1
PYTHONPATH=/run/kill PYTHONDONTWRITEBYTECODE=1 exec /usr/bin/python3 "$@"
"""

COUNTER = """
import os, signal, sys
try:
    left = int(open("/run/kill/left").read())
except (OSError, ValueError):
    left = None
def hook(event, arguments):
    global left
    if left is None or event not in ("os.rename", "os.symlink", "os.remove", "os.rmdir", "os.mkdir"):
        return
    names = " ".join(str(a) for a in arguments)
    if "/run/" in names or not ("gvisor-nodes" in names or "/etc/containerd" in names or "/var/log/runsc" in names):
        return
    left -= 1
    with open("/run/kill/left", "w") as file:
        file.write("dead" if left < 0 else str(left))
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
if left is not None:
    sys.addaudithook(hook)
"""


IMPORTS = 'imports = ["/etc/containerd/conf.d/*.toml"]\n'


@pytest.fixture(scope="module")
def fragile(lab, tmp_path_factory):
    """An inventory of the lab's nodes whose Python can be told when to be killed."""
    yield from make_fragile(lab, tmp_path_factory)


@pytest.fixture(scope="module")
def importing(make_module_lab, tmp_path_factory):
    """A lab of containerd 2.x whose main files import a directory that is not there, and its inventory."""
    lab = make_module_lab(nodes=2, kind="containerd2")
    for node in lab.nodes:
        main = node.run(f"mkdir -p /etc/containerd; cat {MAIN} || true").stdout
        node.write(MAIN, IMPORTS + (main or "version = 3\n"))
        node.run("systemctl restart containerd")
    for inventory in make_fragile(lab, tmp_path_factory):
        yield lab, inventory


def make_fragile(lab, tmp_path_factory):
    for node in lab.nodes:
        node.run("mkdir -p /run/kill", check=True)
        node.write("/run/kill/python3", WRAPPER, mode=0o755)
        node.write("/run/kill/sitecustomize.py", COUNTER)
    inventory = yaml.safe_load(lab.inventory.read_text())
    inventory["all"]["vars"]["ansible_python_interpreter"] = "/run/kill/python3"
    # A dead run's lease ends soon, and its rollback never fires by itself within the test.
    inventory["all"]["vars"].update(node_lock_ttl=5, node_lock_timeout=60, containerd_rollback_seconds=3600)
    inventory["all"]["vars"]["runsc_flags"] = {"debug": "true"}
    path = tmp_path_factory.mktemp("fragile") / "inventory.yml"
    path.write_text(yaml.safe_dump(inventory))
    if any(node.run("test -e /opt/gvisor-nodes", check=False).returncode == 0 for node in lab.nodes):
        gvisor_nodes("remove", "--yes", inventory=path)
    yield path
    for node in lab.nodes:
        node.run("rm -rf /run/kill", check=True)


def kill_at(node, step):
    node.write("/run/kill/left", str(step))


def was_killed(node):
    return "dead" == node.read("/run/kill/left").strip()


def mend(node):
    node.run("rm /run/kill/left", check=True)


def assert_alive(node):
    assert "active" == node.run("systemctl is-active containerd").stdout.strip()


@pytest.mark.feature("H5")
@pytest.mark.exhaustive
@pytest.mark.timeout(900)
@pytest.mark.parametrize("then", ["apply", "remove"])
def test_an_apply_killed_at_any_step_is_gone_on_from_or_taken_away(lab, fragile, then):
    kill_applies(lab, fragile, then)


@pytest.mark.feature("B7")
@pytest.mark.feature("H5")
@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("then", ["apply", "remove"])
def test_the_same_where_the_handler_goes_into_a_drop_in(importing, then):
    kill_applies(*importing, then)


def kill_applies(lab, fragile, then):
    before = {node.name: snapshot(node) for node in lab.nodes}
    step, killed = 0, True
    while killed:
        killed = False
        for offset, node in enumerate(lab.nodes):
            kill_at(node, step + offset)
        gvisor_nodes("apply", inventory=fragile)
        for node in lab.nodes:
            killed = was_killed(node) or killed
            assert_alive(node)
            mend(node)
        if then == "apply":
            restarts = {node.name: starts(node) for node in lab.nodes}
            answer = gvisor_nodes("apply", inventory=fragile)
            assert 0 == answer.rc, (step, answer.stderr)
            assert {"proved"} == {host["proof"] for host in answer.hosts.values()}, step
            for node in lab.nodes:
                assert starts(node) - restarts[node.name] <= 1, step
        removed = gvisor_nodes("remove", "--yes", inventory=fragile)
        assert 0 == removed.rc, (step, removed.stderr)
        for node in lab.nodes:
            assert [] == difference(before[node.name], snapshot(node)), step
            assert_alive(node)
        step += len(lab.nodes)

    assert step > 20


@pytest.mark.feature("H5")
@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_a_removal_killed_at_any_step_is_finished_by_the_next(lab, fragile):
    kill_removals(lab, fragile)


@pytest.mark.feature("B7")
@pytest.mark.feature("H5")
@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
def test_a_removal_of_a_drop_in_killed_at_any_step_is_finished_by_the_next(importing):
    kill_removals(*importing)


def kill_removals(lab, fragile):
    before = {node.name: snapshot(node) for node in lab.nodes}
    step, killed = 0, True
    while killed:
        killed = False
        applied = gvisor_nodes("apply", inventory=fragile)
        assert 0 == applied.rc, (step, applied.stderr)
        for offset, node in enumerate(lab.nodes):
            kill_at(node, step + offset)
        gvisor_nodes("remove", "--yes", inventory=fragile)
        for node in lab.nodes:
            killed = was_killed(node) or killed
            assert_alive(node)
            mend(node)
        if (step // len(lab.nodes)) % 2:
            again = gvisor_nodes("apply", inventory=fragile)
            assert 0 == again.rc, (step, again.stderr)
        removed = gvisor_nodes("remove", "--yes", inventory=fragile)
        assert 0 == removed.rc, (step, removed.stderr)
        for node in lab.nodes:
            assert [] == difference(before[node.name], snapshot(node)), step
        step += len(lab.nodes)

    assert step > 20


@pytest.mark.feature("C7")
def test_a_node_heals_itself_when_everybody_died_before_the_proof(lab, fragile):
    """The timer on the node, not the run, puts the old bytes back."""
    heal(lab.nodes[0], fragile, "/etc/containerd/config.toml", "grep -q gvisor-nodes /etc/containerd/config.toml")


@pytest.mark.feature("B7")
@pytest.mark.feature("C7")
@pytest.mark.exhaustive
def test_a_node_heals_itself_of_a_drop_in_too(importing):
    lab, fragile = importing
    heal(lab.nodes[0], fragile, DROP_IN, f"test -e {DROP_IN}")


def heal(node, fragile, file, written):
    """Everybody dies as soon as the file is ``written``; the node goes back to what it had."""
    original = node.run(f"cat {file} || true").stdout
    inventory = yaml.safe_load(fragile.read_text())
    inventory["all"]["vars"]["containerd_rollback_seconds"] = 20
    path = fragile.with_name("soon.yml")
    path.write_text(yaml.safe_dump(inventory))
    # Dead right after the swap: the journal says switched, the restart never came from us.
    probe = f"while ! {written}; do :; done; echo dead > /run/kill/left"
    watcher = node.run(f"timeout 60 sh -c '{probe}' >/dev/null 2>&1 & echo started", check=True)
    assert "started" in watcher.stdout
    answer = gvisor_nodes("apply", "--limit", node.name, inventory=path)
    assert 3 == answer.rc

    assert 0 == node.run(f"timeout 60 sh -c 'until ! {written}; do sleep 0.2; done'").returncode
    assert original == node.run(f"cat {file} || true").stdout
    # The bytes are back before containerd is started again with them.
    over = "timeout 60 sh -c 'until test inactive = $(systemctl is-active gvisor-nodes-rollback); do sleep 0.2; done'"
    assert 0 == node.run(over).returncode
    assert_alive(node)

    mend(node)
    healed = gvisor_nodes("apply", "--limit", node.name, inventory=fragile)
    assert 0 == healed.rc, healed.stderr
    assert "proved" == healed.host(node)["proof"]
    gvisor_nodes("remove", "--yes", "--limit", node.name, inventory=fragile)
