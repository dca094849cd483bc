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

KINDS = [pytest.param("debian13", marks=pytest.mark.exhaustive), "containerd2"]
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


@pytest.fixture(scope="module", params=KINDS)
def job_node(request, make_module_lab):
    """A node with the product's image, and the image."""
    lab = make_module_lab(nodes=1, kind=request.param)
    image = product_image.ensure(lab.engine)
    import_image(lab.nodes[0], image)
    return lab.nodes[0], image


@pytest.fixture
def node(job_node):
    return job_node[0]


@pytest.fixture
def run(job_node, node):
    """Start a Job on the node; the answer ends it."""
    with Pods(node) as pods:
        yield lambda verb, wish=WISH, **access: start(pods, job_node[1], verb, wish, **access)
        pods.clear()


def test_a_job_that_is_killed_after_the_restart_leaves_a_node_that_rolls_back_by_itself_and_the_next_goes_on(node, run):
    clean, before = snapshot(node), starts(node)
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
    assert 2 == starts(node) - before

    done = run("apply").end()
    assert 0 == done.rc, done.log
    assert ("changed", True, 1) == (done.result.outcome, done.result.proved, done.result.restarts)
    assert fingerprint(WISH) == done.result.fingerprint
    assert 3 == starts(node) - before
    assert {"probe", "release", "containerd", "proof"} <= done.result.steps.keys()
    assert "proof: ok" in done.log

    again = run("apply").end()
    assert ("ok", True, 0) == (again.result.outcome, again.result.proved, again.result.restarts)
    assert 3 == starts(node) - before

    with Pods(node) as pods:
        web = pods.run("runsc", "web", namespace="shop")
        refused = run("remove").end()
        assert 4 == refused.rc, refused.log
        assert ("refused", ("shop/web",), 1) == (refused.result.outcome, refused.result.pods, refused.result.pods_total)
        web.remove()

    removed = run("remove").end()
    assert 0 == removed.rc, removed.log
    assert ("changed", False, 1) == (removed.result.outcome, removed.result.proved, removed.result.restarts)
    assert 4 == starts(node) - before
    assert [] == difference(clean, snapshot(node))
    assert 0 == node.run("test ! -e /run/gvisor-nodes && test ! -e /run/containerd/runsc").returncode


@pytest.mark.exhaustive  # tests/e2e has Jobs that turn debug on by default
def test_a_job_turns_debug_on_without_a_restart(node, run):
    assert 0 == run("apply").end().rc
    before = starts(node)

    debug = run("apply", DEBUG).end()

    assert ("changed", True, 0) == (debug.result.outcome, debug.result.proved, debug.result.restarts), debug.log
    assert fingerprint(DEBUG) == debug.result.fingerprint
    assert before == starts(node)
    assert "active" == node.run("systemctl is-active gvisor-nodes-logs.timer").stdout.strip()
    assert 0 == run("remove").end().rc


def test_a_pod_without_the_hosts_processes_changes_nothing(node, run):
    clean = snapshot(node)
    blind = run("apply", host_pid=False).end()

    assert ("refused", 4) == (blind.result.outcome, blind.rc), blind.log
    assert "hostPID: true" in blind.result.remedy
    assert [] == difference(clean, snapshot(node))
