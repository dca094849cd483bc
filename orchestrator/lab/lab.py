"""The life of a lab: up (again and again), listed, and down without a trace.

What is the lab's carries its name: containers and network have the label ``gvisor-nodes.lab=<name>``, keys and the
inventory lie in its state directory. Down removes by label, so also what an interrupted up left behind.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import GvisorNodesError, InvalidInputError
from orchestrator.lab import capabilities
from orchestrator.lab.artifacts import DEFAULT_RELEASE, LabReleases
from orchestrator.lab.engine import LABEL, Container, Engine, find_engine
from orchestrator.lab.image import NodeImage
from orchestrator.lab.inventory import render_inventory
from orchestrator.lab.kinds import DEFAULT_KIND, kind_named
from orchestrator.lab.lock import held
from orchestrator.lab.node import LabNode
from orchestrator.lab.paths import cache_directory, lab_directory, labs_directory
from orchestrator.lab.program import Progress, call, require, silent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NODE_LABEL = "gvisor-nodes.node"
KIND_LABEL = "gvisor-nodes.kind"
STATE_LABEL = "gvisor-nodes.state"

_MOST_NODES = 50
_READY_SECONDS = 90.0
_LOCK_SECONDS = 3600.0

# Runs on every node at every up; changes nothing where the key is in already (a snapshot of the tree must not see an up).
# Standard input: the password of `operator`, then the public key that may log in.
_ADMIT = """\
set -e
read -r password
read -r key
[ "$(cat /root/.ssh/authorized_keys 2>/dev/null)" != "$key" ] || exit 0
printf 'operator:%s\\n' "$password" | chpasswd
for user in admin operator root; do
  home=$(getent passwd $user | cut -d: -f6)
  install -d -m 700 $home/.ssh
  printf '%s\\n' "$key" > $home/.ssh/authorized_keys
  chown -R $user: $home/.ssh
  chmod 600 $home/.ssh/authorized_keys
