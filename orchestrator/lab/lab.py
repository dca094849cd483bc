"""The life of a lab: brought up (again and again), looked at, and loaded by those that come later.

What is the lab's carries its name: containers and network have the label ``gvisor-nodes.lab=<name>``, keys and the
inventory lie in its state directory. How nodes are started is in :mod:`orchestrator.lab.provisioning`, how a lab ends
in :mod:`orchestrator.lab.removal`.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import InvalidInputError
from orchestrator.lab import capabilities
from orchestrator.lab.artifacts import DEFAULT_RELEASE, LabReleases
from orchestrator.lab.engine import KIND_LABEL, Engine, find_engine
from orchestrator.lab.image import NodeImage
from orchestrator.lab.inventory import render_inventory
from orchestrator.lab.kinds import DEFAULT_KIND, kind_named
from orchestrator.lab.lock import held
from orchestrator.lab.paths import lab_directory, lab_lock, lab_names, replace_file
from orchestrator.lab.program import Progress, silent
from orchestrator.lab.provisioning import by_number, make_credentials, node_of, prepare_nodes, start_nodes
from orchestrator.lab.removal import down

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orchestrator.lab.node import LabNode

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
        replace_file(path, text)

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
            held(lab_lock(name), what=f"lab {name}", timeout=_LOCK_SECONDS, progress=on_progress),
            ThreadPoolExecutor(max_workers=1, thread_name_prefix="gvisor") as builder,
        ):
            built = builder.submit(releases.ensure, release, on_progress)
            image = NodeImage.of(node_kind, probed).ensure(engine, on_progress)
            state.mkdir(parents=True, exist_ok=True)
            state.chmod(0o700)
            make_credentials(name, state)
            containers = start_nodes(engine, name, nodes, image=image, kind=kind, progress=on_progress)
            made = tuple(node_of(container, engine, state) for container in containers)
            prepare_nodes(made, state, on_progress)
            built.result()
            lab = cls(name, made, release, kind, state, engine, releases)
            lab._write_inventory(lab.inventory, "root")
            replace_file(state / "lab.json", json.dumps({"release": release, "kind": kind}) + "\n")
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
        written = json.loads((state / "lab.json").read_text(encoding="utf-8"))
        engine = find_engine()
        nodes = tuple(
            node_of(container, engine, state) for container in by_number(engine.containers(name)) if container.running
        )
        releases = LabReleases.of(patched=not capabilities.probe().lowers_oom_score)
        return cls(name, nodes, written["release"], written["kind"], state, engine, releases)

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


def build(releases: Sequence[str], kind: str, progress: Progress = silent) -> list[str]:
    """Build the node image and the releases; return the image's tag and the directories of the binaries."""
    probed = capabilities.probe()
    capabilities.require_privileges(probed)
    made = LabReleases.of(patched=not probed.lowers_oom_score)
    tag = NodeImage.of(kind_named(kind), probed).ensure(find_engine(), progress)
    return [tag, *(str(made.ensure(release, progress)) for release in releases)]
