"""The same playbooks on a plain directory as the host's root, and the driver's verdict with the real binary's list."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import yaml
from command import gvisor_nodes


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


def driver(root, version):
    for path, text in {
        "proc/driver/nvidia/version": f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}  Thu Oct 19 2023\n",
        "sys/module/nvidia/version": f"{version}\n",
    }.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


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
def test_the_drivers_verdict_comes_from_the_real_binarys_own_list(lab, root, inventory):
    runsc = lab.releases.directory / "20260905.0/x86_64/runsc"
    listed = subprocess.run([runsc, "nvproxy", "list-supported-drivers"], check=True, capture_output=True, text=True)
    supported = listed.stdout.split()
    answers = {}
    for version in (supported[0], supported[-1], "999.99.99"):
        driver(root, version)
        answers[version] = gvisor_nodes("apply", "--flag", "nvproxy=true", inventory=inventory)
        gvisor_nodes("remove", "--yes", inventory=inventory)

    assert [0, 0, 4] == [answer.rc if answer.rc != 3 else 4 for answer in answers.values()]
    bad = next(s for s in answers["999.99.99"].hosts["tree"]["steps"] if s["status"] in {"refused", "failed"})
    assert "nvproxy" == bad["step"]
    assert "unknown to runsc 20260905.0" in bad["message"]
    assert supported[-1] in f"{bad['message']} {bad['remedy']}"
