"""Generations on a real node with real pods: kept while needed, collected when not, gone back to by one rename."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from command import gvisor_nodes, starts
from test_crash import assert_alive, fragile, kill_at, mend, was_killed  # noqa: F401 - fragile is a fixture

from orchestrator.lab.pods import Pods
from orchestrator.lab.tree import difference, snapshot

OLD, NEW = "20260224.0", "20260905.0"
BASE = "/opt/gvisor-nodes"
PLAYBOOKS = Path(__file__).parents[2] / "playbooks"

pytestmark = pytest.mark.timeout(1800)  # many applies, each of them some seconds, on machines that do more

# What ten minutes later looks like to the node: every generation stopped being current so much earlier.
AGE = """python3 -c '
import json
path = "/var/lib/gvisor-nodes/journal.json"
data = json.load(open(path))
for moment in data["generations"]["retired"].values():
    moment["seconds"] -= 601
json.dump(data, open(path, "w"))
'"""


@pytest.fixture(scope="module")
def fresh(lab):
    lab.ensure_release(OLD)
    node = lab.nodes[0]
    gvisor_nodes("remove", "--yes", "--limit", node.name, inventory=lab.inventory)
    return snapshot(node)


@pytest.fixture
def node(lab, fresh):
    """The first node without gVisor; afterwards everything goes again, to the byte."""
    node = lab.nodes[0]
    yield node
    removed = gvisor_nodes("remove", "--yes", "--limit", node.name, inventory=lab.inventory)
    assert 0 == removed.rc, removed.stderr
    assert [] == difference(fresh, snapshot(node))


@pytest.fixture
def do(lab, node):
    """Run a command on the node; the row of the host, after its exit code was looked at."""

    def run(*arguments, rc=0):
        answer = gvisor_nodes(*arguments, "--limit", node.name, inventory=lab.inventory)
        assert rc == answer.rc, answer.stderr
        return answer.host(node)

    return run


@pytest.fixture
def pods(node):
    with Pods(node) as pods:
        yield pods
        pods.clear()


def steps(host):
    return [step["step"] for step in host["steps"]]


def age(node):
    node.run(AGE, check=True)


def wait_until_nothing_runs(node, release):
    """A shim ends by itself, a moment after its pod is gone."""
    look = f"! ls -l /proc/[0-9]*/exe 2>/dev/null | grep -q {BASE}/releases/{release}/"
    node.run(f"timeout 50 sh -c 'until {look}; do sleep 0.1; done'", check=True)


def current(node):
    return node.read(f"{BASE}/current").strip()


def listed(node, kind):
    return node.run(f"ls {BASE}/{kind}", check=True).stdout.split()


def size(node):
    return int(node.run(f"du -s {BASE}", check=True).stdout.split()[0])


@pytest.mark.feature("A12")
@pytest.mark.feature("A13")
@pytest.mark.parametrize(("first", "second"), [(OLD, NEW), (NEW, OLD)], ids=["up", "down"])
def test_a_pods_generation_stays_while_it_runs_and_is_collected_when_nothing_needs_it(do, node, pods, first, second):
    do("apply", "--release", first)
    before = starts(node)
    pod = pods.run("runsc", "cart", namespace="shop")
    container = pod.start_container("main")

    switched = do("apply", "--release", second)
    assert ("proved", 0, "2") == (switched["proof"], switched["restarts"], current(node))
    again = do("apply", "--release", second)
    assert (["probe", "report"], 1) == (steps(again), again["round_trips"])

    # The pod goes on in the old release, with new containers too; a new pod has the new one.
    assert f"{BASE}/releases/{first}/runsc" == node.run(f"readlink /proc/{pod.pid()}/exe").stdout.strip()
    later = pod.start_container("later")
    assert (0, 0) == (pod.exec(container, ["true"]).code, pod.exec(later, ["true"]).code)
    other = pods.run("runsc", "till", namespace="shop")
    assert f"{BASE}/releases/{second}/runsc" == node.run(f"readlink /proc/{other.pid()}/exe").stdout.strip()

    planned = do("plan", "--release", second)
    assert not planned["needed"]
    assert [("shop", "cart", "1", first)] == [
        (one["namespace"], one["name"], one["generation"], one["release"]) for one in planned["pods"]
    ]
    assert {"1": 1, "2": 1} == do("status", "--release", second)["pods"]
    other.remove()

    # Neither current nor the one to go back to any more; old enough; but the pod needs it.
    do("apply", "--release", second, "--flag", "net-raw=true")
    age(node)
    kept = {one["generation"]: one["kept"] for one in do("generations")["generations"]}
    assert {"3": "current", "2": "kept for a rollback", "1": "1 pod needs it"} == kept
    assert ["probe", "report"] == steps(do("apply", "--release", second, "--flag", "net-raw=true"))
    assert 0 == pod.exec(container, ["true"]).code
    pod.remove()
    wait_until_nothing_runs(node, first)

    planned = do("plan", "--release", second, "--flag", "net-raw=true")
    assert ["generation 1", f"release {first}"] == [change["what"] for change in planned["changes"]]
    assert not planned["restart"]
    filled = size(node)
    checked = do("apply", "--check", "--diff", "--release", second, "--flag", "net-raw=true")
    assert "collect" in steps(checked)
    assert ["1", "2", "3"] == listed(node, "generations")

    collected = do("apply", "--release", second, "--flag", "net-raw=true")
    assert "changed" == collected["outcome"]
    assert not {"proof", "seal", "containerd", "release"} & set(steps(collected))
    assert 3 == collected["round_trips"]
    assert ["2", "3"] == listed(node, "generations")
    assert [second] == listed(node, "releases")
    assert filled - size(node) > 50_000
    assert 0 == node.run("test ! -e /run/gvisor-nodes/lease.json").returncode
    assert ["probe", "report"] == steps(do("apply", "--release", second, "--flag", "net-raw=true"))
    assert before == starts(node)


