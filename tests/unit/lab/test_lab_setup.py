"""``make setup`` says exactly what is missing where it may not or cannot install it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[3] / "scripts" / "setup"


@pytest.fixture
def checkout(tmp_path):
    """A copy of the script beside its inputs, and a PATH that holds the system's tools and what a test puts there."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "requirements").mkdir()
    (tmp_path / "bin").mkdir()
    shutil.copy(SETUP, tmp_path / "scripts/setup")
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "requirements/dev.txt").touch()
    return tmp_path


def program(checkout, name, text):
    path = checkout / "bin" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def setup(checkout, **variables):
    environment = {"PATH": f"{checkout}/bin:/usr/bin:/bin", "HOME": str(checkout), **variables}
    return subprocess.run([checkout / "scripts/setup"], env=environment, capture_output=True, text=True, check=False)


def everything_installed(checkout):
    program(checkout, "dpkg-query", 'shift 2; for package; do echo "$package installed"; done')
    program(checkout, "go", "echo go1.26.8")


def ready(checkout):
    """What a finished setup leaves, so that nothing is downloaded."""
    (checkout / ".venv/bin").mkdir(parents=True)
    (checkout / ".venv/bin/gvisor-nodes").touch(mode=0o755)
    paths = ("scripts/setup", "pyproject.toml", "requirements/dev.txt")
    content = b"".join((checkout / path).read_bytes() for path in paths)
    digest = subprocess.run(["sha256sum"], input=content, capture_output=True, check=True).stdout
    (checkout / ".venv/.setup-stamp").write_bytes(digest)


def test_when_nothing_changed_it_does_nothing_and_says_nothing(checkout):
    everything_installed(checkout)
    ready(checkout)

    done = setup(checkout)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_root_the_command_that_installs_what_is_missing_is_printed_and_it_fails(checkout):
    everything_installed(checkout)
    program(checkout, "dpkg-query", 'shift 2; for package; do [ $package = runc ] || echo "$package installed"; done')
    program(checkout, "id", "echo 1000")

    done = setup(checkout)

    assert done.returncode == 1
    assert "these packages are missing: runc\n" in done.stderr
    assert "sudo apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends runc\n" in done.stderr


def test_a_package_that_was_removed_but_not_purged_is_missing(checkout):
    everything_installed(checkout)
    program(checkout, "dpkg-query", 'shift 2; for package; do echo "$package config-files"; done')
    program(checkout, "id", "echo 1000")

    assert "podman runc netavark" in setup(checkout).stderr


def test_with_docker_podman_is_not_asked_for(checkout):
    everything_installed(checkout)
    program(checkout, "dpkg-query", "true")
    program(checkout, "id", "echo 1000")

    missing = setup(checkout, GVISOR_NODES_LAB_ENGINE="docker").stderr

    assert "debootstrap" in missing
    assert "podman" not in missing


@pytest.mark.parametrize(("version", "found"), [("", "none"), ("go1.19.8", "1.19.8"), ("go1.9", "1.9")])
def test_a_missing_or_old_go_is_an_error_that_says_how_to_get_it(checkout, version, found):
    everything_installed(checkout)
    program(checkout, "go", f"echo {version}")

    done = setup(checkout)

    assert done.returncode == 1
    assert f"found: {found}" in done.stderr
    assert "go.dev/doc/install" in done.stderr


def test_without_a_new_enough_python_and_without_uv_both_ways_are_named(checkout):
    everything_installed(checkout)
    for name in ("python3.14", "python3.13", "python3.12", "python3", "python"):
        program(checkout, name, "exit 1")

    done = setup(checkout)

    assert done.returncode == 1
    assert "apt-get install python3 python3-venv" in done.stderr
    assert "uv" in done.stderr


def test_a_python_of_pyenv_is_found_when_path_has_none(checkout):
    everything_installed(checkout)
    for name in ("python3.14", "python3.13", "python3.12", "python3", "python"):
        program(checkout, name, "exit 1")
    versions = checkout / ".pyenv/versions"
    (versions / "3.12.9/bin").mkdir(parents=True)
    shutil.copy(checkout / "bin/go", versions / "3.12.9/bin/python3")
    python = versions / "3.12.9/bin/python3"
    python.write_text('#!/bin/sh\ncase $1 in -m) echo "venv made"; exit 7;; esac\n')

    done = setup(checkout)

    assert done.returncode == 7
    assert f"make .venv with {python}" in done.stderr


def test_the_script_is_executable():
    assert os.access(SETUP, os.X_OK)
