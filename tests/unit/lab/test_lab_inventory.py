from pathlib import Path

import pytest
import yaml

from orchestrator.lab.artifacts import LabReleases
from orchestrator.lab.engine import docker
from orchestrator.lab.inventory import render_inventory
from orchestrator.lab.node import LabNode

STATE = Path("/state of/lab")


@pytest.fixture
def nodes():
    return [LabNode(f"n{port}", port, docker(), STATE / "id", STATE / "known_hosts") for port in (2201, 2202)]


def render(nodes, user="root"):
    releases = LabReleases(Path("/cache"), patched=False, architecture="x86_64")
    return render_inventory(nodes, release="20260905.0", releases=releases, user=user, identity=STATE / "id")


def test_same_input_same_text(nodes):
    assert render(nodes) == render(nodes)


def test_hosts_are_reached_on_loopback_with_host_keys_that_must_match(nodes):
    inventory = yaml.safe_load(render(nodes))["all"]

    assert {name: host["ansible_port"] for name, host in inventory["hosts"].items()} == {"n2201": 2201, "n2202": 2202}
    assert "StrictHostKeyChecking=yes" in inventory["vars"]["ansible_ssh_common_args"]
    assert "'UserKnownHostsFile=/state of/lab/known_hosts'" in inventory["vars"]["ansible_ssh_common_args"]


def test_release_names_stay_text_and_artifacts_are_named(nodes):
    variables = yaml.safe_load(render(nodes))["all"]["vars"]

    assert variables["runsc_release"] == "20260905.0"
    assert variables["runsc_artifacts_directory"] == "/cache"
    assert variables["runsc_releases_files"] == ["/cache/releases.json"]


def test_others_than_root_become_root(nodes):
    assert "ansible_become" not in yaml.safe_load(render(nodes))["all"]["vars"]
    assert yaml.safe_load(render(nodes, user="operator"))["all"]["vars"]["ansible_become"] is True
