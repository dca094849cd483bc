"""Cases 83 and 84: nodes that are looked after over SSH, with the keys that gardenlet keeps, on a real node."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from chart import NAMESPACE, RELEASE, Rights, refused, seed_values
from landscape import NODES, Shoot, configuration, controller_process, with_options
from node_places import QUICK
from patience import eventually

from orchestrator.controller.installation import Installation
from orchestrator.controller.kinds import CONFIG_MAPS, CONTAINER_RUNTIMES
from orchestrator.controller.nodes import mark
from orchestrator.controller.nodes.settings import NodesOptions
from orchestrator.controller.nodes.ssh_settings import SshSettings
from orchestrator.execution import processes
from orchestrator.kube.api_error import AlreadyExistsError
from orchestrator.kube.client import Selection
from orchestrator.kube.events import EVENTS
from orchestrator.kube.resource import Resource
from orchestrator.kube.shoot_credentials import SECRETS
from orchestrator.lab import Lab
from orchestrator.lab.pods import Pods
from orchestrator.lab.removal import down
from orchestrator.lab.tree import difference, snapshot

pytestmark = pytest.mark.node

TOKEN = "a-token-of-a-controller"  # noqa: S105 - of a throw-away API server
BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False)
OF_A = {
    "worker.gardener.cloud/pool": "a",
    "worker.garden.sapcloud.io/group": "a",
    "worker.gardener.cloud/cri-name": "containerd",
}
DIRECTORY = "/var/bin/containerruntimes"
SMALL = "20260224.0"  # half of the default's size
RUN = 180
"""Seconds in which a run has to have ended, on a machine with much else to do."""

# As Gardener's script makes its user; sshd says which keys were offered.
_USER = """
useradd --create-home --shell /bin/bash gardener
install -d -m 700 -o gardener /home/gardener/.ssh
echo 'gardener ALL=(ALL) NOPASSWD:ALL' > /etc/sudoers.d/99-gardener-user
chmod 440 /etc/sudoers.d/99-gardener-user
echo 'LogLevel VERBOSE' > /etc/ssh/sshd_config.d/verbose.conf
systemctl reload ssh
"""


@pytest.fixture(scope="module")
def lab():
    """One node with Gardener's user."""
    name = f"test-{secrets.token_hex(3)}-ssh"
    try:
        made = Lab.up(name, nodes=1, release=SMALL)
        made.nodes[0].run(_USER)
        yield made
    finally:
        down(name)


@pytest.fixture(scope="module", autouse=True)
def rights_for_ssh(rights, helm, seed):
    """What the chart allows where nodes are reached by SSH: its controller finds the keys by their labels."""
    values = seed_values(config={"nodes": {"executor": "ssh"}})
    Rights(seed, helm.template(RELEASE, NAMESPACE, values), "controller", NAMESPACE).grant()
    yield
    rights.grant()


@pytest.fixture(scope="module")
def address(lab):
    """Where the node answers inside its network, which this machine is part of."""
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return lab.engine.call("inspect", "--format", form, lab.nodes[0].name, what="no address").stdout.strip()


class KeyPair:
    def __init__(self, directory, name):
        path = directory / name
        argv = ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "", "-C", name, "-f", str(path)]
        subprocess.run(argv, check=True)
        self.private = path.read_text()
        self.public = path.with_suffix(".pub").read_text()
        listed = subprocess.run(["ssh-keygen", "-l", "-f", str(path)], check=True, capture_output=True, text=True)
        self.fingerprint = listed.stdout.split()[1]
        path.unlink()

    @property
    def heart(self):
        """A line from the middle of the private key."""
        lines = self.private.splitlines()
        return lines[len(lines) // 2]


def make_key(shoot, directory, name, rotated):
    """Make a key pair, and its Secret as gardenlet's secrets manager does."""
    pair = KeyPair(directory, name)
    labels = {
        "name": "ssh-keypair",
        "managed-by": "secrets-manager",
        "manager-identity": "gardenlet",
        "last-rotation-initiation-time": rotated,
        "persist": "true",
    }
    data = {"id_rsa": pair.private, "id_rsa.pub": pair.public}
    raw = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"ssh-keypair-{secrets.token_hex(4)}", "namespace": shoot.namespace, "labels": labels},
        "immutable": True,
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in data.items()},
    }
    shoot.client.create(SECRETS, raw)
    return pair


