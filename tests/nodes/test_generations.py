"""Generations on a real node with real pods: kept while needed, collected when not, gone back to by one rename.

The tests share one installation. Each says which generations it wants on the node (`stand`) and what is missing is made,
which is a rename as a rule. After the last of them everything is removed, to the byte.
"""

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
BASE, JOURNAL = "/opt/gvisor-nodes", "/var/lib/gvisor-nodes/journal.json"

# A generation is a release and flags. The flags of the old one tell whether they come back with it.
BEFORE, AFTER, LATER = USUAL = (OLD, "net-raw=true"), (NEW,), (NEW, "panic-signal=12")
PLAYBOOKS = Path(__file__).parents[2] / "playbooks"

pytestmark = pytest.mark.timeout(1800)  # many applies, each of them some seconds, on machines that do more

UP = pytest.param(BEFORE, AFTER, id="up")
DOWN = pytest.param(AFTER, BEFORE, id="down", marks=pytest.mark.exhaustive)

# What ten minutes later looks like to the node: the generation stopped being current so much earlier.
AGE = """python3 -c '
import json
path = "/var/lib/gvisor-nodes/journal.json"
data = json.load(open(path))
data["generations"]["retired"]["%s"]["seconds"] -= 601
json.dump(data, open(path, "w"))
'"""


@pytest.fixture(scope="module")
def bare(lab):
    """What the first node is without gVisor; after all tests everything goes again, to the byte."""
    lab.ensure_release(OLD)
    node = lab.nodes[0]
    take_away(lab, node)
    before = snapshot(node)
    yield before
    take_away(lab, node)
    assert [] == difference(before, snapshot(node))


@pytest.fixture(scope="module")
def too_early(lab, bare):
    """What a rollback said before there was anything, and with one generation; then there are two."""
    limit = ("--limit", lab.nodes[0].name)
    said = [gvisor_nodes("rollback", *limit, inventory=lab.inventory)]
    gvisor_nodes("apply", *wish(BEFORE), *limit, inventory=lab.inventory)
    said.append(gvisor_nodes("rollback", *limit, inventory=lab.inventory))
    gvisor_nodes("apply", *wish(AFTER), *limit, inventory=lab.inventory)
    return said


def take_away(lab, node):
    if node.run(f"test -e {BASE} -o -e {JOURNAL}", check=False).returncode == 0:
        removed = gvisor_nodes("remove", "--yes", "--limit", node.name, inventory=lab.inventory)
        assert 0 == removed.rc, removed.stderr


@pytest.fixture
def node(lab, too_early):
    """The first node, as the test before left it."""
    return lab.nodes[0]


@pytest.fixture
def nothing(lab, node):
    """No gVisor is on the node."""
    take_away(lab, node)


@pytest.fixture
def do(lab, node):
    """Run a command on the node; the row of the host, after its exit code was looked at."""

    def run(*arguments, rc=0):
        answer = gvisor_nodes(*arguments, "--limit", node.name, inventory=lab.inventory)
        assert rc == answer.rc, answer.stderr
        return answer.host(node)

    return run


@pytest.fixture
def stand(lab, node, do):
    """``stand(a, b)``: these generations are on the node, ``b`` is current and ``a`` was before it; returns their numbers.

    There may be others of the usual ones, where all that is wanted is usual.
    """

    def make(*wanted):
        may_be = {*wanted, *USUAL} if {*wanted} <= {*USUAL} else {*wanted}
        if {*lately(node).values()} - may_be:
            take_away(lab, node)
        there = tuple(lately(node).values())
        done = next(n for n in range(len(wanted), -1, -1) if there[len(there) - n :] == wanted[:n])
        for generation in wanted[done:]:
            do("apply", *wish(generation))
        numbers = {generation: number for number, generation in lately(node).items()}
        return [numbers[generation] for generation in wanted]

    return make


def lately(node):
    """The generations of the node by their numbers, in the order in which they were current last."""
    if node.run(f"test -e {JOURNAL}", check=False).returncode:
        return {}
    known = journal(node)["generations"]
    made = {number: known["made"][number] for number in [*reversed(known["history"]), known["current"]]}
    return {
        number: (one["release"], *(flag.removeprefix("--") for flag in one["flags"].split()))
        for number, one in made.items()
    }


def journal(node):
    return json.loads(node.read(JOURNAL))


def wish(generation):
    release, *flags = generation
    return ["--release", release, *(word for flag in flags for word in ("--flag", flag))]


@pytest.fixture
def pods(node):
    with Pods(node) as pods:
        yield pods
        pods.clear()


