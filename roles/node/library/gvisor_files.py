#!/usr/bin/python
# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: Apache-2.0
"""Make the small files of an installation, each announced in the journal; ``current`` is switched by one rename."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gvisor_files
short_description: Make directories, files and links through the node's journal
description:
  - Writes what it is told, in order, atomically, and reports what was not so already.
options:
  token: {type: str, required: true, description: The token of the lease.}
  host_root: {type: path, default: /, description: The root directory of the host.}
  host_live: {type: bool, default: false, description: Whether the host runs whose root that is.}
  state_directory: {type: path, required: true, description: Where the journal is.}
  files: {type: list, elements: dict, required: true,
          description: 'Things to make: path, kind, content, mode, target; for a directory of ours also group.'}
  timer: {type: str, default: '', description: A systemd timer among the files that shall run.}
  remember: {type: dict, description: Values to keep in the journal.}
  directory: {type: path, description: 'Where generations are: writing C(current) there is a switch, and recorded.'}
author: The gvisor-nodes authors
"""

import os

from ansible.module_utils.gvisor_generations import Generations
from ansible.module_utils.gvisor_host import group_id
from ansible.module_utils.gvisor_journal import Journal, Lease, NodeError
from ansible.module_utils.gvisor_module import REQUIRED, respond
from ansible.module_utils.gvisor_units import activate


def give_to_group(journal, wanted, gid):
    """Let a directory of ours belong to this group; True if it did not."""
    real, entry = journal.root.real(wanted["path"]), journal.entry(wanted["path"])
    if gid is None or entry is None or entry["before"] is not None or os.stat(real).st_gid == gid:
        return False
    os.chown(real, -1, gid)
    return True


DEFAULTS = {
    "token": REQUIRED,
    "state_directory": REQUIRED,
    "files": REQUIRED,
    "timer": "",
    "remember": None,
    "directory": None,
}


def write(journal, generations, wanted, gid):
    """Write one file or directory; True if it was not there as it is wanted."""
    put = generations.switch if generations and wanted["path"] == generations.path else journal.put
    try:
        changed = put(wanted)
        return give_to_group(journal, wanted, gid) or changed
    except OSError as error:
        raise NodeError("cannot write %s" % wanted["path"], why=str(error)) from None


def act(root, options):
    Lease(root, options["token"]).renew()
    journal = Journal(root, options["state_directory"])
    groups = {file["path"]: group_id(root, file["group"]) for file in options["files"] if file.get("group")}
    if options["remember"]:
        journal.data.update(options["remember"])
        journal.save()
    generations = Generations(journal, options["directory"]) if options["directory"] else None
    made = [
        wanted["path"] for wanted in options["files"] if write(journal, generations, wanted, groups.get(wanted["path"]))
    ]
    if options["timer"] and activate(root, options["timer"], made):
        made.append(options["timer"])
    return {"changed": bool(made), "made": made}


def main(arguments):
    respond(act, arguments, DEFAULTS, "cannot write to %(state_directory)s")
