#!/usr/bin/python
# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: Apache-2.0
"""Take away generations and releases that nothing needs, looked at again at the moment of removal."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gvisor_collect
short_description: Remove unused gVisor generations and releases
description:
  - What is named is removed only if nothing on the node needs it now. The lease is given back at the end in any case.
options:
  token: {type: str, required: true, description: The token of the lease.}
  host_root: {type: path, default: /, description: The root directory of the host.}
  host_live: {type: bool, default: false, description: Whether the host runs whose root that is.}
  state_directory: {type: path, required: true, description: Where the journal is.}
  directory: {type: path, required: true, description: Where releases and generations are.}
  containerd_state: {type: path, default: /run/containerd, description: 'State directory of containerd, for bundles.'}
  generations: {type: list, elements: str, default: [], description: Numbers of generations.}
  releases: {type: list, elements: str, default: [], description: Names of releases.}
  keep: {type: int, default: 1, description: How many earlier generations stay for a rollback.}
  grace: {type: int, default: 600, description: Seconds that a generation stays after it was current; not less.}
author: The gvisor-nodes authors
"""

from ansible.module_utils.gvisor_generations import Collection
from ansible.module_utils.gvisor_journal import Journal, Lease
from ansible.module_utils.gvisor_module import REQUIRED, respond

DEFAULTS = {
    "token": REQUIRED,
    "state_directory": REQUIRED,
    "directory": REQUIRED,
    "containerd_state": "/run/containerd",
    "generations": [],
    "releases": [],
    "keep": 1,
    "grace": 600,
}


def act(root, options):
    lease = Lease(root, options["token"])
    lease.renew()
    try:
        done = Collection(Journal(root, options["state_directory"]), options).run()
    finally:
        lease.release()
    return {"changed": bool(done["collected"]), **done}


def main(arguments):
    remedy = "gVisor is installed and proved; run the same command again to remove the rest"
    respond(act, arguments, DEFAULTS, "cannot remove what nothing uses", remedy)
