"""The lab's pods: what the tests of switches and of logs rely on."""

from __future__ import annotations

import pytest
from command import gvisor_nodes

from orchestrator.lab.pods import Pods

BUNDLES = "/run/containerd/io.containerd.runtime.v2.task/k8s.io"


@pytest.fixture(scope="module")
def installed(lab):
    node = lab.nodes[0]
    assert 0 == gvisor_nodes("apply", "--limit", node.name, inventory=lab.inventory).rc
    yield node
    assert 0 == gvisor_nodes("remove", "--yes", "--limit", node.name, inventory=lab.inventory).rc


@pytest.fixture
def pods(installed):
    with Pods(installed) as pods:
        yield pods
        pods.clear()


def test_a_pod_s_life_leaves_nothing(pods):
    pod = pods.run("runsc", "web", namespace="shop", annotations={"a": "b"})
    container = pod.start_container("main", ["sh", "-c", 'echo "$WORD"; sleep 1000'], environment={"WORD": "a  b"})

    assert (3, "out\nerror\n") == pod.exec(container, ["sh", "-c", "echo error >&2; echo out; exit 3"])
    assert "gvisor" in pod.exec(container, ["cat", "/proc/version"]).text
    assert "a  b\n" == pod.log(container)
    assert pods.node.run(f"readlink /proc/{pod.pid()}/exe").stdout.startswith("/opt/gvisor-nodes/releases/")

    # one connection lasts: containerd may be restarted under it
    pods.node.run("systemctl restart containerd")
    assert 0 == pod.exec(container, ["true"]).code

    short = pod.start_container("short", ["sh", "-c", "exit 7"])
    assert 7 == pod.wait(short)
    pod.stop_container(short)
    assert [container.id] == pod.containers()

    pod.stop()
    pod.remove()
    pod.remove()
    assert [] == pods.list()
    assert "" == pods.node.run(f"ls {BUNDLES}").stdout.strip()
    assert "" == pods.node.run("ls -d /var/log/pods 2>/dev/null; :").stdout


def test_what_another_process_left_is_cleared(pods):
    pods.run("runsc", "left")
    with Pods(pods.node) as later:
        assert 1 == len(later.list())
        later.clear()

    assert [] == pods.list()
