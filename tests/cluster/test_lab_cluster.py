"""A seed and a shoot of the lab, with Gardener's real resource manager between them."""

import base64
import json
import os
import secrets
import signal
import socket
import subprocess
import sys

import pytest
from kinds import CONFIG_MAPS, NAMESPACES, SECRETS
from patience import eventually

from orchestrator.api import managed_resource
from orchestrator.errors import GvisorNodesError
from orchestrator.kube.api_error import AbsentError
from orchestrator.kube.client import Client
from orchestrator.kube.credentials import from_file
from orchestrator.kube.resource import Resource
from orchestrator.kube.shoot_credentials import shoot_credentials
from orchestrator.lab import background
from orchestrator.lab.cluster import Cluster
from orchestrator.lab.paths import cache_directory, cluster_directory
from orchestrator.lab.ports import LOOPBACK
from orchestrator.lab.process import Identity

CLUSTERS = Resource("extensions.gardener.cloud", "v1alpha1", "clusters", "Cluster", namespaced=False)
CONTAINER_RUNTIMES = Resource("extensions.gardener.cloud", "v1alpha1", "containerruntimes", "ContainerRuntime")
MANAGED_RESOURCES = Resource("resources.gardener.cloud", "v1alpha1", "managedresources", managed_resource.KIND)
RUNTIME_CLASSES = Resource("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", namespaced=False)
DAEMON_SETS = Resource("apps", "v1", "daemonsets", "DaemonSet")
ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(scope="module")
def watched(lab):
    """The namespaces that the resource manager of this module looks after: of one for each test."""
    return [f"shoot--test--{number}" for number in range(8)]


@pytest.fixture(scope="module")
def manager(lab, watched):
    with lab.resource_manager(watched) as running:
        yield running


@pytest.fixture(scope="module")
def seed(lab):
    with Client(from_file(lab.seed.kubeconfig_file)) as one:
        yield one


@pytest.fixture(scope="module")
def shoot(lab):
    with Client(from_file(lab.shoot.kubeconfig_file)) as one:
        yield one


@pytest.fixture
def place(manager, seed, watched):
    """A namespace of the test's own, which the resource manager looks after."""
    name = watched.pop()
    seed.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


@pytest.fixture
def name():
    return f"test-{secrets.token_hex(4)}"


def is_there(client, kind, name, namespace=""):
    try:
        client.get(kind, name, namespace)
    except AbsentError:
        return False
    return True


def runtime_class(name):
    return {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": name}, "handler": "runsc"}


def apply(seed, place, *objects, **spec):
    """Make a ManagedResource that holds objects."""
    data = {f"{number}.yaml": encoded(json.dumps(raw)) for number, raw in enumerate(objects)}
    place = {"namespace": place, "name": "mr"}
    seed.create(SECRETS, {"apiVersion": "v1", "kind": "Secret", "metadata": place, "data": data})
    seed.create(
        MANAGED_RESOURCES,
        {
            "apiVersion": managed_resource.API_VERSION,
            "kind": managed_resource.KIND,
            "metadata": place,
            "spec": {"secretRefs": [{"name": "mr"}], **spec},
        },
    )


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def test_what_a_managed_resource_in_the_seed_holds_comes_into_the_shoot_and_goes_with_it(seed, shoot, place, name):
    apply(seed, place, runtime_class(name))
    eventually(lambda: is_there(shoot, RUNTIME_CLASSES, name))
    assert not is_there(seed, RUNTIME_CLASSES, name)

    seed.delete(MANAGED_RESOURCES, "mr", place)

    eventually(lambda: not is_there(seed, MANAGED_RESOURCES, "mr", place))
    assert not is_there(shoot, RUNTIME_CLASSES, name)


def test_objects_that_shall_be_kept_stay_when_their_managed_resource_goes(seed, shoot, place, name):
    apply(seed, place, runtime_class(name), keepObjects=True)
    eventually(lambda: is_there(shoot, RUNTIME_CLASSES, name))

    seed.delete(MANAGED_RESOURCES, "mr", place)

    eventually(lambda: not is_there(seed, MANAGED_RESOURCES, "mr", place))
    assert is_there(shoot, RUNTIME_CLASSES, name)


def test_a_daemon_set_with_privileged_pods_is_accepted_and_does_not_hold_up_its_end(seed, shoot, place, name):
    container = {"name": "c", "image": "none", "securityContext": {"privileged": True}}
    labels = {"app": name}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    raw = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": "kube-system"},
        "spec": {"selector": {"matchLabels": labels}, "template": pod},
    }
    apply(seed, place, raw)
    eventually(lambda: is_there(shoot, DAEMON_SETS, name, "kube-system"))
    # It deletes what it has recorded, and records what it has applied.
    eventually(lambda: seed.get(MANAGED_RESOURCES, "mr", place).get("status", {}).get("resources"))

    seed.delete(MANAGED_RESOURCES, "mr", place)

    eventually(lambda: not is_there(seed, MANAGED_RESOURCES, "mr", place))
    assert not is_there(shoot, DAEMON_SETS, name, "kube-system")


def test_a_resource_manager_that_is_stuck_does_nothing_until_it_goes_on(seed, shoot, manager, place, name):
    with manager.frozen():
        apply(seed, place, runtime_class(name))
        assert not is_there(shoot, RUNTIME_CLASSES, name)

    eventually(lambda: is_there(shoot, RUNTIME_CLASSES, name))


