"""From an image to nodes that are ready: containers started all at once, our key let in, host keys written down.

Host keys are read through the container engine, from the file on the node; nothing that a network answers is trusted.
"""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from orchestrator.errors import GvisorNodesError
from orchestrator.lab.engine import KIND_LABEL, LABEL, NODE_LABEL, STATE_LABEL, Container, Engine
from orchestrator.lab.node import LabNode
from orchestrator.lab.paths import labs_directory, replace_file
from orchestrator.lab.program import Progress, call, require

if TYPE_CHECKING:
    from pathlib import Path

_READY_SECONDS = 90.0

# Runs on every node at every up, and changes nothing where the key is in: a snapshot of the tree must not see an up.
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


def start_nodes(engine: Engine, lab: str, nodes: int, *, image: str, kind: str, progress: Progress) -> list[Container]:
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
    return by_number(engine.containers(lab))


def prepare_nodes(nodes: tuple[LabNode, ...], state: Path, progress: Progress) -> None:
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
        replace_file(state / "known_hosts", "".join(pool.map(prepare, nodes)))


def make_credentials(name: str, state: Path) -> None:
    """Make the lab's ssh key and the password of ``operator`` unless they are there."""
    if not (state / "id_ed25519.pub").exists():
        (state / "id_ed25519").unlink(missing_ok=True)
        call(
            [
                *(require("ssh-keygen"), "-q", "-t", "ed25519", "-N", ""),
                *("-C", f"gvisor-nodes lab {name}", "-f", str(state / "id_ed25519")),
            ],
            what="No ssh key for the lab",
        )
    if not (state / "operator-password").exists():
        replace_file(state / "operator-password", secrets.token_urlsafe(12) + "\n", mode=0o600)


def node_of(container: Container, engine: Engine, state: Path) -> LabNode:
    """Return the node that runs in this container.

    Raises:
        GvisorNodesError: it has no published port, as a rule because it does not run.
    """
    if container.ssh_port is None:
        raise GvisorNodesError(
            f"The node {container.name} has no port for ssh",
            why="it stopped just after it was started" if not container.running else "the engine published none",
            remedy=f"{engine.name} logs {container.name}; then gvisor-nodes lab down and up again",
        )
    return LabNode(container.name, container.ssh_port, engine, state / "id_ed25519", state / "known_hosts")


def by_number(containers: list[Container]) -> list[Container]:
    """Return them in the order of their numbers."""
    return sorted(containers, key=lambda container: int(container.labels.get(NODE_LABEL, "0")))