def admit(node, *pairs):
    """Let these keys, and no others, log in on the node."""
    node.write("/home/gardener/.ssh/authorized_keys", "".join(pair.public for pair in pairs))


def make_reachable(shoot):
    """Give the Shoot the access that gardenlet keeps; who has its token may do everything there."""
    encoded = base64.b64encode(json.dumps(shoot.target_kubeconfig(TOKEN)).encode()).decode()
    metadata = {"namespace": shoot.namespace, "name": "gardener-internal"}
    shoot.client.create(
        SECRETS, {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"kubeconfig": encoded}}
    )
    binding = {
        "apiVersion": BINDINGS.api_version,
        "kind": BINDINGS.kind,
        "metadata": {"name": "gardener"},
        "roleRef": {"apiGroup": BINDINGS.group, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": BINDINGS.group, "kind": "User", "name": "restricted"}],
    }
    with suppress(AlreadyExistsError):
        shoot.target.create(BINDINGS, binding)


def add_node(shoot, address):
    """Add a Node of pool a whose kubelet is ready; return a function that reads it."""
    name = shoot.add_node("n1", [("InternalIP", address)], **OF_A)
    return lambda: shoot.target.get(NODES, name)


def marked(read, name):
    text = (read()["metadata"].get("annotations") or {}).get(name)
    return json.loads(text) if text else None


def await_proof(shoot, read, *, after=None):
    """Wait until the node is proved as the pool wishes, and otherwise than before; returns the proof."""

    def looked():
        wish = shoot.target.find(CONFIG_MAPS, "gvisor-nodes-a", "kube-system")
        proof = marked(read, mark.PROOF)
        if not wish or not proof or (after and proof["fingerprint"] == after["fingerprint"]):
            return None
        return proof if proof["fingerprint"] == wish["data"]["fingerprint"] else None

    return eventually(looked, RUN, read)


def end_of_journal(node):
    """What was said from here on is asked for by this."""
    return node.run("journalctl --quiet --lines=0 --show-cursor").stdout.split("cursor: ")[1].strip()


def offered(node, since):
    """The keys that were offered to sshd, in their order, and whether each was taken."""
    log = node.run(f"journalctl --output=cat --after-cursor='{since}' _COMM=sshd _COMM=sshd-session").stdout
    lines = [line for line in log.splitlines() if " publickey for gardener" in line]
    return [(line.split()[-1], line.startswith("Accepted")) for line in lines]


def test_case_83_without_ssh_access_there_is_no_connection(shoot, lab, controller, tmp_path):
    make_reachable(shoot)
    make_key(shoot, tmp_path, "key", "")
    shoot.change_shoot(spec={"provider": {"workersSettings": {"sshAccess": {"enabled": False}}}})
    read = add_node(shoot, "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        ssh = SshSettings(artifacts_directory=str(lab.releases.directory), timeout=RUN, port=server.getsockname()[1])
        options = NodesOptions(ssh=ssh, pace=QUICK)
        with controller(with_options(installation=Installation(release=lab.release), nodes=options)):
            shoot.deploy()
            failure = eventually(lambda: marked(read, mark.FAILURE), what=read)
            assert ("refused", True) == (failure["outcome"], "sshAccess" in failure["message"])
            with pytest.raises(BlockingIOError):
                server.accept()
            # It is written after the mark.
            eventually(lambda: _told(shoot.target, "GVisorRefused", "sshAccess"))

            # The counterpart: with access there is one, so this is where it would have been seen.
            shoot.change_shoot(spec={"provider": {"workersSettings": {"sshAccess": {"enabled": True}}}})
            connection, _ = eventually(lambda: _accepted(server), RUN)
            connection.close()


def _accepted(server):
    with suppress(BlockingIOError):
        return server.accept()
    return None


def _told(client, reason, text):
    """Whether an event of this reason has the text in its message."""
    return any(reason == one["reason"] and text in one["message"] for one in _events(client, "default"))


def _events(client, namespace):
    return (raw for page in client.pages(EVENTS, Selection(namespace)) for raw in page.items)


class Watcher:
    """Looks at what a process and its children show of themselves, again and again."""

    def __init__(self, pid, needles):
        self._pid = pid
        self._needles = [needle.encode() for needle in needles]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.files = {}
        self.shown = set()
        self.rounds = 0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._thread.join(30)

    def _watch(self):
        while not self._stop.wait(0.05):
            self.rounds += 1
            for pid in {self._pid, *processes.descendants(self._pid)}:
                for name in ("cmdline", "environ"):
                    with suppress(OSError):
                        if self._has(Path(f"/proc/{pid}/{name}").read_bytes()):
                            self.shown.add((pid, name))
            for path in key_files(self._pid):
                with suppress(OSError):
                    if self._has(path.read_bytes()):
                        modes = path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777
                        self.files[path] = (*modes, path.parent.parent)

    def _has(self, content):
        return any(needle in content for needle in self._needles)


def key_files(pid):
    """The files of a process's runs."""
    found = []
    for directory in Path("/dev/shm").glob(f"gvn-{pid}-*"):
        with suppress(OSError):
            found += [path for path in directory.rglob("*") if path.is_file()]
    return found


@dataclass
class Life:
    """What there is to say of the life of one node, from the pool that it joins to the pool's end.

    Attributes:
        old: the older key, at first the only one that opens the node.
        new: the newer one, later the only one.
        left: files with keys, and processes, of the controller that was killed in the first run.
        offered: to the node's sshd, by the controller that came after it.
        generations: that were proved.
        said: everything that can be read of it, as texts.
        watcher: what it showed of itself, and files with keys.
        files: with keys, after its end.
        after: the node's annotations, and what differs in its tree.
    """

    old: KeyPair
    new: KeyPair
    left: list
    offered: list
    generations: list
    said: list
    watcher: Watcher
    files: list
    after: tuple


@pytest.fixture(scope="module")
def life(lab, address, cluster, seed, target, resource_manager, controllers_kubeconfig, tmp_path_factory):
    """A node is provided, by the second of two controllers, changed and cleared."""
    shoot = Shoot(seed, target, f"shoot--t--{secrets.token_hex(3)}", cluster).prepare()
    forbidden = len(refused(cluster.seed, "controller"))
    try:
        found = _live(shoot, lab, address, controllers_kubeconfig, tmp_path_factory.mktemp("life"))
    finally:
        shoot.clear()
    assert [] == refused(cluster.seed, "controller")[forbidden:], "the chart's roles do not allow it"
    return found


def _live(shoot, lab, address, kubeconfig, directory):
    [node] = lab.nodes
    make_reachable(shoot)
    old, new = make_key(shoot, directory, "old", ""), make_key(shoot, directory, "new", "1700000000")
    admit(node, old)
    read = add_node(shoot, address)
    before = snapshot(node)
    settings = {
        "log": {"level": "debug"},
        "gvisor": {"release": lab.release},
        "nodes": {
            "executor": "ssh",
            "timeoutSeconds": RUN,
            "ssh": {"artifactsDirectory": str(lab.releases.directory)},
        },
    }

    def process():
        return controller_process(directory, kubeconfig, settings)

    with process() as killed:
        killed.await_ready()
        shoot.deploy()
        eventually(lambda: identities(killed.process.pid), RUN)
        assert not marked(read, mark.CLAIM)["recorded"]
        children = processes.descendants(killed.process.pid)
        killed.process.send_signal(signal.SIGKILL)
        killed.process.wait(60)

    def left():
        return identities(killed.process.pid) + [pid for pid in children if os.path.exists(f"/proc/{pid}")]

    with suppress(AssertionError):  # a test tells
        eventually(lambda: not left())
    for path in Path("/dev/shm").glob(f"gvn-{killed.process.pid}-*"):  # of host keys, which are public
        shutil.rmtree(path)

    since = end_of_journal(node)
    with process() as one, Watcher(one.process.pid, needles_of(old, new)) as watcher:
        one.await_ready()
        first = await_proof(shoot, read)
        keys = offered(node, since)
        with Pods(node) as pods:
            pod = pods.run("runsc", "p")
            container = pod.start_container("main", ["sleep", "1000"])
            assert "Starting gVisor" in pod.exec(container, ["dmesg"]).text
            pods.clear()
        assert "" == node.run("ls -A /home/gardener/.ansible 2>/dev/null; :").stdout

        admit(node, new)
        shoot.ask(spec={"providerConfig": configuration(net_raw="true")})
        second = await_proof(shoot, read, after=first)
        assert "--net-raw=true" in node.read(f"{DIRECTORY}/generations/2/flags")

        said = [json.dumps(shoot.get()), json.dumps(read())]
        said += [json.dumps(raw) for raw in _everything(shoot.client, shoot.target, shoot.namespace)]
        shoot.delete()
        shoot.await_gone(deadline=RUN)
        admit(node, old)  # as it was
        after = read()["metadata"].get("annotations") or {}, difference(before, snapshot(node))
        said += [json.dumps(raw) for raw in _everything(shoot.client, shoot.target, shoot.namespace)]
        assert 0 == one.end()
    return Life(
        old=old,
        new=new,
        left=left(),
        offered=keys,
        generations=[first["generation"], second["generation"]],
        said=[*said, killed.text, one.text],
        watcher=watcher,
        files=key_files(one.process.pid),
        after=after,
    )


def identities(pid):
    """The files with private keys of a process's runs."""
    return [path for path in key_files(pid) if path.name.startswith("identity")]


def needles_of(*keys):
    """What shall show up nowhere."""
    return [*(key.heart for key in keys), TOKEN, base64.b64encode(TOKEN.encode()).decode().rstrip("=")]


def _everything(seed, target, namespace):
    """What others may read: all but the Secrets that gardenlet keeps."""
    yield from _events(seed, namespace)
    for place in ("default", "kube-system"):
        yield from _events(target, place)
    for client, resource, place in (
        (seed, CONTAINER_RUNTIMES, namespace),
        (seed, SECRETS, namespace),
        (target, CONFIG_MAPS, "kube-system"),
        (target, NODES, ""),
    ):
        for page in client.pages(resource, Selection(place)):
            for raw in page.items:
                name = raw["metadata"]["name"]
                if not name.startswith(("ssh-keypair-", "gardener-internal")):
                    yield raw
                    for value in (raw.get("data") or {}).values() if resource is SECRETS else ():
                        yield base64.b64decode(value).decode("utf-8", "replace")


def test_case_83_of_two_keys_the_newest_is_tried_first_then_the_older(life):
    assert [(life.new.fingerprint, False), (life.old.fingerprint, True)] == life.offered[:2]


def test_case_84_in_the_whole_life_of_a_node_keys_and_tokens_show_up_nowhere(life):
    needles = needles_of(life.old, life.new)

    assert any("GVisorProved" in text for text in life.said), "there was something to look at"
    assert [] == [needle for needle in needles if any(needle in text for text in life.said)]
    assert set() == life.watcher.shown
    assert life.watcher.rounds > 100
    # Two keys for each of three runs, in memory, and nothing of them is left.
    assert {(0o600, 0o700, Path("/dev/shm"))} == set(life.watcher.files.values())
    assert [] == life.files


@pytest.mark.feature("J3")
@pytest.mark.feature("J4")
def test_a_node_that_is_reached_by_ssh_is_provided_changed_and_cleared_without_a_trace(life):
    annotations, lines = life.after

    assert [1, 2] == life.generations
    assert [] == lines
    assert {mark.CLAIM, mark.PROOF, mark.FAILURE}.isdisjoint(annotations)


def test_a_controller_that_is_killed_leaves_no_key_and_the_next_one_begins_anew(life):
    assert [] == life.left
    assert 1 == life.generations[0]
