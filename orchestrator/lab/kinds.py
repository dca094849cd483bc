"""The kinds of nodes there are, as data: a Debian suite, its packages, and what a container needs beside them.

A kind keeps Debian's own containerd configuration as it is shipped (it has no table of runtimes, which is what makes
adding a handler to it dangerous): a lab that had prepared the configuration would prove little.
"""

from __future__ import annotations

from dataclasses import dataclass

from orchestrator.errors import InvalidInputError

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
    # containerd asks a registry for the image that every pod begins with, unless it is there.
    f"/etc/systemd/system/{PAUSE_UNIT}": f"""\
[Unit]
Description=put the image that every pod begins with into containerd
Requires=containerd.service
After=containerd.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/ctr --namespace k8s.io images import {PAUSE_ARCHIVE}

[Install]
WantedBy=multi-user.target
""",
    "/etc/sudoers.d/gvisor-nodes-lab": """\
Defaults lecture = never
admin ALL=(ALL:ALL) NOPASSWD: ALL
operator ALL=(ALL:ALL) ALL
""",
}


@dataclass(frozen=True, slots=True)
class NodeKind:
    """What a node image is made of.

    ``files`` maps an absolute path to its text; everything there belongs to root, and sudoers files are 0440.
    """

    name: str
    title: str
    suite: str
    packages: tuple[str, ...]
    files: dict[str, str]
    masked_units: tuple[str, ...]
    enabled_units: tuple[str, ...]


KINDS = {
    kind.name: kind
    for kind in (
        NodeKind(
            name="debian13",
            title="Debian 13 (trixie) with Debian's containerd 1.7",
            suite="trixie",
            packages=BASE_PACKAGES,
            files=_FILES,
            masked_units=MASKED_UNITS,
            enabled_units=(PAUSE_UNIT,),
        ),
    )
}
DEFAULT_KIND = "debian13"


def kind_named(name: str) -> NodeKind:
    """Return the kind.

    Raises:
        InvalidInputError: there is none of this name.
    """
    if name not in KINDS:
        raise InvalidInputError(
            f"There is no kind of node called {name!r}",
            why=f"known kinds: {', '.join(sorted(KINDS))}",
            remedy=f"use --kind {DEFAULT_KIND}",
        )
    return KINDS[name]
