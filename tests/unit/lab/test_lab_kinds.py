import dataclasses

import pytest

from orchestrator.errors import GvisorNodesError, InvalidInputError
from orchestrator.lab.capabilities import CAP_SYS_RESOURCE, Capabilities
from orchestrator.lab.containerd import SUMS
from orchestrator.lab.containerd_image import ContainerdImage, minimal_configuration
from orchestrator.lab.engine import Container
from orchestrator.lab.image import default_sandbox_image
from orchestrator.lab.kinds import ALIASES, DEFAULT_KIND, KINDS, ContainerdKind, kind_named
from orchestrator.lab.lab import _written, chosen_kinds, chosen_nodes
from orchestrator.lab.provisioning import kept_nodes, kind_of, missing_nodes

ALL = Capabilities(effective=1 << CAP_SYS_RESOURCE, cgroup_version=1, overlay=True)
FEW = dataclasses.replace(ALL, effective=0)


def container(number, kind, *, running=True):
    labels = {"gvisor-nodes.node": str(number), "gvisor-nodes.kind": kind}
    return Container(f"gvisor-nodes-x-{number}", running=running, ssh_port=1, labels=labels)


def image(name, capabilities=FEW):
    return ContainerdImage.of(kind_named(name), capabilities)


def test_there_is_a_kind_for_each_containerd_that_is_supported():
    assert ["debian12", "debian13", *(f"containerd2.{minor}" for minor in range(5))] == list(KINDS)


def test_the_short_name_is_the_newest_containerd_and_nodes_have_the_long_one():
    newest = max(SUMS, key=lambda version: [int(part) for part in version.split(".")])

    assert kind_named("containerd2").version == newest
    assert ("containerd2.4",) == chosen_kinds("containerd2", ())
    assert set(ALIASES.values()) <= KINDS.keys()


def test_no_kind_of_another_containerd_writes_outside_the_labs_own_files():
    for kind in KINDS.values():
        if isinstance(kind, ContainerdKind):
            assert all("gvisor-nodes-lab" in path for path in kind.files)


def test_the_drop_in_resets_debians_start_command_before_it_sets_another():
    text = kind_named("containerd2").files["/etc/systemd/system/containerd.service.d/gvisor-nodes-lab.conf"]

    assert ["ExecStart=", "ExecStart=/usr/local/bin/containerd"] == text.splitlines()[1:]


def test_the_tag_is_the_content():
    one = image("containerd2.4")
    changed = [
        image("containerd2.4", ALL),
        dataclasses.replace(one, kind=dataclasses.replace(one.kind, version="2.3.4")),
        dataclasses.replace(one, kind=dataclasses.replace(one.kind, files={"/etc/x": "y"})),
        dataclasses.replace(
            one, base=dataclasses.replace(one.base, kind=dataclasses.replace(one.base.kind, suite="sid"))
        ),
    ]

    assert image("containerd2.4").tag == one.tag
    assert len({one.tag, *(other.tag for other in changed)}) == 5


@pytest.mark.parametrize(
    ("defaults", "expected"),
    [
        ("version = 2\n[plugins.'io.containerd.grpc.v1.cri']\nsandbox_image = 'a/pause:3.6'\n", "a/pause:3.6"),
        (
            "version = 4\n[plugins.'io.containerd.cri.v1.images'.pinned_images]\nsandbox = 'a/pause:3.10'\n",
            "a/pause:3.10",
        ),
    ],
    ids=["1.x", "2.x"],
)
def test_the_image_that_pods_begin_with_is_what_containerd_says(defaults, expected):
    assert expected == default_sandbox_image(defaults)


def test_defaults_without_such_an_image_are_an_error():
    with pytest.raises(GvisorNodesError, match="which image a pod begins with"):
        default_sandbox_image("version = 4\n[plugins.'io.containerd.cri.v1.images']\n")


@pytest.mark.parametrize("version", [3, 4])
def test_the_least_configuration_has_the_version_that_this_containerd_writes(version):
    text = minimal_configuration(f"version = {version}\n")

    assert text.splitlines() == [
        f"version = {version}",
        "",
        "[plugins.'io.containerd.cri.v1.runtime']",
        "  restrict_oom_score_adj = true",
    ]


@pytest.mark.parametrize("defaults", ["version = 2\n", "root = '/x'\n"])
def test_a_configuration_that_the_lab_does_not_know_is_refused(defaults):
    with pytest.raises(GvisorNodesError, match="another configuration"):
        minimal_configuration(defaults)


def test_kinds_go_to_the_nodes_in_turn_and_a_node_that_is_there_stays():
    there = [container(2, "c", running=False)]

    assert {1: "a", 3: "a", 4: "b", 5: "a"} == missing_nodes(there, "x", 5, ["a", "b"])
    assert {} == missing_nodes([container(1, "a")], "x", 1, ["b"])


def test_a_node_that_would_be_of_another_kind_now_is_told_of():
    there = [container(3, "b"), container(1, "a"), container(2, "b")]

    assert [] == kept_nodes(there[1:], ["a", "b"])
    assert ["gvisor-nodes-x-3 stays as it is: b, not a (lab down removes it)"] == kept_nodes(there, ["a", "b"])


@pytest.mark.parametrize(
    ("nodes", "kinds", "expected"),
    [(None, 1, 2), (None, 2, 2), (None, 3, 3), (1, 1, 1), (5, 3, 5)],
)
def test_without_a_number_there_are_two_nodes_or_one_of_each_kind(nodes, kinds, expected):
    assert expected == chosen_nodes(nodes, ["k"] * kinds)


@pytest.mark.parametrize(("nodes", "kinds"), [(0, 1), (51, 1), (2, 3)])
def test_a_number_that_cannot_be_is_refused(nodes, kinds):
    with pytest.raises(InvalidInputError):
        chosen_nodes(nodes, ["k"] * kinds)


def test_kind_and_kinds_exclude_each_other_and_neither_is_the_default():
    assert (DEFAULT_KIND,) == chosen_kinds(None, ())
    assert ("debian12", "debian13") == chosen_kinds(None, ["debian12", "debian13"])
    with pytest.raises(InvalidInputError):
        chosen_kinds("debian12", ["debian13"])


def test_a_node_without_a_label_is_of_the_default_kind():
    assert kind_of(Container("n", running=True, ssh_port=1, labels={})) == DEFAULT_KIND
    assert kind_of(Container("n", running=True, ssh_port=1, labels={"gvisor-nodes.kind": "debian12"})) == "debian12"


def test_a_lab_that_is_there_is_asked_for_what_it_was_asked_for_before(tmp_path):
    assert ("20260905.0", ()) == (_written(tmp_path).release, _written(tmp_path).kinds)

    (tmp_path / "lab.json").write_text('{"release": "20260224.0", "kinds": ["debian12", "debian13"]}')

    assert ("20260224.0", ("debian12", "debian13")) == (_written(tmp_path).release, _written(tmp_path).kinds)
