#!/usr/bin/python
# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: Apache-2.0
"""One step of the containerd transaction: stage, commit or rollback. Deciding is the controller's part."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gvisor_containerd
short_description: One step of a change of containerd's configuration
options:
  state: {type: str, choices: [stage, commit, rollback], required: true, description: The step.}
  token: {type: str, default: '', description: The token of the lease; not needed to stage in memory.}
  host_root: {type: path, default: /, description: The root directory of the host.}
  host_live: {type: bool, default: false, description: Whether the host runs whose root that is.}
  state_directory: {type: path, required: true, description: Where the journal is.}
  config: {type: path, description: The main configuration file.}
  drop_in: {type: path, description: 'The file to stage or write instead, which the main file imports.'}
  content: {type: str, description: Its wanted bytes in base64; absent means that the file is to be removed.}
  expect: {type: str, description: The sha256 that it must have now, or C(absent).}
  binary: {type: path, description: The daemon's own binary.}
  service: {type: str, default: containerd, description: The systemd unit.}
  socket: {type: path, default: /run/containerd/containerd.sock, description: The daemon's socket.}
  rollback_seconds: {type: int, default: 120, description: After this time without a proof the old bytes come back.}
  restart_timeout: {type: int, default: 60, description: How long a restart may take.}
  wanted: {type: str, default: installed, description: The word for the journal.}
  keep_original: {type: bool, default: false, description: What is there now is what an uninstall restores.}
  current: {type: dict, description: On rollback the generation to go back to (C(directory), C(number), C(history)).}
author: The gvisor-nodes authors
"""

import base64

from ansible.module_utils.gvisor_generations import Generations
from ansible.module_utils.gvisor_host import daemon
from ansible.module_utils.gvisor_journal import Journal, Lease, describe
from ansible.module_utils.gvisor_module import REQUIRED, respond
from ansible.module_utils.gvisor_transaction import commit, roll_back, serve_again, stage


def act(root, options):
    options["content"] = base64.b64decode(options["content"]) if options["content"] is not None else None
    if options["state"] == "stage":
        if not options["check_mode"]:
            Lease(root, options["token"]).renew()
        rc, out, err = stage(root, options)
        found = describe(root.real(root.resolve(options["drop_in"] or options["config"])))
        return {"dump": {"rc": rc, "text": out, "error": err.strip()[-2000:]}, "found": found}
    if options["check_mode"]:
        return {"changed": True, "daemon": daemon(root, options["service"])}
    Lease(root, options["token"]).renew()
    journal = Journal(root, options["state_directory"])
    if options["state"] == "rollback":
        undone = roll_back(root, journal, options)
        back = options["current"]
        switched = bool(back) and Generations(journal, back["directory"]).go_back(back["number"], back["history"])
        return {"changed": undone or switched, "rolled_back": undone, "switched": switched}
    if options["expect"] == "unchanged":
        return {"changed": True, "daemon": serve_again(root, journal, options)}
    options["state"] = options["wanted"]
    return {"changed": True, "daemon": commit(root, journal, options)}


DEFAULTS = {
    "state": REQUIRED,
    "token": "",
    "state_directory": REQUIRED,
    "config": None,
    "drop_in": None,
    "content": None,
    "expect": None,
    "binary": None,
    "service": "containerd",
    "socket": "/run/containerd/containerd.sock",
    "rollback_seconds": 120,
    "restart_timeout": 60,
    "wanted": "installed",
    "keep_original": False,
    "current": None,
}


def main(arguments):
    what = "cannot change %s" % ("%(drop_in)s" if arguments.get("drop_in") else "%(config)s")
    respond(act, arguments, DEFAULTS, what, checks=True)
