"""Cases 77 to 79: the inventory of a pool, asked of a seed and its Shoot by the command that people type."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from landscape import configuration
from patience import eventually

from orchestrator.controller.kinds import CONFIG_MAPS
from orchestrator.kube.shoot_credentials import SECRETS

POOL = "worker.gardener.cloud/pool"
GROUP = "worker.garden.sapcloud.io/group"
CRI = "worker.gardener.cloud/cri-name"
ZONE = "topology.kubernetes.io/zone"
OF_A = {POOL: "a", GROUP: "a", CRI: "containerd"}


@pytest.fixture
def command(cluster):
    """``gvisor-nodes inventory --cluster …``; returns exit code, the inventory, and what it said of errors."""

    def run(name, kubeconfig=cluster.seed.kubeconfig_file):
        argv = [str(Path(sys.executable).with_name("gvisor-nodes")), "inventory", "--cluster", name, "--output", "json"]
        argv += ["--kubeconfig", str(kubeconfig)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, env=dict(os.environ))
        return done.returncode, json.loads(done.stdout) if done.returncode == 0 else None, done.stderr

    return run


@pytest.fixture
def provided(shoot, controller, viewer):
    """A Shoot after case 6, whose pool's wish is in its API server, with the access that gardenlet keeps."""
    encoded = base64.b64encode(json.dumps(shoot.target_kubeconfig(viewer)).encode()).decode()
    metadata = {"namespace": shoot.namespace, "name": "gardener-internal"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"kubeconfig": encoded}}
    shoot.client.create(SECRETS, secret)

    def provide(**changes):
        with controller():
            shoot.deploy(**changes)
            shoot.await_ready()
            eventually(lambda: wish(shoot), what="the resource manager has not applied it")
        return shoot

    return provide


def wish(shoot):
    return shoot.target.find(CONFIG_MAPS, "gvisor-nodes-a", "kube-system")


@pytest.mark.feature("J6")
def test_case_77_the_nodes_are_those_with_both_labels_of_the_pool_and_containerd(provided, command):
    shoot = provided(spec={"providerConfig": configuration(debug="true")})
    first = shoot.add_node("n1", **OF_A)
    shoot.add_node("n2", **{**OF_A, POOL: "b", GROUP: "b"})
    shoot.add_node("n3", **{POOL: "a", GROUP: "a"})
    shoot.add_node("n4", **{POOL: "a", CRI: "containerd"})
    code, inventory, errors = command(f"{shoot.namespace}/gvisor-a")

    assert 0 == code, errors
    assert [first] == list(inventory["all"]["hosts"])
    assert {"debug": "true"} == inventory["all"]["vars"]["runsc_flags"]
    assert "/var/bin/containerruntimes" == inventory["all"]["vars"]["runsc_directory"]


def test_case_78_expressions_of_the_selector_count(provided, command):
    expression = {"key": ZONE, "operator": "In", "values": ["z1"]}
    labels = {POOL: "a", GROUP: "a"}
    shoot = provided(spec={"workerPool": {"selector": {"matchLabels": labels, "matchExpressions": [expression]}}})
    first = shoot.add_node("n1", **OF_A, **{ZONE: "z1"})
    shoot.add_node("n2", **OF_A, **{ZONE: "z2"})
    shoot.add_node("n3", **OF_A)
    code, inventory, errors = command(f"{shoot.namespace}/gvisor-a")

    assert 0 == code, errors
    assert [first] == list(inventory["all"]["hosts"])


def test_case_79_the_internal_address_counts_then_the_host_name(provided, command):
    shoot = provided()
    both = shoot.add_node("n1", [("Hostname", "h1"), ("ExternalIP", "1.2.3.4"), ("InternalIP", "10.0.0.1")], **OF_A)
    name = shoot.add_node("n2", [("ExternalIP", "1.2.3.4"), ("Hostname", "h2")], **OF_A)
    none = shoot.add_node("n3", [("ExternalIP", "1.2.3.4")], **OF_A)
    code, inventory, errors = command(f"{shoot.namespace}/gvisor-a")

    assert 0 == code, errors
    hosts = inventory["all"]["hosts"]
    assert ("10.0.0.1", "h2") == (hosts[both]["ansible_host"], hosts[name]["ansible_host"])
    assert "ansible_host" not in (hosts[none] or {})


def test_a_pool_without_nodes_and_one_without_a_wish_are_told_apart(provided, command):
    shoot = provided()
    code, _, errors = command(f"{shoot.namespace}/gvisor-a")
    assert (4, True) == (code, "the pool a has no node" in errors)

    # A name of its own: a pool that was migrated by another case has left its wish in the same API server.
    shoot.deploy("unwished", operation="wait-for-state")
    code, _, errors = command(f"{shoot.namespace}/gvisor-unwished")
    assert (1, True) == (code, "there is no ConfigMap kube-system/gvisor-nodes-unwished" in errors)

    code, _, errors = command(f"{shoot.namespace}/gvisor-c")
    assert (4, True) == (code, "gvisor-c" in errors)
    assert 2 == command("gvisor-a")[0]
