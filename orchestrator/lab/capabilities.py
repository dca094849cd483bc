"""What this machine's kernel lets the lab do, asked from the kernel rather than guessed from names of places.

Containers and some virtual machines take capabilities from root. One matters to nodes: without CAP_SYS_RESOURCE nobody
may lower an ``oom_score_adj``, which containerd, and gVisor's shim, do for every pod and fail for every pod. One limit
does too: inotify instances are counted for a user, whichever container they are in.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import RefusedError

CAP_SYS_RESOURCE = 24  # linux/capability.h
CAP_SYS_ADMIN = 21  # linux/capability.h

# Counted on Debian 12 and 13: systemd 5, dbus 1, containerd 1; one more while somebody is logged in.
_INOTIFY_OF_A_NODE = 8
INOTIFY_OF_A_CLUSTERS_NODE = 16
"""How many instances a node with a kubelet uses: 14 were counted."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The answers of one look at this machine."""

    effective: int
    """The bit set ``CapEff`` of this process."""
    cgroup_version: int
    """2 for the unified hierarchy, 1 for everything else (hybrid included)."""
    overlay: bool
    """Whether the kernel can mount overlay now (containerd's snapshots)."""

    @property
    def lowers_oom_score(self) -> bool:
        """Whether a process here may lower an ``oom_score_adj``."""
        return bool(self.effective >> CAP_SYS_RESOURCE & 1)

    @property
    def runs_privileged(self) -> bool:
        """Whether a privileged container started by this user can mount things."""
        return bool(self.effective >> CAP_SYS_ADMIN & 1)


def probe(root: Path = Path("/")) -> Capabilities:
    """Look at the kernel through ``root``/proc and ``root``/sys."""
    status = (root / "proc/self/status").read_text(encoding="ascii", errors="replace")
    effective = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:"))
    filesystems = (root / "proc/filesystems").read_text(encoding="ascii").split()
    return Capabilities(
        effective=effective,
        cgroup_version=2 if (root / "sys/fs/cgroup/cgroup.controllers").exists() else 1,
        overlay="overlay" in filesystems,
    )


def require_privileges(capabilities: Capabilities) -> None:
    """Refuse to start what cannot end well.

    Raises:
        RefusedError: not root, or root without CAP_SYS_ADMIN: nodes are privileged containers, and debootstrap makes
            device files and changes its root.
    """
    if os.geteuid() != 0 or not capabilities.runs_privileged:
        raise RefusedError(
            "A lab needs root",
            why="its nodes are privileged containers that mount file systems, and debootstrap changes its root",
            remedy="run the same command with sudo -E, or in a virtual machine as root",
        )


def require_inotify(nodes: int, root: Path = Path("/"), *, each: int = _INOTIFY_OF_A_NODE) -> None:
    """Refuse to start so many more nodes that a containerd would lose its CRI.

    containerd watches CNI's directory; without an inotify instance its CRI plugin does not load, and nothing tells.
    The limit is the machine's, and hits the nodes that are there as soon as their containerd restarts.

    Args:
        nodes: how many more.
        root: of the file system in which the kernel is looked at.
        each: how many instances one of them uses.

    Raises:
        RefusedError: there are not enough left.
    """
    limit = root / "proc/sys/fs/inotify/max_user_instances"
    if not nodes or not limit.exists():
        return
    allowed = int(limit.read_text(encoding="ascii"))
    left = max(0, allowed - _inotify_instances(root / "proc"))
    if left < nodes * each:
        raise RefusedError(
            f"This machine has not enough inotify instances for {nodes} more {'node' if nodes == 1 else 'nodes'}",
            why=f"a node uses {each}, and {left} of {allowed} are left: containerd would run without CRI",
            remedy="remove labs (gvisor-nodes lab list, lab down), or raise the machine's limit, as root: "
            "sysctl -w fs.inotify.max_user_instances=1024",
        )


def _inotify_instances(proc: Path) -> int:
    """Count the descriptors of inotify instances; processes that end while we look, or are not ours, do not count."""
    found = 0
    for descriptors in proc.glob("[0-9]*/fd"):
        try:
            found += sum(_is_inotify(descriptor) for descriptor in descriptors.iterdir())
        except OSError:
            continue
    return found


def _is_inotify(descriptor: Path) -> bool:
    try:
        return str(descriptor.readlink()) == "anon_inode:inotify"
    except OSError:
        return False