done
"""


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab that is up.

    ``state`` is its directory: ``inventory.yml``, ``id_ed25519``, ``known_hosts``, ``operator-password``, ``lab.json``.
    """

    name: str
    nodes: tuple[LabNode, ...]
    release: str
    kind: str
    state: Path
    engine: Engine
    releases: LabReleases

    @property
    def inventory(self) -> Path:
        """The inventory file: root logs in."""
        return self.state / "inventory.yml"

    @property
    def operator_password(self) -> str:
        """The password that sudo asks the user ``operator`` for."""
        return (self.state / "operator-password").read_text(encoding="ascii").strip()

    def inventory_for(self, user: str) -> Path:
        """Write an inventory in which ``admin`` or ``operator`` logs in and becomes root; return its path."""
        path = self.state / f"inventory-{user}.yml"
        self._write_inventory(path, user)
        return path

    def ensure_release(self, release: str, on_progress: Progress = silent) -> Path:
        """Build another release into the directory that the inventory names; return its binaries' directory."""
        return self.releases.ensure(release, on_progress)

    def _write_inventory(self, path: Path, user: str) -> None:
        text = render_inventory(
            self.nodes, release=self.release, releases=self.releases, user=user, identity=self.state / "id_ed25519"
        )
        _replace(path, text)

    @classmethod
    def up(
        cls,
        name: str = "lab",
        nodes: int = 2,
        *,
        release: str = DEFAULT_RELEASE,
        kind: str = DEFAULT_KIND,
        on_progress: Progress = silent,
    ) -> Lab:
        """Make sure that the lab has at least ``nodes`` ready nodes; running ones are kept as they are.

        Builds what is missing (image, gVisor release) into the cache. Returns when systemd is up on every node,
        containerd's socket is there and sshd answers.

        Raises:
            InvalidInputError: no such name, kind, release or number of nodes.
            RefusedError: not root, or another process is at work on the same lab.
            MissingComponentError: a program is missing.
            GvisorNodesError: a build failed or a node did not become ready.
        """
        node_kind = kind_named(kind)
        state = lab_directory(name)
        if not 1 <= nodes <= _MOST_NODES:
            raise InvalidInputError(
                f"A lab cannot have {nodes} nodes", why=f"1 to {_MOST_NODES}", remedy="choose another --nodes"
            )
        probed = capabilities.probe()
        capabilities.require_privileges(probed)
        engine = find_engine()
        releases = LabReleases.of(patched=not probed.lowers_oom_score)
        with (
            held(labs_directory() / f"{name}.lock", what=f"lab {name}", timeout=_LOCK_SECONDS, progress=on_progress),
            ThreadPoolExecutor(max_workers=1, thread_name_prefix="gvisor") as builder,
        ):
            built = builder.submit(releases.ensure, release, on_progress)
            image = NodeImage.of(node_kind, probed).ensure(engine, on_progress)
            state.mkdir(parents=True, exist_ok=True)
            state.chmod(0o700)
            _make_credentials(name, state)
            containers = _start(engine, name, nodes, image, kind, on_progress)
            made = tuple(_node(container, engine, state) for container in containers)
            _prepare(made, state, on_progress)
            built.result()
            lab = cls(name, made, release, kind, state, engine, releases)
            lab._write_inventory(lab.inventory, "root")
            _replace(state / "lab.json", json.dumps({"release": release, "kind": kind}) + "\n")
        return lab

    @classmethod
    def load(cls, name: str) -> Lab:
        """Return a lab that was brought up before, with the nodes that run now.

        Raises:
            InvalidInputError: there is no such lab.
        """
        state = lab_directory(name)
        if not (state / "lab.json").exists():
            raise InvalidInputError(
                f"There is no lab called {name!r}",
                why=f"labs: {', '.join(cls.names()) or 'none'}",
                remedy=f"gvisor-nodes lab up --name {name}",
            )
        written = json.loads((state / "lab.json").read_text(encoding="utf-8"))
        engine = find_engine()
        nodes = tuple(
            _node(container, engine, state) for container in _by_number(engine.containers(name)) if container.running
        )
        releases = LabReleases.of(patched=not capabilities.probe().lowers_oom_score)
        return cls(name, nodes, written["release"], written["kind"], state, engine, releases)

    @staticmethod
    def names() -> list[str]:
        """Return the names of all labs of this user, those of an interrupted up included."""
        directory = labs_directory()
        return sorted(path.name for path in directory.iterdir() if path.is_dir()) if directory.is_dir() else []

    @staticmethod
    def describe(name: str) -> list[dict[str, str | int | None]]:
        """Return a row for each container of the lab: lab, node, state, port, kind, inventory."""
        inventory = lab_directory(name) / "inventory.yml"
        return [
            {
                "lab": name,
                "node": container.name,
                "state": "running" if container.running else "stopped",
                "port": container.ssh_port,
                "kind": container.labels.get(KIND_LABEL),
                "inventory": str(inventory) if inventory.exists() else None,
            }
            for container in _by_number(find_engine().containers(name))
        ]

    def node(self, name: str) -> LabNode:
        """Return the node by its name or its number (``1``).

        Raises:
            InvalidInputError: there is no such node, or it does not run.
        """
        for node in self.nodes:
            if name in {node.name, node.name.removeprefix(f"gvisor-nodes-{self.name}-")}:
                return node
        raise InvalidInputError(
            f"The lab {self.name} has no running node {name!r}",
            why=f"running nodes: {', '.join(node.name for node in self.nodes) or 'none'}",
            remedy="gvisor-nodes lab list",
        )

    def down(self) -> None:
        """Remove what up made; see :func:`down`."""
        down(self.name)


def down(name: str, on_progress: Progress = silent) -> bool:
    """Remove the lab's containers with their volumes, its network and its state; tell whether there was anything."""
    state = lab_directory(name)
    engine = find_engine()
    lock = labs_directory() / f"{name}.lock"
    with held(lock, what=f"lab {name}", timeout=_LOCK_SECONDS, progress=on_progress):
        containers = [container.name for container in engine.containers(name)]
        networks = engine.networks(name)
        if containers:
            on_progress(f"remove {', '.join(containers)}")
        engine.remove_containers(containers)
        for network in networks:
            engine.remove_network(network)
        there = bool(containers or networks or state.exists())
        shutil.rmtree(state, ignore_errors=True)
        lock.unlink()
    return there


def left_overs(engine: Engine | None = None) -> list[str]:
    """Return the names of all labs of this user's state directory, and of containers and networks made from there."""
    engine = engine or find_engine()
    mine = str(labs_directory())
    of_containers = {
        container.labels[LABEL] for container in engine.containers() if container.labels.get(STATE_LABEL) == mine
    }
    return sorted({*Lab.names(), *of_containers})


