"""A node's whole file system as a value, and what differs between two of them.

For the promise that uninstalling leaves the tree byte-identical: content, mode, owner, links. Modification times are
not part of it (a file that was replaced and put back has another one), nor are file systems that are memory or the
kernel's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.lab.node import LabNode

type Kind = Literal["file", "directory", "link", "other"]

# Not on the node's disk: the kernel's, memory (/run and /tmp, as on most machines), and three files that the container
# engine mounts over the node's and writes whenever it starts it.
EXCLUDED = (
    "/proc",
    "/sys",
    "/dev",
    "/run",
    "/tmp",  # noqa: S108 -- the node's, and nothing is written to it
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
)

WRITTEN_BY_OTHERS: dict[str, str] = {
    "/var/lib/containerd": "containerd's own state: a restart, a pod or an image changes its databases and directories",
    "/var/log/journal": "the journal, which systemd writes, rotates and splits by the users who log in",
    "/var/lib/systemd": "systemd's own state: when timers ran, the random seed",
    "/var/tmp": "systemd makes and removes private directories here for services",  # noqa: S108 -- see above
}
"""Every path that somebody else than this project writes between two snapshots, with the reason; six at most."""

WRITTEN_BY_A_KUBELET: dict[str, str] = {
    "/var/lib/kubelet": "the kubelet's own state, and the mounted volumes of pods",
    "/var/lib/cni": "which addresses CNI's plugins gave to pods",
    "/var/log/pods": "the logs of pods",
    "/var/log/containers": "links to the logs of pods, by the names of their containers",
}
"""The same, on nodes of a cluster, beside that; the rest of Kubernetes is mounted read-only and does not change."""

_MEMORY = "/run/gvisor-nodes-lab-digests.json"
_SCRIPT = Path(__file__).parent / "snapshot.py"


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in the tree.

    ``content`` is the sha256 of a file, the target of a link, the device number of a device, and empty for the rest.
    """

    kind: Kind
    mode: int
    uid: int
    gid: int
    content: str


def snapshot(node: LabNode, written_by_others: Iterable[str] = ()) -> dict[str, Entry]:
    """Return every path of the node's root file system, in one call; a second for ten thousand files, then less.

    ``written_by_others`` are left out: :data:`WRITTEN_BY_A_KUBELET` on the node of a cluster. What changes while it is
    looked at needs not be compared.
    """
    script = _SCRIPT.read_text(encoding="utf-8")
    excluded = " ".join((*EXCLUDED, *written_by_others))
    return parse(node.run(f"python3 -I - {_MEMORY} / {excluded}", stdin=script, timeout=300).stdout)


def parse(lines: str) -> dict[str, Entry]:
    """Read what the script printed: a JSON array [path, kind, mode, uid, gid, content] in each line."""
    tree = {}
    for line in lines.splitlines():
        path, kind, mode, uid, gid, content = json.loads(line)
        tree[path] = Entry(cast("Kind", kind), mode, uid, gid, content)
    return tree


def difference(
    before: Mapping[str, Entry], after: Mapping[str, Entry], written_by_others: Iterable[str] = tuple(WRITTEN_BY_OTHERS)
) -> list[str]:
    """Return a line for each path that came, went or changed, sorted by path; none means identical.

    Paths at or below ``written_by_others`` do not count.
    """
    prefixes = tuple(written_by_others)
    lines = []
    for path in sorted(before.keys() | after.keys()):
        if any(path == prefix or path.startswith(f"{prefix}/") for prefix in prefixes):
            continue
        old, new = before.get(path), after.get(path)
        if old is None:
            lines.append(f"{path}: came ({cast('Entry', new).kind})")
        elif new is None:
            lines.append(f"{path}: went ({old.kind})")
        elif old != new:
            lines.append(f"{path}: {_change(old, new)}")
    return lines


def _change(old: Entry, new: Entry) -> str:
    changes = []
    if old.kind != new.kind:
        changes.append(f"was {old.kind}, is {new.kind}")
    if old.mode != new.mode:
        changes.append(f"mode was {old.mode:04o}, is {new.mode:04o}")
    if (old.uid, old.gid) != (new.uid, new.gid):
        changes.append(f"owner was {old.uid}:{old.gid}, is {new.uid}:{new.gid}")
    if old.content != new.content:
        changes.append(f"content was {old.content[:16]}, is {new.content[:16]}")
    return ", ".join(changes)