@pytest.mark.feature("A13")
def test_a_pod_that_starts_after_the_plan_keeps_what_the_plan_called_unused(do, node, lab, pods):
    """The node looks again: here the record appears while the controller only knows its own probe."""
    do("apply", "--release", OLD)
    do("apply")
    do("apply", "--flag", "net-raw=true")
    age(node)
    # Between the probe under the lease and the collection, which are two calls: the bundle comes with the seal's write.
    bundle = "/run/containerd/io.containerd.runtime.v2.task/k8s.io/late"
    wait = f"until [ -e /run/gvisor-nodes/lease.json ]; do sleep 0.02; done; mkdir -p {bundle}"
    record = f"echo 1 > {bundle}/.gvisor-nodes-generation"
    node.run(f"timeout 100 sh -c '{wait}; {record}' >/dev/null 2>&1 & :", check=True)
    try:
        host = do("apply", "--flag", "net-raw=true")
        assert "1" in listed(node, "generations")
        assert OLD in listed(node, "releases")
        collect = [step for step in host["steps"] if step["step"] == "collect"]
        assert not collect or "a pod needs it" in collect[0]["message"]
    finally:
        node.run(f"rm -r {bundle}", check=True)


@pytest.mark.feature("A12")
def test_pods_whose_generation_somebody_deleted_are_named(do, node, pods):
    do("apply", "--release", OLD)
    pod = pods.run("runsc", "cart", namespace="shop")
    do("apply")
    node.run(f"mv {BASE}/generations/1 /root/1", check=True)
    try:
        (affected,) = do("plan")["pods"]
    finally:
        node.run(f"mv /root/1 {BASE}/generations/1", check=True)

    assert ("cart", "1", OLD) == (affected["name"], affected["generation"], affected["release"])
    assert "its generation is not on the node" in affected["note"]
    pod.remove()


def test_a_rollback_is_one_rename_proved_and_sealed_and_twice_it_goes_forward(do, node, lab):
    do("apply", "--release", OLD, "--flag", "debug=true")
    do("apply")
    before = starts(node)

    planned = do("rollback", "--check", "--diff")
    assert ["generation 1", "a sandbox that starts"] == [change["what"] for change in planned["changes"]]
    assert "2" == current(node)

    host = do("rollback")
    assert ("1", OLD, "proved", 0) == (current(node), host["release"], host["proof"], host["restarts"])
    assert 4 == host["round_trips"]
    sealed = json.loads(node.read("/var/lib/gvisor-nodes/journal.json"))["sealed"]
    assert (OLD, 1) == (sealed["release"], sealed["generation"])
    assert "--debug=true" in sealed["flags"]

    # The inventory wants something else, and says so; who wants what was gone back to has nothing to do.
    planned = do("plan")
    assert ["generation 2", "a sandbox that starts"] == [change["what"] for change in planned["changes"]]
    assert ["probe", "report"] == steps(do("apply", "--release", OLD, "--flag", "debug=true"))
    do("verify", "--release", OLD, "--flag", "debug=true")
    assert "the node is not as it should be" in json.dumps(do("verify", rc=3))

    host = do("rollback")
    assert ("2", NEW) == (current(node), host["release"])
    assert ["probe", "report"] == steps(do("apply"))
    assert ["probe", "report"] == steps(do("rollback", "--to", "2"))
    assert "1" == (do("rollback", "--to", "1"), current(node))[1]
    assert before == starts(node)


def test_a_rollback_whose_proof_fails_puts_back_what_was_there(do, node):
    do("apply", "--release", OLD)
    do("apply")
    shim = f"{BASE}/releases/{OLD}/containerd-shim-runsc-v1"
    # Damaged so that only running it tells: same size, same time, same mode.
    node.run(
        f"cp -p {shim} /root/shim && printf 'x%.0s' $(seq 64) | dd of={shim} conv=notrunc status=none"
        f" && touch -r /root/shim {shim}",
        check=True,
    )
    host = do("rollback", rc=3)
    assert "proof" in {step["step"] for step in host["steps"] if step["status"] == "failed"}
    assert "generation 2 is current again" in {step["message"] for step in host["steps"]}
    assert "2" == current(node)
    assert ["probe", "report"] == steps(do("apply"))

    node.run(f"cp -p /root/shim {shim} && rm /root/shim", check=True)
    assert "proved" == do("rollback")["proof"]


