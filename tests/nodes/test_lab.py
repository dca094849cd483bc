"""The lab keeps its promises: nodes that are ready, found by key and host key, and gone without a trace."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from orchestrator.errors import GvisorNodesError, InvalidInputError
from orchestrator.lab import DEFAULT_RELEASE, Lab, capabilities
from orchestrator.lab.engine import LABEL, NODE_LABEL
from orchestrator.lab.kinds import PAUSE_UNIT
from orchestrator.lab.paths import lab_directory
from orchestrator.lab.ports import free_ports
from orchestrator.lab.removal import down
from orchestrator.lab.tree import difference, snapshot

ANSIBLE = os.path.join(os.path.dirname(sys.executable), "ansible")


@pytest.fixture(scope="module")
def spare_lab(make_module_lab):
    """A lab for tests that break its only node and repair it: the others' nodes are not put at risk."""
    return make_module_lab(nodes=1)


@pytest.fixture
def broken(spare_lab):
    """A node for a test that spoils files of it; they come back."""
    node = spare_lab.nodes[0]
    node.run("rm -rf /run/saved && mkdir /run/saved && cp -a /etc/ssh /etc/containerd /run/saved/")
    yield node
    node.run(
        f"cp -a /run/saved/ssh /run/saved/containerd /etc/ && systemctl reset-failed && systemctl restart ssh containerd {PAUSE_UNIT}"
    )
    node.wait_until_ready(timeout=60)


def command(*arguments, check=True):
    argv = [sys.executable, "-m", "orchestrator.cli.lab", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=check)


def test_a_node_that_is_up_has_systemd_containerd_sshd_and_the_pause_image(lab):
    for node in lab.nodes:
        assert node.run("systemctl is-system-running", check=False).stdout.strip() in {"running", "degraded"}
        assert node.run(f"systemctl is-active containerd ssh {PAUSE_UNIT}").stdout.split() == ["active"] * 3
        wanted = node.run("containerd config default | grep sandbox_image | cut -d'\"' -f2").stdout.strip()
        assert wanted in node.run("ctr -n k8s.io images ls -q").stdout.splitlines()


def test_nodes_have_debians_own_containerd_configuration(node):
    shipped = node.run("awk '$2 == \"etc/containerd/config.toml\" {print $1}' /var/lib/dpkg/info/containerd.md5sums")
    conffile = node.run("dpkg-query -W -f '${Conffiles}' containerd").stdout
    expected = next(
        (line.split()[1] for line in conffile.splitlines() if "config.toml" in line), shipped.stdout.strip()
    )
    content = node.read("/etc/containerd/config.toml")
    assert "runtimes" not in content
    if not capabilities.probe().lowers_oom_score:
        node.run("grep -v restrict_oom_score_adj /etc/containerd/config.toml > /run/shipped.toml")
        assert node.run("md5sum /run/shipped.toml").stdout.split()[0] == expected
    else:
        assert node.run("md5sum /etc/containerd/config.toml").stdout.split()[0] == expected


def test_nodes_differ_in_what_must_differ(lab):
    for path in ("/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key", "/etc/hostname"):
        first, second = (node.read(path) for node in lab.nodes)
        assert first
        assert first != second


def test_root_admin_and_operator_log_in_and_only_operator_is_asked_for_a_password(lab, node):
    assert node.ssh(["id", "-un"]).stdout == "root\n"
    assert node.ssh(["sudo", "-n", "id", "-un"], user="admin").stdout == "root\n"
    refused = node.ssh(["sudo", "-n", "id", "-un"], user="operator")
    assert (refused.returncode, refused.stdout) == (1, "")
    asked = node.run(f"su operator -c 'echo {lab.operator_password} | sudo -S id -un'")
    assert asked.stdout == "root\n"


def test_another_host_key_than_the_written_one_is_refused(broken):
    broken.run("rm /etc/ssh/ssh_host_ed25519_key*; systemctl restart ssh")

    refused = broken.ssh(["true"])

    assert refused.returncode == 255
    assert "Host key verification failed" in refused.stderr


