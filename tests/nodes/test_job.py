"""The playbooks in a pod on the node that they change, as a Job of the controller runs them: real image, real pods."""

from __future__ import annotations

import pytest
from command import starts
from job_pod import import_image, start

from orchestrator.gvisor.releases import DEFAULT_RELEASE
from orchestrator.lab import product_image
from orchestrator.lab.pods import Pods
from orchestrator.lab.tree import difference, snapshot
from orchestrator.planning.desired import read_variables

KINDS = ("debian13", "containerd2")
WISH = {
    "runsc_release": "20260905.0",
    "runsc_flags": {},
    "runsc_flags_policy": {},
    "runsc_directory": "/opt/gvisor-nodes",
}
DEBUG = {**WISH, "runsc_flags": {"debug": "true"}}
# Waits for the new containerd of an armed change, then kills every process of a container.
KILL_AFTER_RESTART = """
before=$(systemctl show -p MainPID --value containerd)
until [ -e /var/lib/gvisor-nodes/armed ]; do sleep 0.01; done
while now=$(systemctl show -p MainPID --value containerd); [ "$now" = "$before" ] || [ "$now" = 0 ]; do sleep 0.01; done
kill -9 $(grep -ls {container} /proc/[0-9]*/cgroup | cut -d/ -f3) 2>/dev/null; :
"""
ROLLED_BACK = """
until [ -e /var/lib/gvisor-nodes/rollback.done ]; do sleep 0.1; done
[ "$(systemctl is-active containerd)" = active ] && sha256sum {file} | cut -d' ' -f1
"""


def fingerprint(wish):
    return read_variables(wish, DEFAULT_RELEASE)[0].fingerprint


@pytest.fixture(scope="module")
def job_lab(make_module_lab):
    """A node of each kind with the product's image."""
    lab = make_module_lab(kinds=KINDS)
    image = product_image.ensure(lab.engine)
    for node in lab.nodes:
        import_image(node, image)
    return lab, image


# On containerd 2 what installs, proves and removes by default is the Job that comes after a killed one.
@pytest.fixture(params=["debian13", pytest.param("containerd2", marks=pytest.mark.exhaustive)])
def node(request, job_lab):
    return job_lab[0].nodes[KINDS.index(request.param)]


@pytest.fixture
def run(job_lab, node):
    """Start a Job on the node; the answer ends it."""
    with Pods(node) as pods:
        yield lambda verb, wish=WISH, **access: start(pods, job_lab[1], verb, wish, **access)
        pods.clear()


def test_a_job_installs_proves_finds_nothing_to_do_and_removes_to_the_byte(node, run):
    clean, before = snapshot(node), starts(node)

    first = run("apply").end()
    assert 0 == first.rc, first.log
    assert ("changed", True, 1) == (first.result.outcome, first.result.proved, first.result.restarts)
    assert fingerprint(WISH) == first.result.fingerprint
    assert 1 == starts(node) - before
    assert {"probe", "release", "containerd", "proof"} <= first.result.steps.keys()
    assert "proof: ok" in first.log

    again = run("apply").end()
    assert ("ok", True, 0) == (again.result.outcome, again.result.proved, again.result.restarts)
    assert 1 == starts(node) - before

    debug = run("apply", DEBUG).end()
    assert ("changed", True, 0) == (debug.result.outcome, debug.result.proved, debug.result.restarts), debug.log
    assert fingerprint(DEBUG) == debug.result.fingerprint
    assert "active" == node.run("systemctl is-active gvisor-nodes-logs.timer").stdout.strip()

    with Pods(node) as pods:
        web = pods.run("runsc", "web", namespace="shop")
        refused = run("remove").end()
        assert 4 == refused.rc, refused.log
        assert ("refused", ("shop/web",), 1) == (refused.result.outcome, refused.result.pods, refused.result.pods_total)
        web.remove()

    removed = run("remove").end()
    assert 0 == removed.rc, removed.log
    assert ("changed", False, 1) == (removed.result.outcome, removed.result.proved, removed.result.restarts)
    assert 2 == starts(node) - before
    assert [] == difference(clean, snapshot(node))
    assert 0 == node.run("test ! -e /run/gvisor-nodes && test ! -e /run/containerd/runsc").returncode


@pytest.mark.parametrize("node", ["containerd2"], indirect=True)
def test_a_job_that_is_killed_after_the_restart_leaves_a_node_that_rolls_back_by_itself(node, run):
    clean = snapshot(node)
    file = "/etc/containerd/config.toml"
    original = node.run(f"sha256sum {file} | cut -d' ' -f1").stdout
    # The shortest that there are: the node waits that long for a Job that will not come back.
    wish = {**WISH, "containerd_rollback_seconds": 20}

    dying = run("apply", wish)
    node.run(KILL_AFTER_RESTART.format(container=dying.container.id))
    dead = dying.end()
    assert dead.rc in {137, 255}  # containerd, itself just started, may not have heard how it ended
    assert "unknown" == dead.result.outcome
    assert not dead.result.proved
    assert original != node.run(f"sha256sum {file} | cut -d' ' -f1").stdout
    assert original == node.run(ROLLED_BACK.format(file=file), timeout=60).stdout

    done = run("apply").end()
    assert ("changed", True) == (done.result.outcome, done.result.proved), done.log
    assert 0 == run("remove").end().rc
    assert [] == difference(clean, snapshot(node))


@pytest.mark.parametrize("node", ["debian13"], indirect=True)
def test_a_pod_without_the_hosts_processes_changes_nothing(node, run):
    clean = snapshot(node)
    blind = run("apply", host_pid=False).end()

    assert ("refused", 4) == (blind.result.outcome, blind.rc), blind.log
    assert "hostPID: true" in blind.result.remedy
    assert [] == difference(clean, snapshot(node))
