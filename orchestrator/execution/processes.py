"""The processes of one run, and how they end: all of them, in bounded time.

Ansible's workers lead their own sessions and SSH masters detach on purpose, so a process group is not enough. Two nets
are used: a child subreaper (Linux ``PR_SET_CHILD_SUBREAPER``) under which every orphan stays a descendant, and a mark
in the environment that every process of the run inherits, by which whoever outlives that subreaper still finds them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MARK = "GVISOR_NODES_RUN"
"""The environment variable that marks the processes of a run; its value is the run's private directory."""

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_PARENT_FIELD = 1  # /proc/PID/stat after the command name: state, ppid, …


def become_subreaper() -> None:
    """Make this process the parent of every orphan below it (Linux >= 3.4)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent(parent: int) -> None:
    """Ask the kernel for SIGTERM when the parent dies; if it died already, send it now.

    Args:
        parent: the process id of the parent as it knew itself when it started this process.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def children(parent: int) -> set[int]:
    """Return the living processes started by ``parent``; zombies are left out."""
    return _table().get(parent, set())


def descendants(root: int) -> set[int]:
    """Return the living processes below ``root``, without ``root`` itself; zombies are left out."""
    table = _table()
    found: set[int] = set()
    queue = [root]
    while queue:
        for pid in table.get(queue.pop(), set()) - found:
            found.add(pid)
            queue.append(pid)
    return found


def _table() -> dict[int, set[int]]:
    """Map parents to living children. /proc/PID/task/*/children would be shorter, not every kernel has it."""
    table: dict[int, set[int]] = {}
    for pid in _all():
        fields = _stat(pid)
        if fields and fields[0] not in {"Z", "X"}:
            table.setdefault(int(fields[_PARENT_FIELD]), set()).add(pid)
    return table


def marked(value: str) -> set[int]:
    """Return the living processes, other than this one, whose environment carries ``MARK=value``."""
    needle = f"{MARK}={value}".encode()
    found = set()
    for pid in _all():
        if pid == os.getpid():
            continue
        # A process that is gone or belongs to somebody else is not one of this run that could be ended from here.
        with contextlib.suppress(OSError):
            if needle in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                found.add(pid)
    return found


def end(find: Callable[[], set[int]], *, grace: float) -> int:
    """End every process that ``find`` returns: SIGTERM, up to ``grace`` seconds, then SIGKILL until none is left.

    Returns:
        How many had to be killed.
    """
    asked = _signal_and_wait(find(), signal.SIGTERM, grace)
    killed = 0
    for _ in range(10):  # a process may fork while it is being ended; each round finds what the last one missed
        left = find()
        if not left:
            break
        killed += len(left)
        asked |= _signal_and_wait(left, signal.SIGKILL, 1.0)
    return killed


def _signal_and_wait(pids: set[int], number: signal.Signals, seconds: float) -> set[int]:
    deadline = time.monotonic() + seconds
    poll = select.poll()
    handles: dict[int, int] = {}
    for pid in pids:
        # pidfd: the signal can never reach another process that got the same number.
        with contextlib.suppress(OSError):
            handle = os.pidfd_open(pid)
            handles[handle] = pid
            poll.register(handle, select.POLLIN)
            signal.pidfd_send_signal(handle, number)
    waiting = set(handles)
    try:
        while waiting and (left := deadline - time.monotonic()) > 0:
            for handle, _event in poll.poll(left * 1000):
                poll.unregister(handle)
                waiting.discard(handle)
    finally:
        for handle in handles:
            os.close(handle)
    return {handles[handle] for handle in waiting}


def _all() -> list[int]:
    return [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]


def _stat(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()  # the command name may hold spaces and parentheses