@pytest.mark.parametrize("user", ["root", "admin", "operator"])
def test_ansible_takes_the_inventory_as_it_is(lab, user):
    inventory = lab.inventory if user == "root" else lab.inventory_for(user)
    argv = [ANSIBLE, "all", "-i", str(inventory), "-m", "command", "-a", "id -un"]
    if user == "operator":
        argv += ["-e", f"ansible_become_password={lab.operator_password}"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("root") >= 2


def test_the_inventory_names_artifacts_that_are_there(lab):
    directory = lab.releases.directory / DEFAULT_RELEASE / lab.releases.architecture
    version = subprocess.run([directory / "runsc", "--version"], capture_output=True, text=True, check=True)

    assert f"runsc version release-{DEFAULT_RELEASE}" in version.stdout
    assert str(lab.releases.directory) in lab.inventory.read_text()


def test_up_again_keeps_what_runs_and_changes_no_file_on_it(lab, node):
    before, started = snapshot(node), node.run("stat -c %Y /proc/1").stdout

    again = Lab.up(lab.name, nodes=2)

    assert again.nodes == lab.nodes
    assert node.run("stat -c %Y /proc/1").stdout == started
    assert difference(before, snapshot(node)) == []


def test_only_what_is_listed_changes_when_containerd_restarts_and_people_log_in(node):
    before = snapshot(node)

    node.ssh(["true"], user="admin")
    node.run("systemctl daemon-reload; systemctl restart containerd; journalctl --rotate")

    assert difference(before, snapshot(node)) == []
    assert difference(before, snapshot(node), written_by_others=()) != []


def test_a_file_that_stays_behind_is_found(node):
    before = snapshot(node)
    node.write("/opt/left-behind", "x", mode=0o600)
    try:
        assert difference(before, snapshot(node)) == ["/opt/left-behind: came (file)"]
    finally:
        node.run("rm /opt/left-behind")


def test_a_node_that_was_stopped_comes_back_with_its_port_and_its_keys_and_the_command_line_tells_it(spare_lab):
    node = spare_lab.nodes[0]
    key = node.host_key()
    node.engine.call("stop", "--time=1", node.name, what="stop")

    again = command("up", "--name", spare_lab.name, "--nodes", "1")

    assert again.stdout.strip() == str(lab_directory(spare_lab.name) / "inventory.yml")
    assert "nodes are ready" in again.stderr
    (found,) = Lab.load(spare_lab.name).nodes
    assert found.port == node.port
    assert found.host_key() == key == node.host_key()
    assert found.ssh(["true"]).returncode == 0


def test_a_node_that_does_not_become_ready_is_an_error_with_its_journal(broken):
    broken.run("echo 'not toml' > /etc/containerd/config.toml; systemctl restart containerd", check=False)

    with pytest.raises(GvisorNodesError) as caught:
        broken.wait_until_ready(timeout=20)

    assert caught.value.host == broken.name
    assert "containerd.service is" in caught.value.why
    assert "containerd" in caught.value.why.splitlines()[-1] or "config.toml" in caught.value.why


def test_a_node_that_cannot_be_reached_is_an_error_that_says_how_far_one_gets(node):
    (port,) = free_ports(1)

    with pytest.raises(GvisorNodesError) as caught:
        replace(node, port=port).wait_until_ready(timeout=1)

    assert f"answers on 127.0.0.1:{port}: [Errno 111] Connection refused; on the node itself" in caught.value.why
    assert "sshd says SSH-2.0-OpenSSH" in caught.value.why


def test_a_port_from_which_the_firewall_sends_connections_elsewhere_is_not_free():
    # As podman leaves it when it is killed over a container.
    rule = "iptables -t nat -A OUTPUT -p tcp --dport 10000:20000 -j DNAT --to-destination 127.0.0.1:9"
    shown = "from orchestrator.lab.ports import free_ports; print(*free_ports(20))"
    argv = ["unshare", "--net", "sh", "-ec", f'ip link set lo up; {rule}; exec "$0" -c "$1"', sys.executable, shown]
    ports = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()

    assert 20 == len(ports)
    assert all(int(port) > 20000 for port in ports)


def test_a_node_whose_containerd_runs_without_its_cri_is_not_ready(broken):
    broken.run("sed -i '1i disabled_plugins = [\"io.containerd.grpc.v1.cri\"]' /etc/containerd/config.toml")
    broken.run("systemctl restart containerd && systemctl is-active containerd")

    with pytest.raises(GvisorNodesError) as caught:
        broken.wait_until_ready(timeout=20)

    assert "its CRI plugin does not" in caught.value.why


def test_a_command_that_fails_on_a_node_is_an_error_with_its_words(node):
    with pytest.raises(GvisorNodesError, match="nonsense"):
        node.run("echo nonsense >&2; exit 3")
    assert node.run("exit 3", check=False).returncode == 3


def test_a_lab_grows_and_keeps_its_nodes_and_down_leaves_no_container_network_volume_or_file(make_lab):
    first = make_lab()
    # The next one as podman leaves it when it is killed in the middle.
    left = first.nodes[0].name.removesuffix("1") + "2"
    labels = (f"--label={LABEL}={first.name}", f"--label={NODE_LABEL}=2")
    image = first.engine.call("inspect", "--format={{.Image}}", first.nodes[0].name, what="inspect").stdout.strip()
    first.engine.call("create", f"--name={left}", *labels, image, "/bin/true", what="create")
    lab = Lab.up(first.name, nodes=2)
    assert lab.nodes[0] == first.nodes[0]
    assert lab.nodes[1].ssh(["true"]).returncode == 0
    engine = lab.engine
    volumes = [
        mount["Name"]
        for node in lab.nodes
        for mount in json.loads(engine.call("inspect", node.name, what="inspect").stdout)[0]["Mounts"]
        if mount["Type"] == "volume"
    ]

    assert f"the lab {lab.name} is gone" in command("down", "--name", lab.name).stderr

    assert volumes
    for volume in volumes:
        assert engine.call("volume", "inspect", volume, what="volume", check=False).returncode != 0
    assert (engine.containers(lab.name), engine.networks(lab.name)) == ([], [])
    assert not lab_directory(lab.name).exists()
    assert not down(lab.name)
    assert f"there was no lab {lab.name}" in command("down", "--name", lab.name).stderr


def test_the_command_line_lists_and_logs_in(lab):
    listed = json.loads(command("list", "--output", "json").stdout)
    mine = [row for row in listed if row["lab"] == lab.name]
    assert [(row["node"], row["state"], row["port"]) for row in mine] == [
        (node.name, "running", node.port) for node in lab.nodes
    ]
    assert lab.nodes[0].name in command("list").stdout

    assert command("ssh", "--name", lab.name, "2", "hostname").stdout.strip() == lab.nodes[1].name
    assert command("ssh", "--name", lab.name, "--user", "admin", "1", "--", "ls", "-d", "/").stdout == "/\n"


def test_the_command_line_says_what_is_wrong(lab):
    unknown = command("ssh", "--name", "no-such-lab", "1", check=False)
    assert unknown.returncode == 2
    assert "gvisor-nodes lab up --name no-such-lab" in unknown.stderr
    with pytest.raises(InvalidInputError, match="no running node"):
        Lab.load(lab.name).node("7")