def test_one_that_was_stopped_goes_on_with_what_it_finds(seed, shoot, manager, place, name):
    assert manager.stop()
    apply(seed, place, runtime_class(name))

    manager.start()

    eventually(lambda: is_there(shoot, RUNTIME_CLASSES, name))


def test_namespaces_that_it_was_not_given_are_not_its_business(seed, shoot, manager, place, name):
    other = f"shoot--other--{secrets.token_hex(3)}"
    seed.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    apply(seed, other, runtime_class(f"{name}-other"))
    apply(seed, place, runtime_class(name))

    eventually(lambda: is_there(shoot, RUNTIME_CLASSES, name))

    assert not is_there(shoot, RUNTIME_CLASSES, f"{name}-other")
    assert "finalizers" not in seed.get(MANAGED_RESOURCES, "mr", other)["metadata"]


def test_the_shoot_has_the_controllers_without_which_nothing_goes(shoot, name):
    shoot.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    eventually(lambda: is_there(shoot, ACCOUNTS, "default", name))
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner", "namespace": name}}
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner"}
    reference["uid"] = shoot.create(CONFIG_MAPS, owner)["metadata"]["uid"]
    owned = {"name": "owned", "namespace": name, "ownerReferences": [reference]}
    shoot.create(CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": owned})

    shoot.delete(CONFIG_MAPS, "owner", name)
    eventually(lambda: not is_there(shoot, CONFIG_MAPS, "owned", name))

    shoot.delete(NAMESPACES, name)
    eventually(lambda: not is_there(shoot, NAMESPACES, name))


def test_gardeners_definition_of_a_container_runtime_is_in_force(seed, place):
    raw = {"apiVersion": CONTAINER_RUNTIMES.api_version, "kind": "ContainerRuntime"}
    raw["metadata"] = {"name": "bad", "namespace": place}
    raw["spec"] = {"type": "gvisor"}

    with pytest.raises(GvisorNodesError, match="binaryPath"):
        seed.create(CONTAINER_RUNTIMES, raw)


def pids(name):
    """The processes that the state of a background cluster names, by where they are named."""
    directory = cluster_directory(name)
    return {str(path.relative_to(directory)): int(path.read_text().split()[0]) for path in directory.rglob("*.pid")}


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Runs the command with a state directory of the test's own; whatever happens, nothing of it stays."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_directory().parents[1]))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def run(*arguments):
        argv = [sys.executable, "-m", "orchestrator.cli.app", "lab", "cluster", *arguments]
        return subprocess.run(argv, capture_output=True, text=True, check=True, cwd=tmp_path)

    yield run
    background.down("lab")


@pytest.mark.slow
def test_a_background_cluster_outlives_its_command_is_mended_by_the_next_and_ends_without_a_trace(command, tmp_path):
    up = command("up")
    before = pids("lab")
    files = {path: path.read_text() for path in sorted((tmp_path / "dev").iterdir())}
    assert up.stdout == "dev/kubeconfig\n"
    assert [path.name for path in files] == ["kubeconfig", "shoot-kubeconfig"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files)
    assert set(before) == {
        "etcd.pid",
        "seed/kube-apiserver.pid",
        "shoot/kube-apiserver.pid",
        "controller-manager/kube-controller-manager.pid",
        "resource-manager-1/gardener-resource-manager.pid",
    }
    with (
        Client(from_file(tmp_path / "dev" / "kubeconfig")) as seed,
        Client(shoot_credentials(seed, background.NAMESPACE)) as shoot,
    ):
        assert seed.get(NAMESPACES, background.NAMESPACE)["metadata"]["labels"]["gardener.cloud/role"] == "shoot"
        assert seed.get(CLUSTERS, background.NAMESPACE)["spec"]["shoot"]["kind"] == "Shoot"
        apply(seed, background.NAMESPACE, runtime_class("gvisor"))
        eventually(lambda: is_there(shoot, RUNTIME_CLASSES, "gvisor"))

        again = command("up")
        assert "runs already" in again.stderr
        assert pids("lab") == before

        killed = {"resource-manager-1/gardener-resource-manager.pid", "etcd.pid"}
        for one in killed:
            os.kill(before[one], signal.SIGKILL)
        eventually(lambda: not any(Identity.of(before[one]) for one in killed))
        assert "is up" in command("up").stderr
        after = pids("lab")
        assert {one for one in before if after[one] != before[one]} == killed
        assert {path: path.read_text() for path in files} == files
        seed.delete(MANAGED_RESOURCES, "mr", background.NAMESPACE)
        eventually(lambda: not is_there(shoot, RUNTIME_CLASSES, "gvisor"))

    assert "is gone" in command("down").stderr

    assert [pid for pid in after.values() if Identity.of(pid)] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state"]
    assert [path for path in (tmp_path / "state").rglob("*") if not path.is_dir()] == []
    assert "there was no cluster" in command("down").stderr


def test_a_port_that_somebody_took_meanwhile_is_told_and_nothing_goes_on_running(tmp_path):
    cluster = Cluster(tmp_path)

    with (
        socket.create_server((LOOPBACK, cluster.seed.port)),
        pytest.raises(GvisorNodesError, match="kube-apiserver does not start") as caught,
        cluster,
    ):
        pass

    assert "address already in use" in caught.value.why
    assert list(tmp_path.rglob("*.pid")) == []
