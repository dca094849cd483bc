"""Nodes with real kubelets in a cluster of the lab: they join, run pods, and leave."""

import json
import os
import secrets
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from patience import eventually

from orchestrator.errors import GvisorNodesError
from orchestrator.lab import background
from orchestrator.lab.box import BOX_IMAGE, box_archive
from orchestrator.lab.cluster import Cluster
from orchestrator.lab.cluster_nodes import remove_orphans
from orchestrator.lab.engine import CLUSTER_LABEL, STATE_LABEL, find_engine
from orchestrator.lab.kubelet import PROGRAMS
from orchestrator.lab.paths import cache_directory
from orchestrator.lab.tree import WRITTEN_BY_A_KUBELET, difference, snapshot

pytestmark = pytest.mark.node

RESTART = "nsenter -t 1 -m -u -i -n -p -- systemctl restart containerd && echo restarted > /host/var/tmp/provisioned"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with Cluster(tmp_path_factory.mktemp("cluster"), nodes=True, name="test") as running:
        yield running


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The image of the tests' pods."""
    path = tmp_path_factory.mktemp("image") / "box.tar"
    path.write_bytes(box_archive())
    return path


@pytest.fixture(scope="module")
def nodes(lab, archive):
    """One with containerd 1.7, and one with 2.4."""

    def join(kind):
        node = lab.add_node(kind=kind, labels={"example.org/kind": kind})
        node.load_image(archive)
        return node

    with ThreadPoolExecutor() as both:
        return list(both.map(join, ("debian13", "containerd2")))


@pytest.fixture(params=[0, pytest.param(1, marks=pytest.mark.exhaustive)], ids=["containerd 1.7", "containerd 2.4"])
def node(request, nodes):
    return nodes[request.param]


on_both = pytest.mark.parametrize("node", [0, 1], indirect=True, ids=["containerd 1.7", "containerd 2.4"])
"""For what containerd has a part in; of the rest `make e2e` sees both too."""


@pytest.fixture
def name():
    return f"test-{secrets.token_hex(4)}"


def pod(name, node, command, **spec):
    """A pod on a node."""
    container = {"name": "c", "image": BOX_IMAGE, "imagePullPolicy": "Never", "command": ["sh", "-c", command]}
    container |= spec.pop("container", {})
    spec = {"nodeName": node.name, "restartPolicy": "Never", "terminationGracePeriodSeconds": 0, **spec}
    spec["containers"] = [container]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def apply(lab, raw, condition, server=None):
    """Make an object, and wait for what becomes of it."""
    lab.kubectl("apply", "--filename=-", stdin=json.dumps(raw), server=server)
    what = f"{raw['kind'].lower()}/{raw['metadata']['name']}"
    lab.kubectl("wait", f"--for={condition}", what, "--timeout=120s", server=server)


def run(lab, name, node, command, **spec):
    """Run a pod to its end; return what it said."""
    apply(lab, pod(name, node, command, **spec), "jsonpath={.status.phase}=Succeeded", node.server)
    return lab.kubectl("logs", name, server=node.server).stdout


def node_object(lab, node):
    return json.loads(lab.kubectl("get", "node", node.name, "--output=json", server=node.server).stdout)


def test_kubelets_with_containerd_1_7_and_2_4_are_ready(lab, nodes):
    infos = [node_object(lab, node)["status"]["nodeInfo"] for node in nodes]

    assert [info["kubeletVersion"] for info in infos] == ["v1.37.2", "v1.37.2"]
    assert infos[0]["containerRuntimeVersion"].startswith("containerd://1.7.")
    assert infos[1]["containerRuntimeVersion"].startswith("containerd://2.4.")


