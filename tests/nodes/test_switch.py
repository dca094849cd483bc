"""Releases and flags are switched under running pods: every pair of releases, up and down, and every containerd.

The short walks are one switch on each containerd, up or down, the long ones pass every pair on one. Each step of a walk
is one switch: a pod is started before it, and looked at after it, after a restart of containerd, and after its records
are gone.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from command import gvisor_nodes, starts
from witness import BUNDLES, DIRECTORY, Polls, bundles, polled, processes, shim_state

from orchestrator.gvisor.dispatchers import RECORD_NAME
from orchestrator.lab.pods import Pods
from orchestrator.lab.tree import difference, snapshot

OLD, MIDDLE, NEW = "20250205.0", "20260224.0", "20260905.0"

# Every generation has flags of its own; the middle release's are unknown to the old one, the new one's to both.
FLAGS = {
    OLD: ("net-raw=true",),
    MIDDLE: ("gvisor-marker-file=true",),
    NEW: ("allow-connected-on-save=true", "panic-signal=12"),
}

# The shortest walk over all ordered pairs of three releases.
ALL = (OLD, MIDDLE, NEW, OLD, NEW, MIDDLE, OLD)

# 20260905 does not run on containerd 1.6.
WALKS = [
    pytest.param("debian12", (OLD, MIDDLE), id="containerd-1.6"),
    pytest.param("debian13", (NEW, OLD), id="containerd-1.7"),
    pytest.param("containerd2.4", (MIDDLE, NEW), id="containerd-2.4"),
    pytest.param("debian12", (OLD, MIDDLE, OLD), id="containerd-1.6-every-pair", marks=pytest.mark.exhaustive),
    pytest.param("debian13", ALL, id="containerd-1.7-every-pair", marks=pytest.mark.exhaustive),
    pytest.param("containerd2.4", ALL, id="containerd-2.4-every-pair", marks=pytest.mark.exhaustive),
]


class Node:
    """A node on which releases are switched."""

    def __init__(self, lab, node, pods):
        self.lab = lab
        self.node = node
        self.pods = pods
        self.polls = Polls()

    def switch(self, release):
        """Make the release with its flags current, under polls; nothing is restarted."""
        before = starts(self.node)
        with polled(self.node, self.polls):
            answer = self.apply(release)
        assert answer.rc == 0, answer.stderr
        assert (release, 0, "proved") == tuple(answer.host(self.node)[key] for key in ("release", "restarts", "proof"))
        assert before == starts(self.node)

    def apply(self, release):
        flags = [word for flag in FLAGS[release] for word in ("--flag", flag)]
        limit = ("--limit", self.node.name)
        return gvisor_nodes("apply", "--release", release, *flags, *limit, inventory=self.lab.inventory)

    def start_pod(self, release):
        """Start a pod with a container, and see that it runs the release."""
        pod = self.pods.run("runsc", f"of-{release.replace('.', '-')}")
        container = pod.start_container("first")
        self.check(pod, release, container)
        return pod, container

    def check(self, pod, release, *containers):
        """Every process of the pod is of the release, and runsc has its flags; the containers can be entered."""
        found = processes(self.node)
        for identity in (pod.id, *(container.id for container in containers)):
            own = [process for process in found if process.belongs_to(identity)]
            assert {release} == {process.release for process in own}, own
            assert any(process.is_shim for process in own)
            runsc = [process for process in own if not process.is_shim]
            assert runsc
            for process in runsc:
                assert {f"--{flag}" for flag in FLAGS[release]} <= set(process.argv), process
        for container in containers:
            code, text = pod.exec(container, ["dmesg"])
            assert code == 0
            assert "gVisor" in text

    def check_what_is_left(self, *identities):
        """Only these sandboxes and containers have a bundle, and state of runsc; else containerd's words on the others."""
        left = {Path(file).name.split("_sandbox:")[0] for file in shim_state(self.node) if file.endswith(".state")}
        too_many = (left | set(bundles(self.node))) - set(identities)
        journal = "journalctl -u containerd -o short-precise --no-pager"
        said = [self.node.run(f"{journal} | grep {identity}; :").stdout for identity in too_many]
        assert not too_many, "\n".join([*sorted(too_many), *said])
        assert set(identities) == set(bundles(self.node))

    def lose_records(self, pod, *containers):
        for identity in (pod.id, *(container.id for container in containers)):
            self.node.run(f"rm {BUNDLES}/{identity}/{RECORD_NAME}")


@pytest.fixture
def walked(request, lab_of):
    """A node of the kind, with all releases at hand; byte-identical at the end."""
    lab = lab_of(request.param)
    for release in FLAGS:
        lab.ensure_release(release)
    node = lab.nodes[0]
    remove = ("remove", "--yes", "--limit", node.name)
    if node.run(f"test -e {DIRECTORY}", check=False).returncode == 0:
        gvisor_nodes(*remove, inventory=lab.inventory)
    before = snapshot(node)
    with Pods(node) as pods:
        try:
            yield Node(lab, node, pods)
        finally:
            pods.clear()
    removed = gvisor_nodes(*remove, inventory=lab.inventory)
    assert removed.rc == 0, removed.stderr
    assert [] == difference(before, snapshot(node))


@pytest.mark.feature("A1")
@pytest.mark.feature("A12")
@pytest.mark.feature("J11")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("walked", "walk"), WALKS, indirect=["walked"])
def test_a_pod_keeps_its_release_and_flags_over_every_switch(walked, walk):
    installed = walked.apply(walk[0])
    assert installed.rc == 0, installed.stderr
    before = starts(walked.node)
    survivor, first = walked.start_pod(walk[0])

    for old, new in pairwise(walk):
        pod, container = walked.start_pod(old)
        walked.switch(new)

        # kubelet restarts a container in the old pod, and starts a new pod
        second = pod.start_container("second")
        walked.check(pod, old, container, second)
        fresh, other = walked.start_pod(new)

        walked.node.run("systemctl restart containerd")
        third = pod.start_container("third")
        walked.check(pod, old, container, second, third)
        walked.check(fresh, new, other)

        walked.lose_records(pod, container, second, third)
        fourth = pod.start_container("fourth")
        walked.check(pod, old, container, second, third, fourth)
        pod.stop_container(second)

        fresh.remove()
        pod.remove()
        walked.check_what_is_left(survivor.id, first.id)

    # a pod of the first generation, many switches later
    last = survivor.start_container("last")
    walked.check(survivor, walk[0], first, last)
    survivor.remove()

    walked.check_what_is_left()
    assert [] == shim_state(walked.node) == processes(walked.node)
    # once by the test in every step
    assert len(walk) - 1 == starts(walked.node) - before
    assert (0, "") == (walked.polls.bad, walked.polls.said)
    assert walked.polls.count > 30 * (len(walk) - 1)
