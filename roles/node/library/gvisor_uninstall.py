#!/usr/bin/python
# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: Apache-2.0
"""Reverse the journal: files, directories, links, at last the journal itself. containerd's part is done before."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gvisor_uninstall
short_description: Reverse everything the journal of a node knows
description:
  - Refuses while a process runs from our directory or a pod's bundle names our shim, and says which.
options:
  token: {type: str, required: true, description: The token of the lease.}
  host_root: {type: path, default: /, description: The root directory of the host.}
  host_live: {type: bool, default: false, description: Whether the host runs whose root that is.}
  state_directory: {type: path, required: true, description: Where the journal is.}
  directory: {type: path, required: true, description: Where releases and generations are.}
  config: {type: path, required: true, description: The main configuration file of containerd.}
author: The gvisor-nodes authors
"""

import contextlib
import os
import shutil

from ansible.module_utils.gvisor_host import listdir, users
from ansible.module_utils.gvisor_journal import Journal, Lease, NodeError
from ansible.module_utils.gvisor_module import REQUIRED, respond
from ansible.module_utils.gvisor_transaction import disarm, sweep
from ansible.module_utils.gvisor_units import forget_units, stop_units

SHIM_STATE = "/run/containerd/runsc"


def refuse_while_used(root, directory):
    found = users(root, directory)
    if found["processes"] or found["pods"]:
        names = sorted({"%s/%s" % (p["namespace"], p["name"]) if p["name"] else p["sandbox"] for p in found["pods"]})
        raise NodeError(
            "pods still run in gVisor on this node",
            why="%s; %d processes run from %s"
            % (", ".join(names) or "no pod is named", len(found["processes"]), directory),
            remedy="drain the node or delete these pods; without our binaries they could no longer be deleted",
            refused=True,
        )


def forget_shim_state(root):
    """The shim never removes its state directory: one bind mount of a network namespace per containerd namespace."""
    if not root.is_live:
        return
    base = root.real(SHIM_STATE)
    for namespace in listdir(base):
        directory = os.path.join(base, namespace)
        if listdir(directory) in ([], ["null-netns"]):  # anything else belongs to a sandbox that is not ours
            root.run(["umount", os.path.join(SHIM_STATE, namespace, "null-netns")])
            with contextlib.suppress(OSError):
                os.unlink(os.path.join(directory, "null-netns"))
            with contextlib.suppress(OSError):
                os.rmdir(directory)
    with contextlib.suppress(OSError):
        os.rmdir(base)


DEFAULTS = {"token": REQUIRED, "state_directory": REQUIRED, "directory": REQUIRED, "config": REQUIRED}


def act(root, options):
    lease = Lease(root, options["token"])
    lease.renew()
    refuse_while_used(root, options["directory"])
    journal = Journal(root, options["state_directory"])
    disarm(root, journal)
    sweep(root, root.resolve(options["config"]))
    if journal.data.get("containerd"):
        sweep(root, journal.data["containerd"]["config"])
    forget_shim_state(root)
    stop_units(root, journal)
    kept = journal.take_back()
    forget_units(root, journal)
    journal.erase()
    shutil.rmtree(root.real("/run/gvisor-nodes"), ignore_errors=True)
    return {"changed": True, "kept": kept}


def main(arguments):
    respond(act, arguments, DEFAULTS, "cannot take everything back")
