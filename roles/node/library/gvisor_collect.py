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

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.gvisor_generations import Collection
from ansible.module_utils.gvisor_journal import Journal, Lease, NodeError
from ansible.module_utils.gvisor_root import Root


def main():
    module = AnsibleModule(
        argument_spec={
            "token": {"type": "str", "required": True, "no_log": False},
            "host_root": {"type": "str", "default": "/"},
            "host_live": {"type": "bool", "default": False},
            "state_directory": {"type": "str", "required": True},
            "directory": {"type": "str", "required": True},
            "containerd_state": {"type": "str", "default": "/run/containerd"},
            "generations": {"type": "list", "elements": "str", "default": []},
            "releases": {"type": "list", "elements": "str", "default": []},
            "keep": {"type": "int", "default": 1},
            "grace": {"type": "int", "default": 600},
        }
    )
    options = module.params
    root = Root(options["host_root"], options["host_live"])
    try:
        lease = Lease(root, options["token"])
        lease.renew()
        try:
            done = Collection(Journal(root, options["state_directory"]), options).run()
        finally:
            lease.release()
    except NodeError as error:
        module.fail_json(msg=str(error), node_error=error.answer)
    except OSError as error:
        module.fail_json(
            msg=str(error),
            node_error={
                "what": "cannot remove what nothing uses",
                "why": str(error),
                "remedy": "gVisor is installed and proved; run the same command again to remove the rest",
            },
        )
    module.exit_json(changed=bool(done["collected"]), **done)


if __name__ == "__main__":
    main()
