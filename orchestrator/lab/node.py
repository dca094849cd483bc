"""One running node: how to run something on it, and how to know that it is ready."""

from __future__ import annotations

import shlex
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.errors import GvisorNodesError
from orchestrator.lab.kinds import DEFAULT_KIND, PAUSE_UNIT
from orchestrator.lab.program import call

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence
    from pathlib import Path

    from orchestrator.lab.engine import Engine

_UNITS = ("ssh.service", "containerd.service", PAUSE_UNIT)
_SOCKET = "/run/containerd/containerd.sock"
_CRI_FAULTS = "failed to load plugin|inotify|too many open files"

_GREETING = "bash -c 'exec 3<>/dev/tcp/127.0.0.1/22 && timeout 5 head -n1 <&3'"

# Runs on the node: 0 as soon as everything is up, 1 with the reason. systemd's own wait does the waiting; the loop is
# for the moments before systemd listens, and for a unit that was restarted since: that is waited for too, unless it
# is one that fails again and again. A containerd whose CRI did not load is active all the same.
_WAIT = f"""\
until [ -S /run/systemd/private ]; do sleep 0.05; done
state=$(systemctl is-system-running --wait)
for unit in {" ".join(_UNITS)}; do
  is=activating
  until [ "$(systemctl show --property=SubState --value $unit)" = auto-restart ]; do
    is=$(systemctl is-active $unit)
    case $is in *ing) sleep 0.05 ;; *) break ;; esac
  done
  [ "$is" = active ] || {{ echo "systemd is $state, $unit is $is"; exit 1; }}
done
case $state in running|degraded) ;; *) echo "systemd is $state"; exit 1 ;; esac
[ -S {_SOCKET} ] || {{ echo "there is no {_SOCKET}"; exit 1; }}
ctr plugins ls type==io.containerd.grpc.v1,id==cri 2>/dev/null | grep -q "ok *$" || {{
  echo "containerd runs, but its CRI plugin does not"
  journalctl --no-pager --output=cat --unit=containerd --grep="{_CRI_FAULTS}" --lines=4
  exit 1
}}
"""


@dataclass(frozen=True, slots=True)
class LabNode:
    """A node of a lab.

    ``name`` is at once the container's name, the node's host name and its name in the inventory; ``port`` is where
    its sshd listens on 127.0.0.1; ``kind`` is a name of :data:`orchestrator.lab.kinds.KINDS`.
    """

    name: str
    port: int
    engine: Engine = field(repr=False)
    identity: Path = field(repr=False)
    """The lab's private ssh key."""
    known_hosts: Path = field(repr=False)
    kind: str = DEFAULT_KIND

    def run(
        self, command: str, *, check: bool = True, stdin: str | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell line on the node as root, not through ssh.

        Raises:
            GvisorNodesError: it exited with another code than 0 (unless ``check`` is false), or ran into ``timeout``
                seconds.
        """
        return call(
            self.engine.execute_arguments(self.name, ["sh", "-c", command]),
            what=f"A command failed on {self.name}: {command.splitlines()[0][:80]}",
            stdin=stdin,
            environment=self.engine.environment,
            timeout=timeout,
            check=check,
        )

    def read(self, path: str) -> str:
        """Return the text of a file of the node."""
        return self.run(f"cat -- {shlex.quote(path)}").stdout

    def write(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Write a file of the node in place, as root."""
        quoted = shlex.quote(path)
        self.run(f"cat > {quoted} && chmod {mode:o} {quoted}", stdin=text)

    def ssh_arguments(self, user: str = "root") -> list[str]:
        """Return the ssh command for this node, without what is to be run there."""
        return ["ssh", "-F", "none", "-i", str(self.identity), *self.ssh_options(), "-p", str(self.port), *_to(user)]

    def ssh_options(self) -> list[str]:
        """Return the options that let ssh trust this lab's host keys and nothing else."""
        return [
            "-o",
            f"UserKnownHostsFile={self.known_hosts}",
            "-o",
            "GlobalKnownHostsFile=/dev/null",
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            "IdentitiesOnly=yes",
        ]

    def ssh(
        self, command: Sequence[str], *, user: str = "root", timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the node through ssh, as a user would; a failure is returned, not raised."""
        return call(
            [*self.ssh_arguments(user), *command], what=f"ssh to {self.name} failed", timeout=timeout, check=False
        )

    def host_key(self) -> str:
        """Return the node's public host key, read from its file and not from the network."""
        return " ".join(self.read("/etc/ssh/ssh_host_ed25519_key.pub").split()[:2])

    def wait_until_ready(self, timeout: float) -> None:
        """Return when systemd is up, containerd's CRI is loaded, the pause image is in, and sshd answers.

        Raises:
            GvisorNodesError: not within ``timeout`` seconds; with what the node's journal said last.
        """
        deadline = time.monotonic() + timeout
        try:
            done = self.run(_WAIT, check=False, timeout=timeout)
        except GvisorNodesError as error:
            raise self._not_ready(error.why) from error
        if done.returncode != 0:
            raise self._not_ready(done.stdout.strip() or done.stderr.strip())
        while not (heard := _greeting("127.0.0.1", self.port)).startswith("SSH-"):
            if time.monotonic() > deadline:
                raise self._not_ready(f"nothing that speaks ssh answers on 127.0.0.1:{self.port}: {self._way(heard)}")
            time.sleep(0.05)  # a connection that is refused cannot be waited for

    def _way(self, heard: str) -> str:
        """Say how far one gets that wants to reach the node's sshd from this machine."""
        here = self.run(_GREETING, check=False, timeout=20).stdout.strip()
        return f"{heard or 'the connection is closed at once'}; on the node itself sshd says {here or 'nothing'}"

    def _not_ready(self, why: str) -> GvisorNodesError:
        journal = self.run("journalctl --no-pager --priority=warning --lines=15", check=False, timeout=20)
        return GvisorNodesError(
            f"The node {self.name} did not become ready",
            why=f"{why}\n{journal.stdout.strip()}",
            remedy=f"{self.engine.name} exec -it {self.name} journalctl -b, or gvisor-nodes lab down and up again",
            host=self.name,
        )


def _greeting(host: str, port: int) -> str:
    """Return what a server says first, or why it could not be heard; empty if it hangs up."""
    try:
        with socket.create_connection((host, port), timeout=2) as connection:
            return connection.recv(80).decode("ascii", errors="replace").strip()
    except OSError as error:
        return str(error)


def _to(user: str) -> list[str]:
    return ["-o", "BatchMode=yes", f"{user}@127.0.0.1"]
