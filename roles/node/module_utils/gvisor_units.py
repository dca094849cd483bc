# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: Apache-2.0
"""The systemd units that stay on a node: how they are started, looked at, and taken away without a trace.

Their files are made and removed through the journal like all others; this is what systemd has to be told. The link in
``timers.target.wants`` is one of those files, so that nothing is ever enabled by ``systemctl``. Standard library only,
Python >= 3.9, no Ansible.
"""

from __future__ import annotations

import os

from ansible.module_utils.gvisor_journal import NodeError, describe

DIRECTORY = "/etc/systemd/system"
UNITS = ("gvisor-nodes-logs.timer", "gvisor-nodes-logs.service")
LINK = DIRECTORY + "/timers.target.wants/" + UNITS[0]
SCRIPT = "debug-logs-retention"
STOPPED = "/run/gvisor-nodes/debug-logs-stopped"


def systemctl(root, *words):
    """``(rc, output)``; a systemd that does not answer within a minute is a failure like any other."""
    rc, out, err = root.run(["systemctl", *words], timeout=60)
    return rc, (out + err).strip()


def demand(root, *words):
    rc, text = systemctl(root, *words)
    if rc != 0:
        raise NodeError(
            "systemctl %s failed" % " ".join(words),
            why=text or "exit code %d" % rc,
            remedy="see systemctl status and journalctl on the node, then run the same command again",
        )


def retention(root, directory):
    """What is there of the retention of debug logs: files by path, the timer's state, why logs are stopped."""
    paths = [os.path.join(directory, SCRIPT), *(os.path.join(DIRECTORY, unit) for unit in reversed(UNITS)), LINK]
    found = {"files": {path: describe(root.real(path)) for path in paths}, "active": "", "stopped": ""}
    if root.is_live and any(found["files"].values()):
        found["active"] = systemctl(root, "is-active", UNITS[0])[1]
        try:
            with open(root.real(STOPPED), encoding="utf-8", errors="replace") as file:
                found["stopped"] = file.read(1000).strip() or "stopped"
        except OSError:
            pass
    return found


def activate(root, timer, made):
    """Let the timer run as its files say now; True if it did not run. ``made``: the paths that were just written."""
    if not root.is_live:
        return False
    written = [path for path in made if path.startswith(DIRECTORY + "/")]
    running = systemctl(root, "is-active", timer)[0] == 0
    # A run may have been killed between a file and this: systemd itself knows whether it is behind.
    stale = [
        unit for unit in UNITS if systemctl(root, "show", unit, "-p", "NeedDaemonReload")[1] != "NeedDaemonReload=no"
    ]
    if written or stale:
        demand(root, "daemon-reload")
    if not running or written:
        demand(root, "restart", timer)
    return not running


def stop_units(root, journal):
    """Before their files go. What is stopped stays written down until systemd has forgotten it, see forget_units."""
    ours = [unit for unit in UNITS if journal.entry(os.path.join(DIRECTORY, unit)) is not None]
    if not root.is_live or not (ours or journal.data.get("units_to_forget")):
        return
    if not journal.data.get("units_to_forget"):
        journal.data["units_to_forget"] = True
        journal.save()
    for unit in UNITS:
        systemctl(root, "stop", unit)
        if systemctl(root, "is-active", unit)[0] == 0:
            raise NodeError(
                "%s does not stop" % unit, why="systemctl stop was answered", remedy="run the same command again"
            )


def forget_units(root, journal):
    """After their files went: systemd keeps no unit, no failure and no state of them."""
    if not root.is_live or not journal.data.get("units_to_forget"):
        return
    demand(root, "daemon-reload")
    systemctl(root, "reset-failed", *UNITS)
    journal.data["units_to_forget"] = False
    journal.save()
