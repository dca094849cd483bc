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
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from chart import NAMESPACE, RELEASE, Rights, seed_values
from landscape import NODES, configuration, eventually, with_options

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
        made = Lab.up(name, nodes=1)
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


@pytest.fixture
def node(lab):
    return lab.nodes[0]


@pytest.fixture(scope="module")
def address(lab):
    """Where the node answers inside its network, which this machine is part of."""
    form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return lab.engine.call("inspect", "--format", form, lab.nodes[0].name, what="no address").stdout.strip()


@pytest.fixture
def ssh_settings(lab):
    """The operator's, for the lab's releases."""
    return SshSettings(
        artifacts_directory=str(lab.releases.directory),
        timeout=RUN,
    )


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


@pytest.fixture
def make_key(shoot, tmp_path):
    """Makes a key pair, and its Secret as gardenlet's secrets manager does."""

    def make(name, rotated):
        pair = KeyPair(tmp_path, name)
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

    return make


@pytest.fixture
def admit(node):
    """Lets these keys, and no others, log in on the node."""

    def write(*pairs):
        node.write("/home/gardener/.ssh/authorized_keys", "".join(pair.public for pair in pairs))

    return write


@pytest.fixture
def reachable(shoot, target):
    """The Shoot with the access that gardenlet keeps; who has its token may do everything there."""
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
        target.create(BINDINGS, binding)
    return shoot


@pytest.fixture
def add_node(reachable):
    """Adds a Node of pool a whose kubelet is ready; returns a function that reads it."""

    def add(address):
        name = reachable.add_node("n1", [("InternalIP", address)], **OF_A)
        status = {"conditions": [{"type": "Ready", "status": "True", "reason": "T", "message": ""}]}
        reachable.target.patch(NODES, name, {"status": status}, "", "status")
        return lambda: reachable.target.get(NODES, name)

    return add


@pytest.fixture
def ssh_controller(controller, lab, ssh_settings):
    """A controller in this process that reaches nodes by SSH."""

    def running(**changes):
        settings = SshSettings(
            **{name: getattr(ssh_settings, name) for name in SshSettings.__dataclass_fields__} | changes
        )
        return controller(
            with_options(installation=Installation(release=lab.release), nodes=NodesOptions(ssh=settings))
        )

    return running


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


def offered(node, since):
    """The keys that were offered to sshd, in their order, and whether each was taken."""
    log = node.run(f"journalctl --no-pager --output=cat --since=@{since} _COMM=sshd _COMM=sshd-session").stdout
    lines = [line for line in log.splitlines() if " publickey for gardener" in line]
    return [(line.split()[-1], line.startswith("Accepted")) for line in lines]


def test_case_83_of_two_keys_the_newest_is_tried_first_then_the_older(
    reachable, node, address, make_key, admit, add_node, ssh_controller
):
    old, new = make_key("old", ""), make_key("new", "1700000000")
    admit(old)
    read = add_node(address)
    since = node.run("date +%s").stdout.strip()
    before = snapshot(node)
    with ssh_controller():
        reachable.deploy()
        await_proof(reachable, read)
        assert [(new.fingerprint, False), (old.fingerprint, True)] == offered(node, since)[:2]
        assert (0, "") == (
            node.run(f"test -x {DIRECTORY}/runsc").returncode,
            node.run("ls -A /home/gardener/.ansible 2>/dev/null; :").stdout,
        )

        admit(new)
        reachable.delete()
        reachable.await_gone(deadline=RUN)
        admit(old)  # as it was
        assert [] == difference(before, snapshot(node))

    assert {mark.CLAIM, mark.PROOF, mark.FAILURE}.isdisjoint(read()["metadata"].get("annotations") or {})