def test_a_pod_asks_the_api_server_at_the_address_that_it_finds_as_its_service_account(lab, node, name):
    programs = {"name": "programs", "hostPath": {"path": PROGRAMS}}
    mount = {"volumeMounts": [{"name": "programs", "mountPath": "/programs"}]}

    said = run(lab, name, node, "/programs/kubectl auth whoami --output=json", volumes=[programs], container=mount)

    assert json.loads(said)["status"]["userInfo"]["username"] == "system:serviceaccount:default:default"


def test_pods_of_two_nodes_reach_each_other_by_their_own_addresses(lab, nodes, name):
    apply(lab, pod(f"{name}-server", nodes[0], "httpd -f -vv -p 8080 -h /etc"), "condition=Ready")
    where = "jsonpath={.status.podIP}"
    address = lab.kubectl("get", "pod", f"{name}-server", f"--output={where}").stdout

    said = run(lab, f"{name}-client", nodes[1], f"wget -q -O - http://{address}:8080/passwd")

    assert said.startswith("root:")
    client = lab.kubectl("get", "pod", f"{name}-client", f"--output={where}").stdout
    assert client in lab.kubectl("logs", f"{name}-server").stdout


def test_a_command_runs_in_a_pod_through_the_api_server(lab, node, name):
    apply(lab, pod(name, node, "sleep 1000"), "condition=Ready")

    assert lab.kubectl("exec", name, "--", "hostname").stdout == f"{name}\n"


@on_both
def test_a_privileged_job_restarts_containerd_under_itself_and_completes(lab, node, name):
    host = {"name": "host", "hostPath": {"path": "/"}}
    access = {"securityContext": {"privileged": True}, "volumeMounts": [{"name": "host", "mountPath": "/host"}]}
    before = node.run("systemctl show containerd --property=MainPID").stdout
    template = {"spec": pod(name, node, RESTART, hostPID=True, volumes=[host], container=access)["spec"]}
    spec = {"backoffLimit": 0, "template": template}

    apply(
        lab, {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}, "condition=Complete"
    )

    assert node.read("/var/tmp/provisioned") == "restarted\n"
    assert node.run("systemctl show containerd --property=MainPID").stdout != before


def test_what_a_pod_leaves_on_a_node_is_in_the_directories_of_the_kubelet_only(lab, node, name):
    before = snapshot(node, WRITTEN_BY_A_KUBELET)

    run(lab, name, node, "echo done")
    lab.kubectl("delete", "pod", name)

    assert difference(before, snapshot(node, WRITTEN_BY_A_KUBELET)) == []


def test_a_node_has_its_labels_and_taints_and_one_that_follows_it_is_another_whatever_was_left(lab, name):
    # The second is a label that no kubelet may give itself.
    labels = {"worker.gardener.cloud/pool": "a", "node-role.kubernetes.io/test": "yes"}
    first = lab.add_node(labels=labels, taints=["example.org/wait=yes:NoSchedule"])
    seen = node_object(lab, first)
    assert labels.items() <= seen["metadata"]["labels"].items()
    assert {"key": "example.org/wait", "value": "yes", "effect": "NoSchedule"} in seen["spec"]["taints"]

    image = first.engine.call("inspect", "--format={{.Image}}", first.name, what="look").stdout.strip()
    lab.remove_node(first)
    assert first.name not in lab.kubectl("get", "nodes", "--output=name").stdout
    # As podman leaves one that it was killed over.
    mark = first.name.removeprefix("gvisor-nodes-").rpartition("-")[0]
    first.engine.call(
        "create", f"--name={first.name}", f"--label={CLUSTER_LABEL}={mark}", image, "/bin/true", what="left"
    )
    second = lab.add_node(number=first.number)

    after = node_object(lab, second)
    lab.remove_node(second)
    assert second.name == first.name
    assert after["metadata"]["uid"] != seen["metadata"]["uid"]
    assert not labels.items() & after["metadata"]["labels"].items()


