"""The kinds of nodes there are, as data: a Debian suite, its packages, and what a container needs beside them.

What configuration a kind carries is what its users meet, because a lab that had prepared it would prove little:

- ``debian12`` and ``debian13`` keep the file of Debian's package (it has no table of runtimes, which is what makes
  adding a handler to it dangerous).
- The kinds ``containerd2.x`` have **no** ``/etc/containerd``, as after unpacking containerd's own release.

Where this machine lacks CAP_SYS_RESOURCE no runc pod starts without ``restrict_oom_score_adj = true``. There Debian's
file gets that one line, and the kinds ``containerd2.x`` get a file with nothing else in it than that line, its table
and the configuration version that this very containerd writes by default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import InvalidInputError
from orchestrator.lab import containerd

if TYPE_CHECKING:
    from collections.abc import Sequence

BASE_PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "python3",  # python3-minimal lacks modules that Ansible's own modules import
    "containerd",
    "runc",
    "iproute2",
    "ca-certificates",
    "procps",
    "sudo",
)

# What would write to the file system, or fail, in a container that is a node, each by systemd's own doing.
MASKED_UNITS = (
    "apt-daily.timer",  # writes to /var/lib/apt when it likes
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "fstrim.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "systemd-modules-load.service",  # the kernel is the machine's; it would fail and make the node "degraded"
    "systemd-pstore.service",
    "systemd-journald-audit.socket",
    "sshd-keygen.service",  # makes three keys in two seconds; the drop-in below makes the one that is used
    "getty.target",
    "console-getty.service",
    "proc-sys-fs-binfmt_misc.automount",
)

LAB_LIBRARY = "/usr/lib/gvisor-nodes-lab"
PAUSE_ARCHIVE = f"{LAB_LIBRARY}/pause.tar"
PAUSE_UNIT = "gvisor-nodes-lab-pause.service"
LOCAL_PROGRAMS = "/usr/local/bin"


def _pause_unit(ctr: str) -> str:
    """Return the unit that spares containerd the registry: it asks one for the image that every pod begins with."""
    return f"""\
[Unit]
Description=put the image that every pod begins with into containerd
Requires=containerd.service
After=containerd.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={ctr} --namespace k8s.io images import {PAUSE_ARCHIVE}

[Install]
WantedBy=multi-user.target
"""


_FILES = {
    # A host key of the node's own, made on its first start: an image must not hold one.
    "/etc/systemd/system/ssh.service.d/gvisor-nodes-lab.conf": """\
[Service]
ExecStartPre=
ExecStartPre=/bin/sh -c 'test -e /etc/ssh/ssh_host_ed25519_key || \
ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key'
""",
    "/etc/ssh/sshd_config.d/gvisor-nodes-lab.conf": """\
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
PermitRootLogin prohibit-password
UseDNS no
# The connections of several test processes at once.
MaxStartups 200:30:400
MaxSessions 100
""",
    f"/etc/systemd/system/{PAUSE_UNIT}": _pause_unit("/usr/bin/ctr"),
    "/etc/sudoers.d/gvisor-nodes-lab": """\
Defaults lecture = never
admin ALL=(ALL:ALL) NOPASSWD: ALL
operator ALL=(ALL:ALL) ALL
""",
}


@dataclass(frozen=True, slots=True)
class NodeKind:
    """What a node image is made of by debootstrap.

    ``files`` maps an absolute path to its text; everything there belongs to root, and sudoers files are 0440.
    """

    name: str
    title: str
    suite: str
    packages: tuple[str, ...]
    files: dict[str, str]
    masked_units: tuple[str, ...]
    enabled_units: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ContainerdKind:
    """A node image that is another one with another containerd, first in PATH; ``files`` as in :class:`NodeKind`.

    Debian's containerd stays where it was: on a machine, too, there may be one that is not the one that runs.
    """

    name: str
    title: str
    base: NodeKind
    version: str
    files: dict[str, str]


type Kind = NodeKind | ContainerdKind


def _debian(name: str, title: str, suite: str) -> NodeKind:
    return NodeKind(name, title, suite, BASE_PACKAGES, _FILES, MASKED_UNITS, enabled_units=(PAUSE_UNIT,))


_DEBIAN12 = _debian("debian12", "Debian 12 (bookworm) with Debian's containerd 1.6", "bookworm")
_DEBIAN13 = _debian("debian13", "Debian 13 (trixie) with Debian's containerd 1.7", "trixie")


def _containerd_kind(version: str) -> ContainerdKind:
    return ContainerdKind(
        name=f"containerd{version.rpartition('.')[0]}",
        title=f"Debian 13 (trixie) with containerd {version}, built from its module",
        base=_DEBIAN13,
        version=version,
        files={
            f"/etc/systemd/system/{PAUSE_UNIT}": _pause_unit(f"{LOCAL_PROGRAMS}/ctr"),
            # Debian's unit starts Debian's.
            "/etc/systemd/system/containerd.service.d/gvisor-nodes-lab.conf": f"""\
[Service]
ExecStart=
ExecStart={LOCAL_PROGRAMS}/containerd
""",
        },
    )


_ALL: tuple[Kind, ...] = (_DEBIAN12, _DEBIAN13, *(_containerd_kind(version) for version in containerd.SUMS))
KINDS = {kind.name: kind for kind in _ALL}
DEFAULT_KIND = "debian13"
ALIASES = {"containerd2": "containerd2.4"}
"""Short names; a node's kind is always the long one."""


def kind_named(name: str) -> Kind:
    """Return the kind of this name or alias.

    Raises:
        InvalidInputError: there is none of this name.
    """
    kind = KINDS.get(ALIASES.get(name, name))
    if kind is None:
        raise InvalidInputError(
            f"There is no kind of node called {name!r}",
            why=f"known kinds: {', '.join([*KINDS, *ALIASES])}",
            remedy=f"use --kind {DEFAULT_KIND}",
        )
    return kind


def chosen_kinds(kind: str | None, kinds: Sequence[str]) -> tuple[str, ...]:
    """Return the full names of the kinds that ``kind`` or ``kinds`` ask for, the default kind if neither does. Pure.

    Raises:
        InvalidInputError: an unknown kind, or both were given.
    """
    if kind is not None and kinds:
        raise InvalidInputError("Both kind and kinds were given", remedy="use one of them")
    return tuple(kind_named(each).name for each in (kinds or [kind or DEFAULT_KIND]))
