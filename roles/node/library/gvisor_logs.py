#!/usr/bin/python
# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: Apache-2.0
"""Pack debug logs of a node into an archive in /run that the login user can fetch, or remove that archive."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gvisor_logs
short_description: Pack debug logs of a gVisor node
description:
  - With C(state=packed) an archive is made at C(/run/gvisor-nodes/logs-<token>/logs.tar.gz), unless nothing matches.
    With C(state=absent) it goes. Archives that a dead run left go after an hour, or with the next boot.
options:
  state: {type: str, choices: [packed, absent], required: true, description: What is wanted.}
  token: {type: str, required: true, description: The name of the archive's directory.}
  login: {type: str, default: '', description: The user that fetches.}
  host_root: {type: path, default: /, description: The root directory of the host.}
  host_live: {type: bool, default: false, description: Whether the host runs whose root that is.}
  directory: {type: path, default: '', description: Where releases and generations are.}
  debug_logs_directory: {type: path, default: '', description: Where the logs are.}
  pod: {type: str, default: '', description: Only of this pod, as namespace and name with a slash between.}
  container: {type: str, default: '', description: Only of the container whose id begins like this.}
  since: {type: dict, default: {}, description: Only files changed since C(ago) seconds or since C(at), an epoch.}
  size: {type: int, default: 0, description: Bytes of logs that are taken, newest first.}
author: The gvisor-nodes authors
"""

import os
import pwd
import shutil
import time

from ansible.module_utils.gvisor_host import listdir, tree_state, users
from ansible.module_utils.gvisor_journal import NodeError, file_digest
from ansible.module_utils.gvisor_log_archive import SMALLEST_PART, containers, pack, select
from ansible.module_utils.gvisor_module import REQUIRED, respond
from ansible.module_utils.gvisor_units import retention

BASE = "/run/gvisor-nodes"
BUNDLES = "/run/containerd/io.containerd.runtime.v2.task"
KEPT_SECONDS = 3600


def sweep(base, token=""):
    """Remove this run's archive and those of dead ones, and the directory if nobody else has anything in it."""
    for name in listdir(base):
        path = os.path.join(base, name)
        forgotten = name.startswith("logs-") and time.time() - os.lstat(path).st_mtime > KEPT_SECONDS
        if forgotten or name == "logs-" + token:
            shutil.rmtree(path, ignore_errors=True)
    if not listdir(base) and os.path.isdir(base):
        os.rmdir(base)


def login_id(login):
    """The user that comes to fetch: the one who became root, else the one who logged in; -1 where it is root."""
    uid = int(os.environ.get("SUDO_UID", "-1"))
    if uid < 0 and login:
        try:
            uid = pwd.getpwnam(login).pw_uid
        except KeyError:
            uid = -1
    return uid


def since(wanted, now):
    if "ago" in wanted:
        return now - float(wanted["ago"])
    return float(wanted["at"]) if "at" in wanted else None


def look(root, options):
    """What there is, and what of it is asked for."""
    bundles = root.real(BUNDLES)
    running = {name for space in listdir(bundles) for name in listdir(os.path.join(bundles, space))}
    pods = users(root, options["directory"])["pods"]
    directory = root.real(options["debug_logs_directory"])
    found = containers(directory, running if root.is_live else set(), pods)
    chosen = select(found, options["pod"], options["container"], since(options["since"], time.time()))
    return found, [one for one in chosen if one["files"]], pods


def packed(root, options):
    base = root.real(BASE)
    sweep(base)
    found, chosen, pods = look(root, options)
    stopped = retention(root, options["directory"])["stopped"]
    answer = {
        "known_pods": sorted({one["pod"] for one in found if one["pod"]}),
        "running_pods": sorted({"%s/%s" % (pod["namespace"], pod["name"]) for pod in pods if pod["name"]}),
        "known_containers": len(found),
        "stopped": stopped,
    }
    if not chosen:
        return answer
    tree = tree_state(root, options["directory"])
    generation = tree["generations"].get(tree["current"] or "", {})
    os.makedirs(base, mode=0o755, exist_ok=True)
    status = os.statvfs(base)
    # Compressed logs are a tenth of their size, but nobody promises that; and /run is memory.
    room = status.f_bavail * status.f_frsize // 2
    limit = min(options["size"], room)
    if limit < SMALLEST_PART:
        raise NodeError("there is no room to pack logs", why="%d bytes may be used in %s" % (room, BASE), refused=True)
    target = os.path.join(base, "logs-" + options["token"])
    os.mkdir(target, 0o700)
    path = os.path.join(target, "logs.tar.gz")
    facts = {
        "schema": 1,
        "host": os.uname().nodename,
        "node_time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "directory": options["debug_logs_directory"],
        "generation": tree["current"],
        "release": generation.get("release"),
        "flags": (generation.get("flags") or "").split(),
        "asked_for": {key: options[key] for key in ("pod", "container", "since", "size")},
        "stopped": stopped,
    }
    manifest = pack(path, root.real(options["debug_logs_directory"]), chosen, limit, facts)
    uid = login_id(options["login"])
    if uid > 0:
        os.chown(path, uid, -1)
        os.chown(target, uid, -1)
    answer.update(
        size=os.path.getsize(path),
        sha256=file_digest(path),
        pods=sorted({one["pod"] for one in chosen if one["pod"]}),
        containers=len(chosen),
        files=len(manifest["files"]),
        left_out=len(manifest["left_out"]),
    )
    return answer


DEFAULTS = {
    "state": REQUIRED,
    "token": REQUIRED,
    "login": "",
    "directory": "",
    "debug_logs_directory": "",
    "pod": "",
    "container": "",
    "since": {},
    "size": 0,
}


def act(root, options):
    if options["state"] == "absent":
        sweep(root.real(BASE), options["token"])
        return {}
    try:
        return packed(root, options)
    except OSError:
        sweep(root.real(BASE), options["token"])
        raise


def main(arguments):
    respond(act, arguments, DEFAULTS, "cannot pack the logs", checks=True)
