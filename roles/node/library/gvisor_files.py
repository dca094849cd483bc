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
  state_directory: {type: path, required: true, description: Where the journal is.}
  files: {type: list, elements: dict, required: true, description: 'Things to make: path, kind, content, mode, target.'}
  remember: {type: dict, description: Values to keep in the journal.}
author: The gvisor-nodes authors
"""

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.gvisor_journal import Journal, Lease, NodeError, Root


def main():
    module = AnsibleModule(
        argument_spec={
            "token": {"type": "str", "required": True, "no_log": False},
            "host_root": {"type": "str", "default": "/"},
            "state_directory": {"type": "str", "required": True},
            "files": {"type": "list", "elements": "dict", "required": True},
            "remember": {"type": "dict"},
        }
    )
    options = module.params
    root = Root(options["host_root"])
    made = []
    path = ""
    try:
        Lease(root, options["token"]).renew()
        journal = Journal(root, options["state_directory"])
        if options["remember"]:
            journal.data.update(options["remember"])
            journal.save()
        for wanted in options["files"]:
            path = wanted["path"]
            if journal.put(wanted):
                made.append(path)
    except NodeError as error:
        module.fail_json(msg=str(error), node_error=error.answer)
    except OSError as error:
        module.fail_json(msg=str(error), node_error={"what": "cannot write %s" % path, "why": str(error)})
    module.exit_json(changed=bool(made), made=made)


if __name__ == "__main__":
    main()
