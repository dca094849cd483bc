"""The same playbooks on a plain directory as the host's root, and the driver's verdict with the real binary's list."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from command import gvisor_nodes

PLAYBOOKS = Path(__file__).parents[2] / "playbooks"


# The smaller of the releases; it supports a driver that the later one dropped.
RELEASE, LATER = "20260224.0", "20260905.0"
DROPPED = "570.86.15"  # the last release that lists it is 20260406
COPIED = ("etc", "opt", "var")


@pytest.fixture(scope="module")
def root(lab, tmp_path_factory):
    """The root file system of a node, as a directory of this machine."""
    lab.ensure_release(RELEASE)
    directory = tmp_path_factory.mktemp("rootfs")
    names = ["--exclude=proc/*", "--exclude=sys/*", "--exclude=usr/share/*", "--exclude=opt/*", "--exclude=run/*"]
    with subprocess.Popen([lab.engine.name, "export", lab.nodes[0].name], stdout=subprocess.PIPE) as export:
        subprocess.run(["tar", "-x", "-C", str(directory), *names], stdin=export.stdout, check=True)
    assert 0 == export.returncode
    return directory


@pytest.fixture(scope="module")
def new_root(root, tmp_path_factory):
    """Make another such root: what nobody writes to is the same files, what an installation changes are copies."""
    place = tmp_path_factory.mktemp("roots")

    def make(name):
        copy = place / name
        subprocess.run(["cp", "-al", str(root), str(copy)], check=True)
        for part in COPIED:
            shutil.rmtree(copy / part)
            subprocess.run(["cp", "-a", str(root / part), str(copy / part)], check=True)
        return copy

    return make


@pytest.fixture(scope="module")
def inventory_of(lab, tmp_path_factory):
    """Write an inventory of roots by the names of their hosts; return its path."""
    variables = yaml.safe_load(lab.inventory.read_text())["all"]["vars"]
    common = {name: value for name, value in variables.items() if name.startswith("runsc_")}
    common.update(ansible_connection="local", ansible_python_interpreter=sys.executable, runsc_release=RELEASE)

    def write(**roots):
        hosts = {name: {"node_host_root": os.path.realpath(root)} for name, root in roots.items()}
        path = tmp_path_factory.mktemp("inventory") / "inventory.yml"
        path.write_text(yaml.safe_dump({"all": {"hosts": hosts, "vars": common}}))
        return path

    return write


def tree(root):
    argv = "find etc opt var usr/local -printf '%p %y %m %U %G %l\n' | sort; find etc opt var -type f | sort | xargs -d '\n' sha256sum"
    return subprocess.run(["sh", "-c", argv], cwd=root, check=True, capture_output=True, text=True).stdout


def driver(root, version, *, module=None, params=True):
    """What the driver of a GPU host says of itself, in the tree."""
    for path, text in {
        "proc/driver/nvidia/version": f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}  Thu Oct 19 2023\n",
        "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: Tesla T4\n",
        "proc/driver/nvidia/params": "ModifyDeviceFiles: 1\n",
        "sys/module/nvidia/version": f"{module or version}\n",
        "dev/nvidiactl": "",
        "dev/nvidia-uvm": "",
    }.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    if not params:
        (root / "proc/driver/nvidia/params").unlink()


@pytest.fixture(scope="module")
def supported(lab):
    """The drivers that the real binary lists."""
    runsc = lab.releases.directory / f"{RELEASE}/x86_64/runsc"
    listed = subprocess.run([runsc, "nvproxy", "list-supported-drivers"], check=True, capture_output=True, text=True)
    return listed.stdout.split()


@pytest.fixture(scope="module")
def gpus(supported, new_root, inventory_of):
    """What nvproxy came to on hosts with a driver each, in one run: the answer, their roots, their trees before."""
    drivers = {
        "oldest": {"version": supported[0]},
        "newest": {"version": supported[-1]},
        "unknown": {"version": "999.999.99"},
        "pending": {"version": "570.172.08", "module": "580.65.06"},
        "unread": {"version": "570.172.08", "params": False},
        "dropped": {"version": DROPPED},
    }
    roots = {name: new_root(name) for name in drivers}
    before = {name: tree(root) for name, root in roots.items()}
    for name, said in drivers.items():
        driver(roots[name], **said)
    answer = gvisor_nodes("apply", "--flag", "nvproxy=true", inventory=inventory_of(**roots))
    assert 4 == answer.rc, answer.stderr
    assert drivers.keys() == answer.hosts.keys()
    return answer, roots, before


def refused_step(answer, host):
    return next(step for step in answer.hosts[host]["steps"] if step["status"] == "refused")


def test_a_plain_directory_is_installed_into_and_cleaned_to_the_byte(root, inventory_of):
    inventory = inventory_of(tree=root)
    before = tree(root)
    first = gvisor_nodes("apply", inventory=inventory)

    assert 0 == first.rc, first.stderr
    assert 0 == first.hosts["tree"]["restarts"]
    assert "gvisor-nodes" in (root / "etc/containerd/config.toml").read_text()
    assert (root / "opt/gvisor-nodes/current").exists()
    assert "ok" == gvisor_nodes("apply", inventory=inventory).hosts["tree"]["outcome"]
    removed = gvisor_nodes("remove", "--yes", inventory=inventory)
    assert 0 == removed.rc, removed.stderr
    assert before == tree(root)


@pytest.mark.feature("E6")
def test_the_drivers_verdict_comes_from_the_real_binarys_own_list(supported, gpus):
    answer, roots, before = gpus
    for host in ("oldest", "newest"):
        assert "changed" == answer.hosts[host]["outcome"], answer.stderr
        assert not any("NVIDIA" in text for text in answer.hosts[host]["warnings"])

    bad = refused_step(answer, "unknown")

    assert "nvproxy" == bad["step"]
    assert f"unknown to runsc {RELEASE}" in bad["message"]
    assert supported[-1] in bad["message"]
    assert before["unknown"] == tree(roots["unknown"])


@pytest.mark.feature("E6")
@pytest.mark.feature("E7")
def test_a_pending_reboot_and_unreadable_parameters_are_refused_before_anything(gpus):
    answer, roots, before = gpus
    pending, unread = (refused_step(answer, host) for host in ("pending", "unread"))

    assert ("preflight", "preflight") == (pending["step"], unread["step"])
    assert "570.172.08, but the module's own version is 580.65.06" in pending["message"]
    assert "reboot the node" in pending["remedy"]
    assert "/proc/driver/nvidia/params cannot be read" == unread["message"]
    for host in ("pending", "unread"):
        assert before[host] == tree(roots[host])


@pytest.mark.feature("E8")
def test_a_switch_that_would_drop_the_driver_is_refused_and_told_before_and_a_host_without_a_gpu_passes(
    root, gpus, inventory_of
):
    answer, roots, _ = gpus
    assert "changed" == answer.hosts["dropped"]["outcome"], answer.stderr
    inventory = inventory_of(dropped=roots["dropped"], plain=root)
    before = tree(roots["dropped"])

    def gpu(*arguments):
        return gvisor_nodes(*arguments, "--limit", "dropped", inventory=inventory)

    checked = gvisor_nodes("drivers", "check", "--release", LATER, "--release", RELEASE, inventory=inventory)
    assert 3 == checked.rc
    assert [LATER] == checked.hosts["dropped"]["loses_support_by"]
    assert [(RELEASE, "supported", "node"), (LATER, "known-unsupported", "controller")] == [
        (row["release"], row["verdict"], row["basis"]) for row in checked.hosts["dropped"]["releases"]
    ]
    plain = checked.hosts["plain"]
    assert ("ok", "", [], []) == tuple(plain[name] for name in ("outcome", "driver", "releases", "loses_support_by"))

    planned = gpu("plan", "--release", LATER, "--flag", "nvproxy=true")
    kept = refusal(gpu("apply", "--release", LATER, "--flag", "nvproxy=true"))
    silent = refusal(gpu("apply", "--release", LATER))

    warnings = planned.hosts["dropped"]["warnings"]
    assert f"probably does not support this node's NVIDIA driver {DROPPED}" in warnings[0]
    assert f"runsc {RELEASE}, which is in use, supports it" == kept["cause"]
    assert f"choose a gVisor release that supports {DROPPED} ({RELEASE}" in kept["remedy"]
    assert f"would drop this node's NVIDIA driver {DROPPED}" in silent["message"]
    assert before == tree(roots["dropped"])


@pytest.mark.exhaustive
@pytest.mark.feature("E8")
def test_who_gives_the_gpu_up_may_switch_and_the_plan_knows_then_what_the_release_on_the_node_supports(
    new_root, inventory_of
):
    root = new_root("given-up")
    driver(root, DROPPED)
    inventory = inventory_of(dropped=root)

    def gpu(*arguments):
        return gvisor_nodes(*arguments, inventory=inventory)

    assert 0 == gpu("apply", "--flag", "nvproxy=true").rc
    given_up = gpu("apply", "--release", LATER, "--flag", "nvproxy=false")
    assert 0 == given_up.rc, given_up.stderr
    assert any("GPU containers in new pods would fail" in text for text in given_up.hosts["dropped"]["warnings"])
    again = gpu("apply", "--release", RELEASE, "--flag", "nvproxy=true")
    assert 0 == again.rc, again.stderr
    back = refusal(gpu("apply", "--release", LATER, "--flag", "nvproxy=true"))
    assert "preflight" == back["step"]  # its binary is on the node now, so the plan knows


def refusal(answer):
    assert 4 == answer.rc, answer.stderr
    return refused_step(answer, "dropped")


@pytest.mark.feature("E5")
def test_a_plain_ansible_playbook_prints_what_is_warned_of_with_its_host(root, inventory_of):
    program = Path(sys.executable).with_name("ansible-playbook")
    argv = [program, "-i", inventory_of(tree=root), "-e", "runsc_release=20260817.0", PLAYBOOKS / "preflight.yml"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=PLAYBOOKS.parent, timeout=300)

    assert 0 == done.returncode, done.stdout
    assert "tree: the shim of gVisor 20260817.0 can hang in rare cases" in " ".join(done.stderr.split())
