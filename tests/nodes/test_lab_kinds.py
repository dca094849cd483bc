"""Every kind of node comes up with the containerd that its name promises, and that containerd runs pods."""

import re
import secrets
import tomllib

import pytest

from orchestrator.lab import Lab, capabilities
from orchestrator.lab.containerd import SUMS
from orchestrator.lab.image import default_sandbox_image
from orchestrator.lab.kinds import KINDS, ContainerdKind
from orchestrator.lab.pods import Pods
from orchestrator.lab.removal import down

PROMISED = {
    "debian12": ("12", r"1\.6\."),
    "debian13": ("13", r"1\.7\."),
    **{f"containerd{version.rpartition('.')[0]}": ("13", re.escape(f"v{version}") + "$") for version in SUMS},
}
MIXED = ("debian12", "debian13", "containerd2.4")
SECONDS = 60


@pytest.fixture(scope="module")
def mixed():
    name = f"test-kinds-{secrets.token_hex(3)}"
    try:
        yield Lab.up(name, kinds=["debian12", "debian13", "containerd2"])
    finally:
        down(name)


@pytest.fixture(params=MIXED)
def node(mixed, request):
    (found,) = [node for node in mixed.nodes if node.kind == request.param]
    return found


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.exhaustive) for kind in KINDS if kind not in MIXED])
def older(make_lab, request):
    return make_lab(nodes=1, kind=request.param).nodes[0]


def keeps_its_promise(node):
    release, version = PROMISED[node.kind]
    assert f'VERSION_ID="{release}"' in node.read("/etc/os-release")
    assert re.match(version, node.run("containerd --version").stdout.split()[2])
    server = node.run("ctr version").stdout.partition("Server:")[2]
    assert re.match(version, re.search(r"Version:\s+(\S+)", server)[1])
    with Pods(node) as pods:
        assert re.match(version, pods.cri.version(SECONDS, wait=True)["runtime_version"])
        pod = pods.run("runc", "lab-kinds")
        container = pod.start_container("main")
        assert pod.exec(container, ["sh", "-c", "echo $((6 * 7))"]) == (0, "42\n")
        assert node.run(f"ps -C containerd-shim-runc-v2 -o args= | grep {pod.id}").stdout
        pod.stop()
        pod.remove()
    daemon = node.run("readlink /proc/$(systemctl show -P MainPID containerd)/exe").stdout.strip()
    assert daemon == ("/usr/local" if isinstance(KINDS[node.kind], ContainerdKind) else "/usr") + "/bin/containerd"
    wanted = default_sandbox_image(node.run("containerd config default").stdout)
    assert wanted in node.run("ctr -n k8s.io images ls -q").stdout.splitlines()
    assert node.run("systemctl is-system-running", check=False).stdout.strip() in {"running", "degraded"}


@pytest.mark.timeout(1800)  # cold caches
def test_a_node_of_each_kind_runs_its_containerd_and_a_pod(node):
    keeps_its_promise(node)


@pytest.mark.slow
@pytest.mark.timeout(3600)  # each version is built
def test_the_other_versions_of_containerd_2_run_and_run_a_pod(older):
    keeps_its_promise(older)
    is_minimal(older)


def is_minimal(node):
    """Nothing is configured that this machine does not need to be."""
    content = node.run("cat /etc/containerd/config.toml", check=False)
    if capabilities.probe().lowers_oom_score:
        assert content.returncode != 0
        return
    values = tomllib.loads(content.stdout)
    assert values.pop("version") == tomllib.loads(node.run("containerd config default").stdout)["version"]
    assert values == {"plugins": {"io.containerd.cri.v1.runtime": {"restrict_oom_score_adj": True}}}
    assert node.run("ls -A /etc/containerd").stdout == "config.toml\n"


def test_a_lab_of_several_kinds_is_loaded_listed_and_grown_with_each_nodes_kind(mixed):
    assert [node.kind for node in mixed.nodes] == list(MIXED)
    assert Lab.load(mixed.name).nodes == mixed.nodes
    assert [row["kind"] for row in Lab.describe(mixed.name)] == list(MIXED)

    told = []
    again = Lab.up(mixed.name, kind="debian13", on_progress=told.append)

    assert again.nodes == mixed.nodes
    assert any("-1 stays as it is: debian12, not debian13" in line for line in told)
    assert not any(line.startswith("start ") for line in told)


def test_containerd_2_has_the_least_configuration_in_the_version_it_writes_itself(mixed):
    is_minimal(mixed.node("3"))
