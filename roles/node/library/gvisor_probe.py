#!/usr/bin/python
# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: Apache-2.0
"""Read the whole actual state of a node in one round trip; with ``lock`` take or release the node's lease."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gvisor_probe
short_description: Read the actual state of a gVisor node
description:
  - Returns everything that planning needs, in one round trip. Writes nothing, except the lease when asked to.
options:
  host_root: {type: path, default: /, description: The root directory of the host.}
  host_live: {type: bool, default: false, description: Whether the host runs whose root that is.}
  state_directory: {type: path, required: true, description: Where the journal is.}
  directory: {type: path, required: true, description: Where releases and generations are.}
  service: {type: str, default: containerd, description: The systemd unit of containerd.}
  debug_logs_directory: {type: path, required: true, description: Where runsc writes debug logs.}
  lock: {type: dict, description: The lease to take first: C(token), C(holder), C(timeout), C(ttl), C(process).}
  unlock: {type: str, description: The token of the lease to give back.}
author: The gvisor-nodes authors
"""

from ansible.module_utils.gvisor_host import probe
from ansible.module_utils.gvisor_journal import Lease
from ansible.module_utils.gvisor_module import REQUIRED, respond

DEFAULTS = {
    "state_directory": REQUIRED,
    "directory": REQUIRED,
    "service": "containerd",
    "debug_logs_directory": REQUIRED,
    "lock": None,
    "unlock": None,
}


def act(root, options):
    root.check()
    waited = 0
    if options["lock"]:
        lock = options["lock"]
        lease = Lease(root, lock["token"], float(lock["ttl"]))
        waited = lease.acquire(lock["holder"], float(lock["timeout"]), process=int(lock.get("process") or 0))
    if options["unlock"]:
        Lease(root, options["unlock"]).release()
        return {}
    return {"state": probe(options), "waited": round(waited, 1)}


def main(arguments):
    respond(act, arguments, DEFAULTS, "cannot read the node", checks=True)
