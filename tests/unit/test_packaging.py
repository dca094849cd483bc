"""The wheel holds everything that the command line needs, and works where there is no checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTENT = "orchestrator/_ansible"


def run(*command, **options):
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=300, **options)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout, built with what is installed: nothing is fetched for it."""
    directory = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", directory, cwd=ROOT)
    (found,) = directory.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def names(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def published(*patterns):
    """What the checkout has, less what Python and editors leave."""
    return {
        path.relative_to(ROOT).as_posix()
        for pattern in patterns
        for path in ROOT.glob(pattern)
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_playbooks_roles_inventories_and_the_configuration_travel_in_the_wheel(names):
    files = published("playbooks/**/*", "roles/**/*", "inventories/**/*", "ansible.cfg")

    assert {"playbooks/install.yml", "roles/node/library/gvisor_probe.py", "ansible.cfg"} <= files
    assert {f"{CONTENT}/{name}" for name in files} == {name for name in names if name.startswith(f"{CONTENT}/")}


def test_the_package_is_complete_with_its_data(names):
    files = published("orchestrator/**/*")

    assert files <= set(names)
    assert {"orchestrator/py.typed", "orchestrator/cri/runtime.proto", "orchestrator/gvisor/releases.json"} <= files


def test_nothing_else_is_in_the_wheel(names):
    others = {name.split("/")[0] for name in names} - {"orchestrator"}

    assert [name for name in names if name.endswith(".pyc")] == []
    assert len(others) == 1
    assert others.pop().endswith(".dist-info")


def test_the_licences_of_everything_in_the_wheel_travel_with_it(names):
    licences = {name.split("/licenses/")[1] for name in names if "/licenses/" in name}

    assert {"LICENSE", "NOTICE", "LICENSES/GPL-3.0-or-later.txt"} == licences


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A virtual environment outside the checkout with the wheel and the locked versions of what it needs."""
    environment = tmp_path_factory.mktemp("installed") / "venv"
    uv = Path(sys.executable).with_name("uv")
    run(uv, "venv", "--quiet", "--python", sys.executable, environment)
    python = environment / "bin" / "python"
    requirements = ROOT / "requirements" / "run.txt"
    run(uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", requirements)
    run(uv, "pip", "install", "--quiet", "--python", python, "--no-deps", "--offline", wheel)
    return environment / "bin" / "gvisor-nodes"


@pytest.fixture
def elsewhere(tmp_path):
    """A working directory and an environment in which nothing leads to the checkout."""
    environment = {"PATH": os.defpath, "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    return {"cwd": tmp_path, "env": environment}


@pytest.mark.slow
@pytest.mark.feature("J2")
def test_installed_from_the_wheel_the_command_line_runs_the_playbooks_that_came_with_it(installed, elsewhere):
    root = elsewhere["cwd"] / "host"
    root.mkdir()
    host = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "node_host_root": str(root),
    }
    inventory = elsewhere["cwd"] / "hosts.json"
    inventory.write_text(json.dumps({"all": {"hosts": {"here": host}}}), encoding="utf-8")

    done = subprocess.run(
        [installed, "plan", "-i", inventory, "-o", "json"], capture_output=True, text=True, check=False, **elsewhere
    )
    answer = json.loads(done.stdout)

    assert (done.returncode, [host["host"] for host in answer["hosts"]]) == (4, ["here"]), done.stderr
    assert "there is no containerd on the node" in [refusal["what"] for refusal in answer["hosts"][0]["refusals"]]
    assert list(root.iterdir()) == []


@pytest.mark.slow
def test_installed_from_the_wheel_nothing_of_the_tests_is_needed(installed, elsewhere):
    assert "gvisor-nodes" in run(installed, "--version", **elsewhere)
    assert "apply" in run(installed, "--help", **elsewhere)
    assert "20260817.0" in run(installed, "releases", "list", **elsewhere)
