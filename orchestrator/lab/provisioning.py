"""From an image to nodes that are ready: containers started all at once, our key let in, host keys written down.

Host keys are read through the container engine, from the file on the node; nothing that a network answers is trusted.
"""

from __future__ import annotations

import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from orchestrator.errors import GvisorNodesError
from orchestrator.lab.engine import KIND_LABEL, LABEL, NODE_LABEL, STATE_LABEL, Container, Engine
from orchestrator.lab.kinds import DEFAULT_KIND
from orchestrator.lab.node import LabNode
from orchestrator.lab.paths import labs_directory, replace_file
from orchestrator.lab.program import Progress, call, require

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

_READY_SECONDS = 300.0  # seconds on an idle machine, a minute and more on one that builds something else

# Runs on every node at every up, and changes nothing where the key is in: a snapshot of the tree must not see an up.
# Standard input: the password of `operator`, then the public key that may log in. It prints the node's own host key.
_ADMIT = """\
set -e
read -r password
read -r key
if [ "$(cat /root/.ssh/authorized_keys 2>/dev/null)" != "$key" ]; then
  printf 'operator:%s\\n' "$password" | chpasswd
  for user in admin operator root; do
    home=$(getent passwd $user | cut -d: -f6)
    install -d -m 700 $home/.ssh
    printf '%s\\n' "$key" > $home/.ssh/authorized_keys
    chown -R $user: $home/.ssh
    chmod 600 $home/.ssh/authorized_keys
  done
fi
cat /etc/ssh/ssh_host_ed25519_key.pub
"""


def start_nodes(
    engine: Engine, lab: str, missing: Mapping[int, str], images: Mapping[str, Future[str]], progress: Progress
) -> list[Container]:
    """Start what does not run, each as soon as its image is there, and return every container of the lab, by number.

    Args:
        engine: where they run.
        lab: the lab's name.
        missing: the kinds of the nodes that are to be made, by number.
        images: the image of each of these kinds.
        progress: told what starts.
    """
    network = f"gvisor-nodes-{lab}"
    state = {STATE_LABEL: str(labs_directory())}
    engine.add_network(network, {LABEL: lab, **state})

    def start(number: int, kind: str) -> None:
        image = images[kind].result()
        name = node_name(lab, number)
        progress(f"start {name} ({kind})")
        labels = {LABEL: lab, NODE_LABEL: str(number), KIND_LABEL: kind, **state}
        engine.start_node(name, image, network=network, labels=labels)

    def start_again(name: str) -> None:
        progress(f"start {name} again")
        engine.start_again(name)

    # Of a node whose making was interrupted there may be a container that starts only sometimes, or its name alone.
    engine.remove_containers([node_name(lab, number) for number in missing])
    stopped = [container.name for container in engine.containers(lab) if not container.running]
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="node") as pool:
        # Those that wait for an image are last, so that they are in nobody's way.
        order = sorted(missing.items(), key=lambda item: (not images[item[1]].done(), item[0]))
        started = [pool.submit(start_again, name) for name in stopped]
        started += [pool.submit(start, number, kind) for number, kind in order]
        for future in started:
            future.result()
    return by_number(engine.containers(lab))


def missing_nodes(there: Sequence[Container], lab: str, nodes: int, kinds: Sequence[str]) -> dict[int, str]:
    """Return the kind of each node that is to be made: number n has the n-th of ``kinds``, counted round. Pure."""
    names = {container.name for container in there}
    return {
        number: kinds[(number - 1) % len(kinds)]
        for number in range(1, nodes + 1)
        if node_name(lab, number) not in names
    }


def kept_nodes(there: Sequence[Container], kinds: Sequence[str]) -> list[str]:
    """Return a line for each node that stays although it is of another kind than ``kinds`` would now make it. Pure."""
    lines = []
    for container in by_number(list(there)):
        wanted = kinds[(_number(container) - 1) % len(kinds)]
        if kind_of(container) != wanted:
            lines.append(f"{container.name} stays as it is: {kind_of(container)}, not {wanted} (lab down removes it)")
    return lines


def node_name(lab: str, number: int) -> str:
    """Return the name of the container, which is the node's host name too."""
    return f"gvisor-nodes-{lab}-{number}"


def prepare_nodes(nodes: tuple[LabNode, ...], state: Path, progress: Progress) -> None:
    """Wait for every node, let our key in, and write down the host keys that they really have."""
    progress("wait for systemd, sshd and containerd")
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="node") as pool:
        replace_file(state / "known_hosts", "".join(pool.map(lambda node: prepare(node, state), nodes)))


def prepare(node: LabNode, state: Path) -> str:
    """Wait for a node, let our key in, and return the line with the host key that it really has."""
    stdin = "".join(
        (state / name).read_text(encoding="ascii").strip() + "\n" for name in ("operator-password", "id_ed25519.pub")
    )
    node.wait_until_ready(_READY_SECONDS)
    algorithm, key = node.run(_ADMIT, stdin=stdin).stdout.split()[:2]
    return f"[127.0.0.1]:{node.port} {algorithm} {key}\n"


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
    identity, known_hosts = state / "id_ed25519", state / "known_hosts"
    return LabNode(container.name, container.ssh_port, engine, identity, known_hosts, kind_of(container))


def kind_of(container: Container) -> str:
    """Return the kind that the node was made as."""
    return container.labels.get(KIND_LABEL, DEFAULT_KIND)


def by_number(containers: list[Container]) -> list[Container]:
    """Return them in the order of their numbers."""
    return sorted(containers, key=_number)


def _number(container: Container) -> int:
    return int(container.labels.get(NODE_LABEL, "0"))
