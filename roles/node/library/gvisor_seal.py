#!/usr/bin/python
# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: Apache-2.0
"""The last step of an apply: call the rollback off, write down what was proved, give the lease back."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gvisor_seal
short_description: Seal a proved installation
options:
  token: {type: str, required: true, description: The token of the lease.}
  host_root: {type: path, default: /, description: The root directory of the host.}
  host_live: {type: bool, default: false, description: Whether the host runs whose root that is.}
  state_directory: {type: path, required: true, description: Where the journal is.}
  service: {type: str, default: containerd, description: The systemd unit.}
  config: {type: path, description: containerd's main configuration file.}
  seal: {type: dict, required: true, description: 'What was proved: fingerprint, release, generation, proof.'}
  release: {type: bool, default: true, description: Whether the lease is given back.}
author: The gvisor-nodes authors
"""

import time

from ansible.module_utils.gvisor_generations import Generations
from ansible.module_utils.gvisor_host import daemon, drop_in, tree_state
from ansible.module_utils.gvisor_journal import Journal, Lease, describe
from ansible.module_utils.gvisor_module import REQUIRED, respond
from ansible.module_utils.gvisor_transaction import disarm, stays

DEFAULTS = {
    "token": REQUIRED,
    "state_directory": REQUIRED,
    "service": "containerd",
    "config": REQUIRED,
    "seal": REQUIRED,
    "release": True,
}


def act(root, options):
    lease = Lease(root, options["token"])
    lease.renew()
    journal = Journal(root, options["state_directory"])
    disarm(root, journal)
    stays(root, journal)
    found = daemon(root, options["service"]) if root.is_live else {}
    config = describe(root.real(root.resolve(options["config"])))
    beside = drop_in(root, journal)
    tree = tree_state(root, options["seal"]["directory"])
    seal, at = options["seal"], int(time.time())
    # What was proved is this release. The files of the others stay as they were when they were proved.
    proved = journal.data.get("proved_releases") or (journal.data.get("sealed") or {}).get("releases") or {}
    proved = {name: files for name, files in proved.items() if name in tree["releases"]}
    if seal.get("release") in tree["releases"]:
        proved[seal["release"]] = tree["releases"][seal["release"]]
    if seal.get("generation"):
        Generations(journal, seal["directory"]).seal(str(seal["generation"]), at)
    journal.data["proved_releases"] = proved
    journal.data["sealed"] = {
        **seal,
        "at": at,
        "daemon": {"pid": found.get("pid"), "start_ticks": found.get("start_ticks")},
        "config_sha256": config and config["sha256"],
        "drop_in": beside and {"path": beside["path"], "sha256": (beside["file"] or {}).get("sha256")},
        "releases": proved,
        "files": {name: what and what["sha256"] for name, what in tree["files"].items()},
    }
    journal.save()
    if options["release"]:
        lease.release()
    return {"changed": True, "daemon": found}


def main(arguments):
    respond(act, arguments, DEFAULTS, "cannot seal the installation")