def steps(host):
    return [step["step"] for step in host["steps"]]


def age(node, number):
    node.run(AGE % number, check=True)


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


def test_a_rollback_that_cannot_be_is_refused_and_changes_nothing(do, node, lab, too_early, stand, tmp_path):
    assert [4, 4] == [answer.rc for answer in too_early]
    without, alone = (json.dumps(answer.host(node)) for answer in too_early)
    assert "not installed" in without
    assert "there is no generation to go back to" in alone

    old, _ = stand(BEFORE, AFTER)
    node.run(f"truncate -s 1000 {BASE}/releases/{OLD}/runsc", check=True)
    before = snapshot(node)
    refused = json.dumps(do("rollback", rc=4))
    assert f"release {OLD} of generation {old} cannot be trusted" in refused
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

    # What the remedy says, done: the release is placed anew.
    assert "proved" == do("apply", *wish(BEFORE))["proof"]
    assert old == current(node)


def test_a_rollback_whose_proof_fails_puts_back_what_was_there(do, node, stand):
    _, here = stand(AFTER, BEFORE)
    shim = f"{BASE}/releases/{NEW}/containerd-shim-runsc-v1"
    # Damaged so that only running it tells: same size, same time, same mode.
    node.run(
        f"cp -p {shim} /root/shim && printf 'x%.0s' $(seq 64) | dd of={shim} conv=notrunc status=none"
        f" && touch -r /root/shim {shim}",
        check=True,
    )
    host = do("rollback", rc=3)
    assert "proof" in {step["step"] for step in host["steps"] if step["status"] == "failed"}
    assert f"generation {here} is current again" in {step["message"] for step in host["steps"]}
    assert here == current(node)
    assert ["probe", "report"] == steps(do("apply", *wish(BEFORE)))

    node.run(f"cp -p /root/shim {shim} && rm /root/shim", check=True)
    assert "proved" == do("rollback")["proof"]


@pytest.mark.feature("J3")
def test_a_rollback_is_one_rename_proved_and_sealed_and_twice_it_goes_forward(do, node, lab, stand):
    old, new = stand(BEFORE, AFTER)
    before = starts(node)

    planned = do("rollback", "--check", "--diff")
    assert [f"generation {old}", "a sandbox that starts"] == [change["what"] for change in planned["changes"]]
    assert new == current(node)

    host = do("rollback")
    assert (old, OLD, "proved", 0) == (current(node), host["release"], host["proof"], host["restarts"])
    assert 4 == host["round_trips"]
    sealed = journal(node)["sealed"]
    assert (OLD, int(old)) == (sealed["release"], sealed["generation"])
    assert "--net-raw=true" in sealed["flags"]

    # The inventory wants something else, and says so; who wants what was gone back to has nothing to do.
    planned = do("plan")
    assert [f"generation {new}", "a sandbox that starts"] == [change["what"] for change in planned["changes"]]
    assert ["probe", "report"] == steps(do("apply", *wish(BEFORE)))

    program = Path(sys.executable).with_name("ansible-playbook")
    named = ["-e", f"runsc_rollback_generation={new}", str(PLAYBOOKS / "rollback.yml")]
    argv = [str(program), "-i", str(lab.inventory), "--limit", node.name, *named]

    def play():
        return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=PLAYBOOKS.parent, timeout=300)

    done = play()
    assert (0, new) == (done.returncode, current(node)), done.stdout
    assert "changed=0" in play().stdout
    assert ["probe", "report"] == steps(do("rollback", "--to", new))
    assert before == starts(node)


