# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: Apache-2.0
"""The host that a module works on, and the one place that says how a program is run there.

Three cases. ``/``: this process is on the host. Another root that is *live*: the host runs, and this process is in a
pod that has the host's process ids and the host's ``/`` mounted somewhere (``/host``); files are changed below there,
programs are run in the namespaces of process 1. Another root that is not: a plain directory, in which nothing runs.
Python is always the one that runs this. Standard library only, Python >= 3.9, no Ansible.
"""

from __future__ import annotations

import os
import subprocess

from ansible.module_utils.gvisor_journal import NodeError

# Not -p: it would fork, and a program that does not end in time could not be ended. The process ids are the host's.
ENTER = ("nsenter", "--target=1", "--mount", "--uts", "--ipc", "--net", "--")
REMEDY = "the pod needs hostPID: true, the host's / as a hostPath volume at %s, and privileged: true"


def run(argv, timeout=20, data=b"", **options):
    """``(rc, stdout, stderr)`` of a program; rc 127 where it does not exist, 124 where it did not end in time.

    It reads ``data`` on its standard input.
    """
    try:
        done = subprocess.run(  # noqa: PLW1510 - the exit code is part of the answer
            argv, input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout, **options
        )
    except FileNotFoundError as error:
        return 127, "", str(error)
    except OSError as error:  # not executable, not a program for this machine
        return 126, "", str(error)
    except subprocess.TimeoutExpired:
        return 124, "", "no answer within %d s" % timeout
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


class Root:
    """The root directory of the host: ``/`` over SSH, ``/host`` in a Job, any directory for an offline tree."""

    def __init__(self, path="/", live=False):
        self.path = os.path.normpath(path)
        self.is_here = self.path == "/"
        self.is_live = self.is_here or live

    def real(self, path):
        """The path for this process of an absolute path of the host; links in it are the host's own."""
        return path if self.is_here else self.path + path

    def seen(self, path):
        """The path for a program that `run` starts."""
        return path if self.is_live else self.real(path)

    @property
    def enter(self):
        """What stands before the command line of a program that runs on the host."""
        return list(ENTER) if self.is_live and not self.is_here else []

    @property
    def jail(self):
        """What stands, for `run`, before a program that must find its files where a host has them."""
        return [] if self.is_live else ["chroot", self.path]

    def run(self, argv, **options):
        """Run a program of the host, as the function ``run`` does; of a plain directory's it is this machine's."""
        return run([*self.enter, *argv], **options)

    def check(self):
        """Make sure that this is the root of the host that programs would be run on.

        Raises:
            NodeError: it is not; nothing was changed.
        """
        if not os.path.isdir(self.path):
            raise NodeError(
                "host_root %s is not a directory" % self.path,
                remedy="mount the host's root there, or use /",
                refused=True,
            )
        if self.is_here or not self.is_live:
            return
        # /run too: a volume that leaves out what is mounted below the host's root has a /run that nobody reads.
        for path in ("/", "/run"):
            try:
                same = os.path.samestat(os.stat("/proc/1/root" + path), os.stat(self.real(path)))
                why = "%s is not the %s of process 1" % (self.real(path), path)
            except OSError as error:
                same, why = False, str(error)
            if not same:
                raise NodeError(
                    "%s is not the root of the running host" % self.path,
                    why=why,
                    remedy=REMEDY % self.path,
                    refused=True,
                )
        rc, out, err = self.run(["true"])
        if rc != 0:
            raise NodeError(
                "no program can be run on the host",
                why=(err or out).strip() or "nsenter ended with %d" % rc,
                remedy=REMEDY % self.path,
                refused=True,
            )

    def resolve(self, path):
        """The host's path behind symbolic links, each followed inside the root (an absolute target stays inside)."""
        for _ in range(40):
            try:
                target = os.readlink(self.real(path))
            except OSError:
                return path
            path = os.path.normpath(os.path.join(os.path.dirname(path), target))
        raise NodeError("cannot follow %s" % path, why="more than 40 symbolic links", refused=True)
