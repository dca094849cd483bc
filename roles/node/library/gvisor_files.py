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

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.gvisor_generations import Generations
from ansible.module_utils.gvisor_host import group_id
from ansible.module_utils.gvisor_journal import Journal, Lease, NodeError
from ansible.module_utils.gvisor_root import Root
from ansible.module_utils.gvisor_units import activate


def give_to_group(root, journal, wanted, gid):
    """Let a directory of ours belong to this group; True if it did not."""
    real, entry = root.real(wanted["path"]), journal.entry(wanted["path"])
    if gid is None or entry is None or entry["before"] is not None or os.stat(real).st_gid == gid:
        return False
    os.chown(real, -1, gid)
    return True


def main():
    module = AnsibleModule(
        argument_spec={
            "token": {"type": "str", "required": True, "no_log": False},
            "host_root": {"type": "str", "default": "/"},
            "host_live": {"type": "bool", "default": False},
            "state_directory": {"type": "str", "required": True},
            "files": {"type": "list", "elements": "dict", "required": True},
            "timer": {"type": "str", "default": ""},
            "remember": {"type": "dict"},
            "directory": {"type": "str"},
        }
    )
    options = module.params
    root = Root(options["host_root"], options["host_live"])
    made = []
    path = ""
    try:
        Lease(root, options["token"]).renew()
        journal = Journal(root, options["state_directory"])
        groups = {file["path"]: group_id(root, file["group"]) for file in options["files"] if file.get("group")}
        if options["remember"]:
            journal.data.update(options["remember"])
            journal.save()
        generations = Generations(journal, options["directory"]) if options["directory"] else None
        for wanted in options["files"]:
            path = wanted["path"]
            put = generations.switch if generations and path == generations.path else journal.put
            changed = put(wanted)
            if give_to_group(root, journal, wanted, groups.get(path)) or changed:
                made.append(path)
        if options["timer"] and activate(root, options["timer"], made):
            made.append(options["timer"])
    except NodeError as error:
        module.fail_json(msg=str(error), node_error=error.answer)
    except OSError as error:
        module.fail_json(msg=str(error), node_error={"what": "cannot write %s" % path, "why": str(error)})
    module.exit_json(changed=bool(made), made=made)


if __name__ == "__main__":
    main()