@pytest.mark.feature("A12")
@pytest.mark.feature("A13")
@pytest.mark.parametrize(("first", "second"), [UP, DOWN])
def test_a_pods_generation_stays_while_it_runs_and_is_named_even_when_somebody_deleted_it(
    do, node, pods, stand, first, second
):
    _, one = stand(second, first)
    before = starts(node)
    pod = pods.run("runsc", "cart", namespace="shop")
    container = pod.start_container("main")

    switched = do("apply", *wish(second))
    two = current(node)
    assert one != two
    assert ("proved", 0) == (switched["proof"], switched["restarts"])

    # The pod goes on in the old release, with new containers too; a new pod has the new one.
    assert f"{BASE}/releases/{first[0]}/runsc" == node.run(f"readlink /proc/{pod.pid()}/exe").stdout.strip()
    later = pod.start_container("later")
    assert (0, 0) == (pod.exec(container, ["true"]).code, pod.exec(later, ["true"]).code)
    other = pods.run("runsc", "till", namespace="shop")
    assert f"{BASE}/releases/{second[0]}/runsc" == node.run(f"readlink /proc/{other.pid()}/exe").stdout.strip()

    planned = do("plan", *wish(second))
    assert not planned["needed"]
    assert [("shop", "cart", one, first[0], "")] == [
        (each["namespace"], each["name"], each["generation"], each["release"], each["note"]) for each in planned["pods"]
    ]
    node.run(f"mv {BASE}/generations/{one} /root/deleted", check=True)
    try:
        (affected,) = do("plan", *wish(second))["pods"]
    finally:
        node.run(f"mv /root/deleted {BASE}/generations/{one}", check=True)
    assert ("cart", one, first[0]) == (affected["name"], affected["generation"], affected["release"])
    assert "its generation is not on the node" in affected["note"]
    assert {one: 1, two: 1} == do("status", *wish(second))["pods"]
    other.remove()

    # Neither current nor the one to go back to any more; old enough; but the pod needs it.
    third = (second[0], "panic-signal=12")
    do("apply", *wish(third))
    age(node, one)
    kept = {each["generation"]: each["kept"] for each in do("generations")["generations"]}
    assert {current(node): "current", two: "kept for a rollback", one: "1 pod needs it"}.items() <= kept.items()
    again = do("apply", *wish(third))
    assert (["probe", "report"], 1) == (steps(again), again["round_trips"])
    assert 0 == pod.exec(container, ["true"]).code
    assert before == starts(node)
    pod.remove()
    wait_until_nothing_runs(node, first[0])


@pytest.mark.feature("A13")
def test_a_pod_that_starts_after_the_plan_keeps_what_the_plan_called_unused(do, node, stand):
    """The node looks again: here the record appears while the controller only knows its own probe."""
    unused, _, _ = stand(BEFORE, AFTER, LATER)
    age(node, unused)
    # Between the probe under the lease and the collection, which are two calls: the bundle comes with the seal's write.
    bundle = "/run/containerd/io.containerd.runtime.v2.task/k8s.io/late"
    wait = f"until [ -e /run/gvisor-nodes/lease.json ]; do sleep 0.02; done; mkdir -p {bundle}"
    record = f"echo {unused} > {bundle}/.gvisor-nodes-generation"
    node.run(f"timeout 100 sh -c '{wait}; {record}' >/dev/null 2>&1 & :", check=True)
    try:
        host = do("apply", *wish(LATER))
        assert unused in listed(node, "generations")
        assert OLD in listed(node, "releases")
        collect = [step for step in host["steps"] if step["step"] == "collect"]
        assert not collect or "a pod needs it" in collect[0]["message"]
    finally:
        node.run(f"rm -r {bundle}", check=True)


@pytest.mark.feature("A13")
@pytest.mark.parametrize(("first", "second"), [UP, DOWN])
def test_a_generation_and_its_release_are_collected_when_nothing_needs_them(do, node, stand, first, second):
    third = (second[0], "panic-signal=12")
    one, two, three = stand(first, second, third)
    age(node, one)
    before = starts(node)

    planned = do("plan", *wish(third))
    assert [f"generation {one}", f"release {first[0]}"] == [change["what"] for change in planned["changes"]]
    assert not planned["restart"]
    filled = size(node)
    checked = do("apply", "--check", "--diff", *wish(third))
    assert "collect" in steps(checked)
    assert {one, two, three} == set(listed(node, "generations"))

    collected = do("apply", *wish(third))
    assert "changed" == collected["outcome"]
    assert not {"proof", "seal", "containerd", "release"} & set(steps(collected))
    assert 3 == collected["round_trips"]
    assert {two, three} == set(listed(node, "generations"))
    assert [second[0]] == listed(node, "releases")
    assert filled - size(node) > 50_000
    assert 0 == node.run("test ! -e /run/gvisor-nodes/lease.json").returncode
    assert ["probe", "report"] == steps(do("apply", *wish(third)))
    assert before == starts(node)


@pytest.mark.feature("H5")
@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_a_rollback_killed_at_any_step_is_done_or_undone_by_the_next_run(do, node, nothing, fragile):  # noqa: F811
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
        sealed = journal(node)["sealed"]
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
def test_a_collection_killed_at_any_step_is_finished_by_the_next_apply(do, node, nothing, fragile, bare):  # noqa: F811
    limit = ("--limit", node.name)
    step, killed = 0, True
    while killed:
        for arguments in (("--release", OLD), (), ("--flag", "net-raw=true")):
            do("apply", *arguments)
        age(node, "1")
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
        assert [] == difference(bare, snapshot(node)), step
        step += 1

    assert step > 8