def test_a_rollback_that_cannot_be_is_refused_and_changes_nothing(do, node, lab, tmp_path):
    assert "not installed" in json.dumps(do("rollback", rc=4))
    do("apply", "--release", OLD)
    refused = do("rollback", rc=4)
    assert "there is no generation to go back to" in json.dumps(refused)

    do("apply")
    node.run(f"truncate -s 1000 {BASE}/releases/{OLD}/runsc", check=True)
    before = snapshot(node)
    refused = json.dumps(do("rollback", rc=4))
    assert f"release {OLD} of generation 1 cannot be trusted" in refused
    assert f"gvisor-nodes apply --release {OLD}" in refused
    assert [] == difference(before, snapshot(node))

    inventory = yaml.safe_load(lab.inventory.read_text())
    inventory["all"]["vars"].update(node_lock_timeout=0)
    path = tmp_path / "inventory.yml"
    path.write_text(yaml.safe_dump(inventory))
    lease = "{'token': 'other', 'holder': 'somebody', 'ttl': 60, 'until': time.clock_gettime(time.CLOCK_BOOTTIME) + 60}"
    take = f"import json, os, time; os.makedirs('/run/gvisor-nodes', exist_ok=True); json.dump({lease}, open('/run/gvisor-nodes/lease.json', 'w'))"
    node.run(f'python3 -c "{take}"', check=True)
    held = gvisor_nodes("rollback", "--limit", node.name, inventory=path)
    assert (4, "another run holds this node") == (held.rc, held.bad_step(node)["message"])
    node.run("rm /run/gvisor-nodes/lease.json", check=True)

    # What the remedy says, done: the release is placed anew, and rolling back works again.
    do("apply", "--release", OLD)
    assert "1" == current(node)
    do("apply")
    assert "proved" == do("rollback")["proof"]


@pytest.mark.feature("J3")
def test_a_plain_ansible_playbook_rolls_back_too(do, node, lab):
    do("apply", "--release", OLD)
    do("apply")
    program = Path(sys.executable).with_name("ansible-playbook")

    def play(*more):
        argv = [str(program), "-i", str(lab.inventory), "--limit", node.name, str(PLAYBOOKS / "rollback.yml"), *more]
        return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=PLAYBOOKS.parent, timeout=300)

    done = play()
    assert (0, "1") == (done.returncode, current(node)), done.stdout
    done = play("-e", "runsc_rollback_generation=2")
    assert (0, "2") == (done.returncode, current(node)), done.stdout
    assert "changed=0" in play("-e", "runsc_rollback_generation=2").stdout


@pytest.mark.feature("H5")
@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_a_rollback_killed_at_any_step_is_done_or_undone_by_the_next_run(do, node, lab, fragile):  # noqa: F811
    do("apply", "--release", OLD)
    do("apply")
    limit = ("--limit", node.name)
    step, killed, seen = 0, True, set()
    while killed:
        kill_at(node, step)
        gvisor_nodes("rollback", "--to", "1", *limit, inventory=fragile)
        killed = was_killed(node)
        mend(node)
        assert_alive(node)
        seen.add(current(node))
        # The next run waits for the dead one's lease. An odd step is gone on from, an even one is gone back from.
        wanted = ("--to", "1") if step % 2 else ("--to", "2")
        answer = gvisor_nodes("rollback", *wanted, *limit, inventory=fragile)
        assert 0 == answer.rc, (step, answer.stderr)
        assert wanted[1] == current(node)
        sealed = json.loads(node.read("/var/lib/gvisor-nodes/journal.json"))["sealed"]
        assert wanted[1] == str(sealed["generation"]), step
        if step % 2:
            do("rollback", "--to", "2")
        step += 1

    assert {"1", "2"} == seen
    assert step > 3


@pytest.mark.feature("A13")
@pytest.mark.feature("H5")
@pytest.mark.exhaustive
@pytest.mark.timeout(1800)
def test_a_collection_killed_at_any_step_is_finished_by_the_next_apply(do, node, lab, fragile, fresh):  # noqa: F811
    limit = ("--limit", node.name)
    step, killed = 0, True
    while killed:
        for arguments in (("--release", OLD), (), ("--flag", "net-raw=true")):
            do("apply", *arguments)
        age(node)
        kill_at(node, step)
        gvisor_nodes("apply", "--flag", "net-raw=true", *limit, inventory=fragile)
        killed = was_killed(node)
        mend(node)
        if step % 2:
            answer = gvisor_nodes("apply", "--flag", "net-raw=true", *limit, inventory=fragile)
            assert 0 == answer.rc, (step, answer.stderr)
            assert ["2", "3"] == listed(node, "generations"), step
            assert [NEW] == listed(node, "releases"), step
        removed = gvisor_nodes("remove", "--yes", *limit, inventory=fragile)
        assert 0 == removed.rc, (step, removed.stderr)
        assert [] == difference(fresh, snapshot(node)), step
        step += 1

    assert step > 8
