"""A real process that is really killed at one of the steps by which a file tree changes.

The code is loaded once, by a process that forks for every kill: a new interpreter each time takes a hundred times as long.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

UTILS = Path(__file__).parents[3] / "roles/node/module_utils"
# The audit hook counts the renames that every write ends with, and what else makes or removes a name.
FORKS = """
import json, os, signal, sys
import ansible.module_utils
ansible.module_utils.__path__.append(sys.argv[1])
from ansible.module_utils.gvisor_generations import Collection, Generations
from ansible.module_utils.gvisor_journal import Journal
from ansible.module_utils.gvisor_root import Root

def run(root, verb, given):
{body}

left = 0
def hook(event, arguments):
    global left
    if event in ("os.rename", "os.mkdir", "os.rmdir", "os.remove", "os.symlink"):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

for line in sys.stdin:
    path, left, verb, given = json.loads(line)
    child = os.fork()
    if child == 0:
        sys.addaudithook(hook)
        run(Root(path), verb, given)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@contextlib.contextmanager
def prepared(body):
    """Return a function: runs ``body`` on a root in a process that is killed before its step; returns how it ended."""
    code = FORKS.format(body=textwrap.indent(textwrap.dedent(body), "    "))
    with subprocess.Popen(
        [sys.executable, "-c", code, str(UTILS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as forks:

        def run_killed_at(root, step, verb, given=None):
            forks.stdin.write(json.dumps([os.fspath(root.path), step, verb, given]) + "\n")
            forks.stdin.flush()
            return int(forks.stdout.readline())

        yield run_killed_at
        forks.stdin.close()
        assert forks.wait(30) == 0
