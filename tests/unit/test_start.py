"""`make start` and the example that it is tried with."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml
from gardener_objects import README_CONTAINER_RUNTIME

ROOT = Path(__file__).parents[2]


@pytest.fixture
def start(tmp_path):
    """Starts it on a kubeconfig that leads nowhere; returns how it ended."""

    def run(name="kubeconfig", **variables):
        environment = {**os.environ, "KUBECONFIG": str(tmp_path / name), **variables}
        return subprocess.run(
            [ROOT / "scripts" / "start"], env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    (tmp_path / "kubeconfig").write_text("{}")
    return run


def test_without_a_kubeconfig_it_names_the_command_that_makes_a_cluster(start):
    ended = start("nothing")

    assert 2 == ended.returncode
    assert "nothing" in ended.stderr
    assert "gvisor-nodes lab cluster up" in ended.stderr


def test_another_mode_is_refused_with_those_that_there_are(start):
    ended = start(MODE="seed")

    assert 2 == ended.returncode
    assert "mode should be one of 'gardener' or 'standalone'" in ended.stderr


def test_the_example_is_the_one_that_users_of_upstream_know():
    ours = yaml.safe_load((ROOT / "examples" / "containerruntime.yaml").read_text(encoding="utf-8"))

    assert yaml.safe_load(README_CONTAINER_RUNTIME) == ours
