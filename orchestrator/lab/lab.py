"""The life of a lab: brought up (again and again), looked at, and loaded by those that come later.

What is the lab's carries its name: containers and network have the label ``gvisor-nodes.lab=<name>``, keys and the
inventory lie in its state directory. How nodes are started is in :mod:`orchestrator.lab.provisioning`, how a lab ends
in :mod:`orchestrator.lab.removal`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import InvalidInputError
from orchestrator.lab import capabilities
from orchestrator.lab.artifacts import DEFAULT_RELEASE, LabReleases
from orchestrator.lab.builds import Builds
from orchestrator.lab.engine import Engine, find_engine
from orchestrator.lab.inventory import render_inventory
from orchestrator.lab.kinds import chosen_kinds
from orchestrator.lab.lock import held
from orchestrator.lab.paths import lab_directory, lab_lock, lab_names, replace_file
from orchestrator.lab.program import Progress, silent
from orchestrator.lab.provisioning import (
    by_number,
    kept_nodes,
    kind_of,
    make_credentials,
    missing_nodes,
    node_of,
    prepare_nodes,
    start_nodes,
)
from orchestrator.lab.removal import down

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orchestrator.lab.node import LabNode

_NODES = 2
_MOST_NODES = 50
_LOCK_SECONDS = 3600.0  # as long as the longest build


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab that is up.

    ``state`` is its directory: ``inventory.yml``, ``id_ed25519``, ``known_hosts``, ``operator-password``, ``lab.json``.
    """

    name: str
    nodes: tuple[LabNode, ...]
    release: str
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
        replace_file(path, text)

    @classmethod
    def up(
        cls,
        name: str = "lab",
        nodes: int | None = None,
        *,
        release: str | None = None,
        kind: str | None = None,
        kinds: Sequence[str] = (),
        on_progress: Progress = silent,
    ) -> Lab:
        """Make sure that the lab has at least ``nodes`` ready nodes; running ones are kept as they are.

        Builds what is missing (images, gVisor release) into the cache. Returns when systemd is up on every node,
        containerd's socket is there and sshd answers.

        Args:
            name: of the lab.
            nodes: how many; by default 2, or one of each kind if there are more kinds.
            release: what the inventory asks for; by default what it asked for before, else :data:`DEFAULT_RELEASE`.
            kind: the kind of every node that is made: a name of :data:`orchestrator.lab.kinds.KINDS`, or an alias.
            kinds: in its place several kinds, given in turn to the nodes by their numbers. With neither the lab goes on
                with the kinds that it was given before, or has the default kind.
            on_progress: told what begins.

        Raises:
            InvalidInputError: no such name, kind, release or number of nodes.
            RefusedError: not root, or another process is at work on the same lab.
            MissingComponentError: a program is missing.
            GvisorNodesError: a build failed or a node did not become ready.
        """
        state = lab_directory(name)
        before = _written(state)
        chosen = chosen_kinds(kind, kinds or (before.kinds if kind is None else ()))
        release = release or before.release
        wanted = chosen_nodes(nodes, chosen)
        probed = capabilities.probe()
        capabilities.require_privileges(probed)
        engine = find_engine()
        with (
            held(lab_lock(name), what=f"lab {name}", timeout=_LOCK_SECONDS, progress=on_progress),
            Builds(engine, probed, on_progress) as builds,
        ):
            there = [container for container in engine.containers(name) if container.has_run]
            missing = missing_nodes(there, name, wanted, chosen)
            capabilities.require_inotify(len(missing))
            for line in kept_nodes(there, chosen):
                on_progress(line)
            images = builds.images(missing.values())
            built = builds.release(release)
            state.mkdir(parents=True, exist_ok=True)
            state.chmod(0o700)
            make_credentials(name, state)
            containers = start_nodes(engine, name, missing, images, on_progress)
            made = tuple(node_of(container, engine, state) for container in containers)
            prepare_nodes(made, state, on_progress)
            built.result()
            lab = cls(name, made, release, state, engine, builds.releases)
            lab._write_inventory(lab.inventory, "root")
            replace_file(state / "lab.json", json.dumps({"release": release, "kinds": chosen}) + "\n")
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
                why=f"labs: {', '.join(lab_names()) or 'none'}",
                remedy=f"gvisor-nodes lab up --name {name}",
            )
        engine = find_engine()
        nodes = tuple(
            node_of(container, engine, state) for container in by_number(engine.containers(name)) if container.running
        )
        releases = LabReleases.of(patched=not capabilities.probe().lowers_oom_score)
        return cls(name, nodes, _written(state).release, state, engine, releases)

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
                "kind": kind_of(container),
                "inventory": str(inventory) if inventory.exists() else None,
            }
            for container in by_number(find_engine().containers(name))
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
        """Remove what up made; see :func:`orchestrator.lab.removal.down`."""
        down(self.name)


@dataclass(frozen=True, slots=True)
class _Written:
    """What the last up was asked for."""

    release: str = DEFAULT_RELEASE
    kinds: tuple[str, ...] = ()


def _written(state: Path) -> _Written:
    try:
        text = (state / "lab.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return _Written()
    found = json.loads(text)
    return _Written(found["release"], tuple(found.get("kinds", ())))


def chosen_nodes(nodes: int | None, kinds: Sequence[str]) -> int:
    """Return the number of nodes. Pure.

    Raises:
        InvalidInputError: none, too many, or not enough for every kind to have one.
    """
    wanted = max(_NODES, len(kinds)) if nodes is None else nodes
    if not 1 <= wanted <= _MOST_NODES:
        raise InvalidInputError(
            f"A lab cannot have {wanted} nodes", why=f"1 to {_MOST_NODES}", remedy="choose another --nodes"
        )
    if wanted < len(kinds):
        raise InvalidInputError(
            f"{wanted} nodes cannot be of {len(kinds)} kinds", remedy=f"--nodes {len(kinds)}, or name fewer kinds"
        )
    return wanted


def build(releases: Sequence[str], kinds: Sequence[str], progress: Progress = silent) -> list[str]:
    """Build the images of these kinds and the releases; return the images' tags and the directories of the binaries."""
    probed = capabilities.probe()
    capabilities.require_privileges(probed)
    with Builds(find_engine(), probed, progress) as builds:
        images = builds.images(chosen_kinds(None, kinds))
        made = [builds.release(release) for release in releases]
        return [*(image.result() for image in images.values()), *(str(directory.result()) for directory in made)]