def build(releases: Sequence[str], kind: str, progress: Progress = silent) -> list[str]:
    """Build the node image and the releases; return the image's tag and the directories of the binaries."""
    probed = capabilities.probe()
    capabilities.require_privileges(probed)
    made = LabReleases.of(patched=not probed.lowers_oom_score)
    tag = NodeImage.of(kind_named(kind), probed).ensure(find_engine(), progress)
    return [tag, *(str(made.ensure(release, progress)) for release in releases)]


def clean(progress: Progress = silent) -> None:
    """Remove every lab, every node image and the lab's cache."""
    engine = find_engine()
    for name in left_overs(engine):
        down(name, progress)
    for image in engine.images():
        removed = engine.remove_image(image)
        progress(
            f"removed image {image}" if removed else f"image {image} stays: a lab of another state directory uses it"
        )
    progress(f"remove {cache_directory()}")
    shutil.rmtree(cache_directory(), ignore_errors=True)
    if labs_directory().is_dir() and not any(labs_directory().iterdir()):
        labs_directory().rmdir()


def _start(engine: Engine, lab: str, nodes: int, image: str, kind: str, progress: Progress) -> list[Container]:
    """Start what does not run, all at once, and return every container of the lab, by number."""
    network = f"gvisor-nodes-{lab}"
    state = {STATE_LABEL: str(labs_directory())}
    engine.add_network(network, {LABEL: lab, **state})
    there = {container.name: container for container in engine.containers(lab)}
    wanted = {f"gvisor-nodes-{lab}-{number}": number for number in range(1, nodes + 1)}
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="node") as pool:
        started = []
        for name in sorted(there.keys() | wanted.keys()):
            if name not in there:
                progress(f"start {name}")
                labels = {LABEL: lab, NODE_LABEL: str(wanted[name]), KIND_LABEL: kind, **state}
                started.append(pool.submit(engine.start_node, name, image, network=network, labels=labels))
            elif not there[name].running:
                progress(f"start {name} again")
                started.append(pool.submit(engine.start_again, name))
        for future in started:
            future.result()
    return _by_number(engine.containers(lab))


def _prepare(nodes: tuple[LabNode, ...], state: Path, progress: Progress) -> None:
    """Wait for every node, let our key in, and write down the host keys that they really have."""
    progress("wait for systemd, sshd and containerd")
    stdin = "".join(
        (state / name).read_text(encoding="ascii").strip() + "\n" for name in ("operator-password", "id_ed25519.pub")
    )

    def prepare(node: LabNode) -> str:
        node.wait_until_ready(_READY_SECONDS)
        node.run(_ADMIT, stdin=stdin)
        return f"[127.0.0.1]:{node.port} {node.host_key()}\n"

    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="node") as pool:
        _replace(state / "known_hosts", "".join(pool.map(prepare, nodes)))


def _make_credentials(name: str, state: Path) -> None:
    if not (state / "id_ed25519.pub").exists():
        (state / "id_ed25519").unlink(missing_ok=True)
        call(
            [require("ssh-keygen"), "-q", "-t", "ed25519", "-N", "", "-C", f"gvisor-nodes lab {name}"]
            + ["-f", str(state / "id_ed25519")],
            what="No ssh key for the lab",
        )
    if not (state / "operator-password").exists():
        _replace(state / "operator-password", secrets.token_urlsafe(12) + "\n", mode=0o600)


def _node(container: Container, engine: Engine, state: Path) -> LabNode:
    if container.ssh_port is None:
        raise GvisorNodesError(
            f"The node {container.name} has no port for ssh",
            why="it stopped just after it was started" if not container.running else "the engine published none",
            remedy=f"{engine.name} logs {container.name}; then gvisor-nodes lab down and up again",
        )
    return LabNode(container.name, container.ssh_port, engine, state / "id_ed25519", state / "known_hosts")


def _by_number(containers: list[Container]) -> list[Container]:
    return sorted(containers, key=lambda container: int(container.labels.get(NODE_LABEL, "0")))


def _replace(path: Path, text: str, mode: int = 0o644) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.chmod(mode)
    draft.replace(path)
