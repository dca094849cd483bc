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


@pytest.fixture(scope="module")
def root(lab, tmp_path_factory):
    """The root file system of a node, as a directory of this machine."""
    directory = tmp_path_factory.mktemp("rootfs")
    names = ["--exclude=proc/*", "--exclude=sys/*", "--exclude=usr/share/*", "--exclude=opt/*", "--exclude=run/*"]
    with subprocess.Popen([lab.engine.name, "export", lab.nodes[0].name], stdout=subprocess.PIPE) as export:
        subprocess.run(["tar", "-x", "-C", str(directory), *names], stdin=export.stdout, check=True)
    assert 0 == export.returncode
    return directory


@pytest.fixture
def inventory(lab, root, tmp_path):
    variables = yaml.safe_load(lab.inventory.read_text())["all"]["vars"]
    content = {name: value for name, value in variables.items() if name.startswith("runsc_")}
    content.update(
        ansible_connection="local", ansible_python_interpreter=sys.executable, node_host_root=os.path.realpath(root)
    )
    path = tmp_path / "inventory.yml"
    path.write_text(yaml.safe_dump({"all": {"hosts": {"tree": content}}}))
    return path


def tree(root):
    argv = "find etc opt var usr/local -printf '%p %y %m %U %G %l\n' | sort; find etc opt var -type f | sort | xargs -d '\n' sha256sum"
    return subprocess.run(["sh", "-c", argv], cwd=root, check=True, capture_output=True, text=True).stdout


def driver(root, version, *, module=None, params=True):
    """What the driver of a GPU host says of itself, in the tree."""
    nvidia = root / "proc/driver/nvidia"
    shutil.rmtree(nvidia, ignore_errors=True)
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
        (nvidia / "params").unlink()


@pytest.fixture
def gpu(root, inventory):
    """Installs and removes on a tree that then has no driver any more."""

    def run(*arguments):
        return gvisor_nodes(*arguments, inventory=inventory)

    yield run
    run("remove", "--yes")
    for path in ("proc/driver", "sys/module"):
        shutil.rmtree(root / path, ignore_errors=True)


def refusal(answer):
    assert 4 == answer.rc, answer.stderr
    return next(step for step in answer.hosts["tree"]["steps"] if step["status"] == "refused")


def test_a_plain_directory_is_installed_into_and_cleaned_to_the_byte(root, inventory):
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
def test_the_drivers_verdict_comes_from_the_real_binarys_own_list(lab, root, gpu):
    runsc = lab.releases.directory / "20260905.0/x86_64/runsc"
    listed = subprocess.run([runsc, "nvproxy", "list-supported-drivers"], check=True, capture_output=True, text=True)
    supported = listed.stdout.split()
    for version in (supported[0], supported[-1]):
        driver(root, version)
        answer = gpu("apply", "--flag", "nvproxy=true")
        assert 0 == answer.rc, answer.stderr
        assert not any("NVIDIA" in text for text in answer.hosts["tree"]["warnings"])
        gpu("remove", "--yes")

    before = tree(root)
    driver(root, "999.99.99")
    bad = refusal(gpu("apply", "--flag", "nvproxy=true"))

    assert "nvproxy" == bad["step"]
    assert "unknown to runsc 20260905.0" in bad["message"]
    assert supported[-1] in bad["message"]
    assert before == tree(root)


@pytest.mark.feature("E6")
@pytest.mark.feature("E7")
def test_a_pending_reboot_and_unreadable_parameters_are_refused_before_anything(root, gpu):
    before = tree(root)
    driver(root, "570.172.08", module="580.65.06")
    pending = refusal(gpu("apply", "--flag", "nvproxy=true"))
    driver(root, "570.172.08", params=False)
    unread = refusal(gpu("apply", "--flag", "nvproxy=true"))

    assert ("preflight", "preflight") == (pending["step"], unread["step"])
    assert "570.172.08, but the module's own version is 580.65.06" in pending["message"]
    assert "reboot the node" in pending["remedy"]
    assert "/proc/driver/nvidia/params cannot be read" == unread["message"]
    assert before == tree(root)


@pytest.mark.feature("E8")
def test_a_switch_that_would_drop_the_driver_is_refused_and_told_before(lab, root, gpu):
    lab.ensure_release("20260224.0")
    driver(root, "570.86.15")  # the last release that lists it is 20260406
    installed = gpu("apply", "--release", "20260224.0", "--flag", "nvproxy=true")
    assert 0 == installed.rc, installed.stderr
    before = tree(root)

    planned = gpu("plan", "--release", "20260905.0", "--flag", "nvproxy=true")
    checked = gpu("drivers", "check", "--release", "20260905.0", "--release", "20260224.0")
    kept = refusal(gpu("apply", "--release", "20260905.0", "--flag", "nvproxy=true"))
    silent = refusal(gpu("apply", "--release", "20260905.0"))

    assert "probably does not support this node's NVIDIA driver 570.86.15" in planned.hosts["tree"]["warnings"][0]
    assert 3 == checked.rc
    assert ["20260905.0"] == checked.hosts["tree"]["loses_support_by"]
    assert [("20260224.0", "supported", "node"), ("20260905.0", "known-unsupported", "controller")] == [
        (row["release"], row["verdict"], row["basis"]) for row in checked.hosts["tree"]["releases"]
    ]
    assert "runsc 20260224.0, which is in use, supports it" == kept["cause"]
    assert "choose a gVisor release that supports 570.86.15 (20260224.0" in kept["remedy"]
    assert "would drop this node's NVIDIA driver 570.86.15" in silent["message"]
    assert before == tree(root)

    given_up = gpu("apply", "--release", "20260905.0", "--flag", "nvproxy=false")
    assert 0 == given_up.rc, given_up.stderr
    assert any("GPU containers in new pods would fail" in text for text in given_up.hosts["tree"]["warnings"])
    again = gpu("apply", "--release", "20260224.0", "--flag", "nvproxy=true")
    assert 0 == again.rc, again.stderr
    back = refusal(gpu("apply", "--release", "20260905.0", "--flag", "nvproxy=true"))
    assert "preflight" == back["step"]  # its binary is on the node now, so the plan knows


@pytest.mark.feature("E5")
def test_a_plain_ansible_playbook_prints_what_is_warned_of_with_its_host(inventory):
    program = Path(sys.executable).with_name("ansible-playbook")
    argv = [program, "-i", inventory, "-e", "runsc_release=20260817.0", PLAYBOOKS / "preflight.yml"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=PLAYBOOKS.parent, timeout=300)

    assert 0 == done.returncode, done.stdout
    assert "tree: the shim of gVisor 20260817.0 can hang in rare cases" in " ".join(done.stderr.split())


@pytest.mark.feature("E8")
def test_a_host_without_a_gpu_passes_every_check(root, gpu):
    answer = gpu("drivers", "check", "--release", "20260905.0")

    assert 0 == answer.rc, answer.stderr
    assert ("", []) == (answer.hosts["tree"]["driver"], answer.hosts["tree"]["releases"])
