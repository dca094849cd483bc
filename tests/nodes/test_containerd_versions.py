"""containerd 1.6, 1.7 and 2.4 with the configurations that their packages, kubeadm and Gardener give them.

One lab of three kinds; every run of the command works on all of them at once. The release is one that runs on each.
"""

from __future__ import annotations

from pathlib import Path

import ansible.module_utils
import pytest
from command import gvisor_nodes, starts

from orchestrator.cri import daemon
from orchestrator.cri.access import reach
from orchestrator.cri.client import RuntimeClient
from orchestrator.cri.request import Access, Request
from orchestrator.cri.stop import Stop
from orchestrator.errors import RefusedError
from orchestrator.lab.tree import difference, snapshot
from orchestrator.planning.containerd_config import Handler, add_handler, remove_handler, verify_dump, verify_removal

ROLE = Path(__file__).parents[2] / "roles" / "node"
KINDS = ("debian12", "debian13", "containerd2.4")
RELEASE = "20260224.0"
SECONDS = 120
MAIN = "/etc/containerd/config.toml"
DROP_IN = "/etc/containerd/conf.d/gvisor-nodes.toml"
HANDLER = Handler("runsc", "/opt/gvisor-nodes/containerd-shim-runsc-v1", "/opt/gvisor-nodes/runsc.toml")
KEPT = "/root/etc-containerd"
# Without it runc's pods need a capability that not every machine with a lab has; gVisor's do too, on some releases.
ADJUSTED = "restrict_oom_score_adj = true"

KUBEADM = (
    "containerd config default | sed -e 's/SystemdCgroup = false/SystemdCgroup = true/' "
    f"-e 's/restrict_oom_score_adj = false/{ADJUSTED}/' >/root/new && cat /root/new >{MAIN} && rm /root/new"
)


def gardener(version):
    cri = "io.containerd.grpc.v1.cri" if version == 2 else "io.containerd.cri.v1.runtime"
    return f"""version = {version}
imports = ["/etc/containerd/conf.d/*.toml"]
[plugins."{cri}"]
{ADJUSTED}
[plugins."{cri}".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."{cri}".containerd.runtimes.runc.options]
SystemdCgroup = true
"""


def lay_out(node, layout):
    """Give a node one of the layouts; ``as shipped`` is what it has."""
    node.run(f"rm -rf {KEPT}; mkdir -p /etc/containerd; cp -a /etc/containerd {KEPT}")
    if layout == "kubeadm":
        node.run(f"touch {MAIN}; {KUBEADM}")
    elif layout.startswith("gardener"):
        node.run("mkdir -p /etc/containerd/conf.d")
        node.write("/etc/containerd/conf.d/metrics.toml", f"version = {layout[-1]}\n[metrics]\naddress = ''\n")
        node.write(MAIN, gardener(int(layout[-1])))
    node.run("systemctl restart containerd")


def put_back(node):
    node.run(f"test ! -e {KEPT} || {{ rm -rf /etc/containerd; mv {KEPT} /etc/containerd; }}")
    node.run("systemctl reset-failed containerd; systemctl restart containerd")


@pytest.fixture(scope="module")
def kinds(make_module_lab):
    """A node of each kind, in their order."""
    return make_module_lab(kinds=KINDS)


@pytest.fixture
def laid_out(kinds, request):
    """The lab with a layout on each of its nodes, and the nodes back as they were afterwards."""
    for node, layout in zip(kinds.nodes, request.param, strict=True):
        lay_out(node, layout)
    yield request.param, kinds
    for node in kinds.nodes:
        put_back(node)


def run(lab, *arguments):
    """A run that succeeds on every node; by how much systemd's count of containerd's starts went up on each."""
    before = [starts(node) for node in lab.nodes]
    answer = gvisor_nodes(*arguments, inventory=lab.inventory, timeout=900)
    assert 0 == answer.rc, answer.stderr
    return answer, [starts(node) - count for node, count in zip(lab.nodes, before, strict=True)]


def serving(node):
    """The handlers that the running daemon says through the CRI."""
    request = Request(verb="status", access=Access(argv=tuple(node.ssh_arguments())))
    stop = Stop()
    with reach(request, SECONDS, stop) as there, RuntimeClient(there.address, stop) as cri:
        cri.version(SECONDS, wait=True)
        return set(daemon.read(cri.status_info(SECONDS)).handlers)


# As they are shipped all three are switched on and cleaned to the byte in test_switch.py too.
LAYOUTS = [
    pytest.param(("kubeadm", "gardener 2", "kubeadm"), id="some of each"),
    *(
        pytest.param((layout,) * len(KINDS), id=layout, marks=pytest.mark.exhaustive)
        for layout in ("kubeadm", "as shipped", "gardener 2")
    ),
]


