"""What really runs and lies on a node: processes by their executable, bundles, and whether runsc is whole at every moment."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass

DIRECTORY = "/opt/gvisor-nodes"
BUNDLES = "/run/containerd/io.containerd.runtime.v2.task/k8s.io"
STATE = "/run/containerd/runsc"

# Every process whose executable lies below our directory: [pid, executable, working directory, arguments].
_PROCESSES = """
import json, os, sys
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        exe, cwd = os.readlink(f"/proc/{pid}/exe"), os.readlink(f"/proc/{pid}/cwd")
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().decode("utf-8", "replace").split("\\0")[:-1]
    except OSError:
        continue
    if exe.startswith(sys.argv[1]):
        print(json.dumps([int(pid), exe, cwd, words]))
"""

# One poll: the program that new pods get says its release. A dispatcher that is half there, or a release that is not,
# fails it; the pause leaves the switch a processor. Ends when the file goes; says how often it looked and what it saw that was not whole.
_POLLS = f"""
count=0; bad=0
echo ready
while [ -e "$1" ]; do
  count=$((count + 1))
  said=$({DIRECTORY}/runsc --version 2>&1) && case $said in "runsc version release-"*) sleep 0.02; continue ;; esac
  bad=$((bad + 1)); echo "$said" >&2
done
echo "$count $bad"
"""


@dataclass(frozen=True)
class Process:
    pid: int
    exe: str
    cwd: str
    argv: list[str]

    @property
    def release(self) -> str:
        return self.exe.removeprefix(f"{DIRECTORY}/releases/").split("/")[0]

    @property
    def is_shim(self) -> bool:
        return self.exe.endswith("/containerd-shim-runsc-v1")

    def belongs_to(self, identity: str) -> bool:
        """Whether it was started for this sandbox or container."""
        return self.cwd.endswith(f"/{identity}") or any(identity in word for word in self.argv)


def processes(node) -> list[Process]:
    """Everything that runs from our directory; systrap's stubs have no arguments."""
    lines = node.run(f"python3 -I - {DIRECTORY}", stdin=_PROCESSES).stdout.splitlines()
    return [Process(*json.loads(line)) for line in lines]


def bundles(node) -> list[str]:
    return node.run(f"ls {BUNDLES} 2>/dev/null; :").stdout.split()


def shim_state(node) -> list[str]:
    """What runsc keeps for its sandboxes, without the bind mount that it makes once and never removes."""
    return node.run(f"cd {STATE} 2>/dev/null && find . -type f ! -name null-netns -o -type s; :").stdout.split()


class Polls:
    """How often runsc was looked at, and how often it was not whole."""

    def __init__(self) -> None:
        self.count = self.bad = 0
        self.said = ""


@contextmanager
def polled(node, polls: Polls):
    """While in this context, the program of new pods is run again and again on the node."""
    flag = "/run/gvisor-nodes-lab-polls"
    node.run(f"touch {flag}")
    argv = [*node.engine.execute_arguments(node.name, ["sh", "-c", _POLLS, "sh", flag])]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as poller:
        try:
            assert poller.stdout.readline() == "ready\n"
            yield
        finally:
            node.run(f"rm -f {flag}")
            out, errors = poller.communicate(timeout=60)
    count, bad = map(int, out.split())
    polls.count += count
    polls.bad += bad
    polls.said += errors