def test_the_seed_may_have_a_node_of_its_own_where_deployments_run(lab, archive, name):
    node = lab.add_node(server=lab.seed)
    node.load_image(archive)
    container = pod(name, node, "sleep 1000")["spec"]["containers"][0]
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": {"app": name}}, "template": template}
    raw = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}

    apply(lab, raw, "condition=Available", lab.seed)

    assert node.name not in lab.kubectl("get", "nodes", "--output=name").stdout
    lab.remove_node(node)


def test_a_node_that_was_started_again_is_the_same_node_and_runs_pods(lab, nodes, name):
    node = nodes[0]
    before = node_object(lab, node)["metadata"]["uid"]

    node.engine.call("restart", "--time=0", node.name, what="a machine that starts again")
    again = next(each for each in lab.nodes() if each.name == node.name)

    assert node_object(lab, again)["metadata"]["uid"] == before
    assert run(lab, name, again, "echo done") == "done\n"


def test_a_kubelet_that_does_not_start_is_told_with_what_it_said_and_nothing_of_it_stays(lab):
    with pytest.raises(GvisorNodesError, match="did not become Ready") as caught:
        lab.add_node(taints=["no taint"], number=40)

    assert "taint" in caught.value.why
    assert 40 not in lab.node_kinds()


def test_what_a_cluster_left_whose_directory_is_gone_is_found_and_removed(lab, nodes, tmp_path):
    engine = find_engine()
    mark = f"test-{secrets.token_hex(3)}"
    name = f"gvisor-nodes-{mark}"
    labels = {CLUSTER_LABEL: mark, STATE_LABEL: str(tmp_path / "gone")}
    engine.add_network(name, labels)
    image = engine.call("inspect", "--format={{.Image}}", nodes[0].name, what="look").stdout.strip()
    engine.hold_network(f"{name}-network", image, network=name, labels=labels)

    assert f"{name}-network" in remove_orphans(engine)

    assert (engine.containers(mark, label=CLUSTER_LABEL), engine.networks(mark, label=CLUSTER_LABEL)) == ([], [])
    assert {node.name for node in nodes} <= containers()


@pytest.fixture
def command(tmp_path, monkeypatch):
    """The command with a state directory of the test's own; whatever happens, nothing of it stays."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_directory().parents[1]))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    yield [sys.executable, "-m", "orchestrator.cli.app", "lab", "cluster"]
    background.down("test")


def containers(below=Path("/")):
    """The containers of clusters whose state is below a directory; who else tests on this machine has others."""
    there = find_engine().containers(label=CLUSTER_LABEL)
    return {one.name for one in there if Path(one.labels[STATE_LABEL]).is_relative_to(below)}


@pytest.mark.slow
def test_an_up_that_was_killed_is_completed_by_the_next_and_down_leaves_no_trace(command, tmp_path):
    up = [*command, "up", "--name=test", "--nodes=1"]
    with subprocess.Popen(up, stderr=subprocess.PIPE, text=True, start_new_session=True) as killed:
        lines = []
        while not lines or " start gvisor-nodes-test-" not in lines[-1]:
            lines.append(killed.stderr.readline())
            assert lines[-1], "".join(lines)
        os.killpg(killed.pid, signal.SIGKILL)

    done = subprocess.run(up, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    node = lines[-1].split(" start ")[1].split()[0]
    assert f"{node} is Ready" in done.stderr
    assert "runs already" in subprocess.run(up, capture_output=True, text=True, check=True).stderr
    assert node in containers(tmp_path)
    subprocess.run([*command, "down", "--name=test"], capture_output=True, check=True)
    assert containers(tmp_path) == set()
    assert not [network for network in find_engine().networks(label=CLUSTER_LABEL) if network in node]
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []
    eventually(lambda: "state/gvisor-nodes" not in commands_of(tmp_path))


def commands_of(directory):
    """The command lines of all processes that name a directory."""
    listed = subprocess.run(["ps", "-e", "-o", "args="], capture_output=True, text=True, check=True).stdout
    return "\n".join(line for line in listed.splitlines() if str(directory) in line)