def test_case_83_without_ssh_access_there_is_no_connection(reachable, make_key, add_node, ssh_controller):
    make_key("key", "")
    reachable.change_shoot(spec={"provider": {"workersSettings": {"sshAccess": {"enabled": False}}}})
    read = add_node("127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        with ssh_controller(port=server.getsockname()[1]):
            reachable.deploy()
            failure = eventually(lambda: marked(read, mark.FAILURE), what=read)
            assert ("refused", True) == (failure["outcome"], "sshAccess" in failure["message"])
            with pytest.raises(BlockingIOError):
                server.accept()
            # It is written after the mark.
            eventually(lambda: _told(reachable.target, "GVisorRefused", "sshAccess"))

            # The counterpart: with access there is one, so this is where it would have been seen.
            reachable.change_shoot(spec={"provider": {"workersSettings": {"sshAccess": {"enabled": True}}}})
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
        while not self._stop.wait(0.02):
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


@pytest.fixture
def ssh_process(process, lab, ssh_settings):
    """``gvisor-nodes controller`` that reaches nodes by SSH, and logs everything."""

    def start():
        return process(
            log={"level": "debug"},
            gvisor={"release": lab.release},
            nodes={
                "executor": "ssh",
                "timeoutSeconds": RUN,
                "ssh": {"artifactsDirectory": ssh_settings.artifacts_directory},
            },
        )

    return start


@contextmanager
def pods_of(node):
    with Pods(node) as pods:
        yield pods
        pods.clear()


def test_case_84_in_the_whole_life_of_a_node_keys_and_tokens_show_up_nowhere(
    reachable, seed, target, node, address, make_key, admit, add_node, ssh_process
):
    old, new = make_key("old", "1600000000"), make_key("new", "1700000000")
    admit(new)
    read = add_node(address)
    before = snapshot(node)
    needles = [old.heart, new.heart, TOKEN, *(base64.b64encode(one.encode()).decode().rstrip("=") for one in (TOKEN,))]
    with ssh_process() as one, Watcher(one.process.pid, needles) as watcher:
        one.await_ready()
        reachable.deploy()
        first = await_proof(reachable, read)
        assert 1 == first["generation"]
        with pods_of(node) as pods:
            pod = pods.run("runsc", "p")
            container = pod.start_container("main", ["sleep", "1000"])
            assert "gvisor" in pod.exec(container, ["cat", "/proc/version"]).text

        reachable.ask(spec={"providerConfig": configuration(net_raw="true")})
        assert 2 == await_proof(reachable, read, after=first)["generation"]
        assert "--net-raw=true" in node.read(f"{DIRECTORY}/generations/2/flags")

        said = [json.dumps(reachable.get()), json.dumps(read())]
        said += [json.dumps(raw) for raw in _everything(seed, target, reachable.namespace)]
        reachable.delete()
        reachable.await_gone(deadline=RUN)
        assert [] == difference(before, snapshot(node))
        said += [json.dumps(raw) for raw in _everything(seed, target, reachable.namespace)]
        assert 0 == one.end()

    said.append(one.text)
    assert any("GVisorProved" in text for text in said), "there was something to look at"
    assert [] == [needle for needle in needles if any(needle in text for text in said)]
    assert set() == watcher.shown
    assert watcher.rounds > 100
    # Two keys for each of three runs, in memory, and nothing of them is left.
    assert {(0o600, 0o700, Path("/dev/shm"))} == set(watcher.files.values())
    assert [] == key_files(one.process.pid)


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


def test_a_controller_that_is_killed_leaves_no_key_and_the_next_one_begins_anew(
    reachable, node, address, make_key, admit, add_node, ssh_process
):
    key = make_key("key", "")
    admit(key)
    read = add_node(address)
    with ssh_process() as one:
        one.await_ready()
        reachable.deploy()
        eventually(lambda: [path for path in key_files(one.process.pid) if path.name.startswith("identity")], RUN)
        assert not marked(read, mark.CLAIM)["recorded"]
        children = processes.descendants(one.process.pid)
        one.process.send_signal(signal.SIGKILL)
        one.process.wait(60)
        eventually(lambda: not [path for path in key_files(one.process.pid) if path.name.startswith("identity")])
        eventually(lambda: not [pid for pid in children if os.path.exists(f"/proc/{pid}")])
        for directory in Path("/dev/shm").glob(f"gvn-{one.process.pid}-*"):  # of host keys, which are public
            shutil.rmtree(directory)

    with ssh_process() as one:
        one.await_ready()
        await_proof(reachable, read)
        reachable.delete()
        reachable.await_gone(deadline=RUN)
        assert 0 == one.end()

    assert 0 == node.run(f"test ! -e {DIRECTORY}/runsc").returncode