@pytest.mark.feature("B3")
@pytest.mark.feature("B4")
@pytest.mark.feature("B7")
@pytest.mark.feature("B8")
@pytest.mark.feature("B12")
@pytest.mark.feature("B21")
@pytest.mark.feature("H2")
@pytest.mark.feature("J10")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("laid_out", LAYOUTS, indirect=True)
def test_installed_proved_repeated_and_removed_with_one_restart_each_way_and_no_trace_and_what_others_write_stays(
    laid_out,
):
    layouts, lab = laid_out
    before = [snapshot(node) for node in lab.nodes]
    mains = [node.run(f"cat {MAIN} || true").stdout for node in lab.nodes]

    installed, restarts = run(lab, "apply", "--release", RELEASE)

    assert [1, 1, 1] == restarts
    assert ["proved"] * 3 == [installed.host(node)["proof"] for node in lab.nodes]
    # Of the main files only those change whose containerd cannot do with a file beside them. config default of 2.2 and
    # later writes the import of the directory, so kubeadm's main file has it too.
    newest = lab.nodes[-1]
    beside = layouts[-1] != "as shipped"
    assert beside == (newest.run(f"test -e {DROP_IN}", check=False).returncode == 0)
    assert beside == (mains[-1] == newest.read(MAIN))
    assert [{"runc", "runsc"}] * 3 == [serving(node) for node in lab.nodes]
    theirs = ['\n[debug]\nlevel = "info"\n' if layout.startswith("gardener") else "" for layout in layouts]
    for node, text in zip(lab.nodes, theirs, strict=True):
        node.run(f"test ! -e {MAIN} || cat >> {MAIN}", stdin=text)

    _, restarts = run(lab, "apply", "--release", RELEASE)
    assert [0, 0, 0] == restarts

    _, restarts = run(lab, "remove", "--yes")
    assert [1, 1, 1] == restarts
    for node, earlier, main, text in zip(lab.nodes, before, mains, theirs, strict=True):
        assert main + text == node.run(f"cat {MAIN} || true").stdout, node.name
        changed = [MAIN] if text else []
        assert changed == [line.split(":")[0] for line in difference(earlier, snapshot(node))], node.name
        assert {"runc"} == serving(node)


@pytest.mark.feature("B8")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", [2, 3, 4])
def test_a_staged_drop_in_is_read_as_the_real_one_is_and_leaves_nothing(kinds, version):
    node = kinds.nodes[-1]
    lay_out(node, f"gardener {version}")
    try:
        before = snapshot(node)
        main, dump = node.read(MAIN), node.run("cd /; containerd config dump 2>/dev/null").stdout
        edit = add_handler(main.encode(), dump, HANDLER, "2.4.2")[0]
        assert DROP_IN == edit.drop_in
        node.write("/run/stage.sh", stage_script())
        argv = "/etc/containerd/conf.d /etc/containerd/conf.d"
        staged = node.run(
            f"unshare --mount --propagation private sh /run/stage.sh {argv} {DROP_IN} yes "
            f"containerd --config {MAIN} config dump 2>/dev/null",
            stdin=edit.content.decode(),
        ).stdout
        assert [] == difference(before, snapshot(node))
        assert [] == verify_dump(dump, staged, HANDLER)

        node.write(DROP_IN, edit.content.decode())
        real = node.run("cd /; containerd config dump 2>/dev/null").stdout
        assert real == staged
        assert [] == verify_removal(real, dump, HANDLER)
    finally:
        node.run(f"rm -f /run/stage.sh {DROP_IN}")
        put_back(node)


def stage_script():
    """The very script that the module runs."""
    if str(ROLE / "module_utils") not in ansible.module_utils.__path__:
        ansible.module_utils.__path__.append(str(ROLE / "module_utils"))
    from ansible.module_utils.gvisor_transaction import STAGE_DROP_IN

    return STAGE_DROP_IN


V2, V3 = 'plugins."io.containerd.grpc.v1.cri"', 'plugins."io.containerd.cri.v1.runtime"'
REFUSED = {
    "broken": ("version = 2\n[plugins\n", "not valid TOML", (0, 1, 2)),
    "CRI disabled by its old name": (
        'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n',
        "disabled",
        (0, 1, 2),
    ),
    "CRI disabled by its new name": (
        'version = 3\ndisabled_plugins = ["io.containerd.cri.v1.runtime"]\n',
        "disabled",
        (2,),
    ),
    "version 3 on 1.x": (f"version = 3\n[{V3}.containerd.runtimes.runc]\n", "does not know", (0, 1)),
    "a version that nobody knows": ("version = 9\n", "unknown", (0, 1, 2)),
    "a default handler that is not there": (
        f"version = 2\n[{V2}.containerd]\ndefault_runtime_name = 'nope'\n",
        "cannot load",
        (0, 1, 2),
    ),
}


@pytest.mark.feature("B9")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", REFUSED)
def test_what_would_kill_the_node_or_is_dead_already_is_refused_before_anything_changes(kinds, name):
    text, word, numbers = REFUSED[name]
    for number in numbers:
        node = kinds.nodes[number]
        node.write("/run/case.toml", text)
        dumped = node.run("cd /; containerd --config /run/case.toml config dump 2>/dev/null", check=False)
        version = node.run("containerd --version").stdout.split()[2]
        with pytest.raises(RefusedError, match=word) as caught:
            add_handler(text.encode(), dumped.stdout if dumped.returncode == 0 else "", HANDLER, version)
        assert caught.value.remedy
        node.run("rm /run/case.toml")


@pytest.mark.timeout(600)
def test_what_1_7_wrote_is_served_on_by_2_4_and_goes_to_the_byte(kinds):
    old, new = kinds.nodes[1], kinds.nodes[2]
    main = 'version = 2\nimports = ["/etc/containerd/conf.d/*.toml"]\n'
    dumps = {}
    for node, text in ((old, main), (new, main)):
        node.write("/run/case.toml", text)
        dumps[node.name] = node.run("cd /; containerd --config /run/case.toml config dump 2>/dev/null").stdout
    content = add_handler(main.encode(), dumps[old.name], HANDLER, "1.7.24")[0].content
    new.write("/run/case.toml", content.decode())
    dump = new.run("cd /; containerd --config /run/case.toml config dump 2>/dev/null").stdout

    (edit,) = add_handler(content, dump, HANDLER, "2.4.2")

    assert not edit.changes
    assert main.encode() == remove_handler(content, main.encode(), HANDLER)
    for node in (old, new):
        node.run("rm -f /run/case.toml")
