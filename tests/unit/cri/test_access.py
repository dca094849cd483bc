"""A node that is seen from a pod on it: its files are below a root, its programs are entered."""

from __future__ import annotations

import os
import socket

import pytest

from orchestrator.cri import node_side
from orchestrator.cri.access import reach
from orchestrator.cri.client import RuntimeClient
from orchestrator.cri.faults import CallError
from orchestrator.cri.request import Request, parse
from orchestrator.cri.stop import Stop


@pytest.fixture
def root(tmp_path):
    for path in ("run/containerd", "opt/real/releases/1", "proc/1"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "opt/gvisor").symlink_to("/opt/real")
    return tmp_path


@pytest.fixture
def node(root):
    request = parse({"verb": "status", "root": str(root), "enter": ["env", "ENTERED=yes"]})
    with reach(request, 5.0, Stop()) as found:
        yield found


def test_the_socket_is_that_below_the_root(node, root):
    assert f"{root}/run/containerd/containerd.sock" == node.address
    with socket.socket(socket.AF_UNIX) as server, RuntimeClient(node.address, Stop()) as client:
        server.bind(node.address)
        with pytest.raises(CallError):
            client.version(0.2)


def test_the_lock_is_on_the_directory_below_the_root(node, root):
    before = len(node_side.HELD)
    assert {"taken": True} == node.ask("lock", 1.0, folder="/run/containerd", seconds=0)
    descriptor = node_side.HELD.pop()

    assert before == len(node_side.HELD)
    assert os.path.samestat(os.fstat(descriptor), os.stat(root / "run/containerd"))
    os.close(descriptor)


def test_a_program_is_looked_for_below_the_root_and_run_where_it_is_entered(node, root):
    (root / "bin").mkdir()
    (root / "bin/sh").touch()
    answer = node.ask("flags", 5.0, programs=[["/bin/nothing"], ["/bin/sh", "-c", "echo $ENTERED"]])

    assert (0, "yes") == (answer["rc"], answer["text"])


def test_a_path_is_compared_as_the_node_has_it_without_links(node):
    found = node.ask("inspect", 5.0, pid=os.getpid(), runsc="/opt/gvisor/releases/1/runsc")

    assert "/opt/real/releases/1/runsc" == found["runsc"]
    assert os.path.realpath("/proc/self/exe") == found["exe"]


def test_links_are_followed_below_the_root_as_the_kernel_would(root):
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("../../opt/./real")
    (root / "loop").symlink_to("loop")

    assert "/opt/real/x" == node_side.resolved("/a/x", str(root))
    assert "/" == node_side.resolved("/a/../..", str(root))
    assert node_side.resolved("/loop/x", str(root)).startswith("/")


def test_without_a_root_the_machine_itself_is_asked():
    with reach(Request("status"), 1.0, Stop()) as found:
        assert "/run/containerd/containerd.sock" == found.address
