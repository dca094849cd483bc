# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: Apache-2.0
"""The frame of our modules: options in, one line of JSON out, and a reason where there is no answer.

It stands in the place of Ansible's own AnsibleModule, whose import takes a node longer than most modules their work;
who calls is an action plugin of ours, which sends every option as it has to be. Standard library only, Python >= 3.9,
no Ansible.
"""

from __future__ import annotations

import json
import sys

from ansible.module_utils.gvisor_journal import NodeError
from ansible.module_utils.gvisor_root import Root

REQUIRED = object()
"""The default of an option that has to be given."""
PLACE = {"host_root": "/", "host_live": False}
"""What every module takes: the root directory of the host, and whether the host runs."""


def read(arguments, defaults):
    """The options by name, with ``check_mode`` among them. Raises TypeError for one that is missing or unknown."""
    given = {name: value for name, value in arguments.items() if not name.startswith("_ansible_")}
    options = {**PLACE, **defaults}
    unknown = sorted(set(given) - set(options))
    missing = sorted(name for name, value in options.items() if value is REQUIRED and given.get(name) is None)
    if unknown or missing:
        raise TypeError("options that are unknown: %s; that are missing: %s" % (unknown, missing))
    options.update((name, value) for name, value in given.items() if value is not None)
    return dict(options, check_mode=bool(arguments.get("_ansible_check_mode")))


def respond(act, arguments, defaults, what, remedy="", checks=False):
    """Answer with what ``act(root, options)`` returns, and end.

    ``what`` and ``remedy`` are for a person, where the operating system refuses; ``%(name)s`` in them is an option.
    ``checks``: it knows what to do in check mode; otherwise it is not called then.
    """
    options = read(arguments, defaults)
    root = Root(options["host_root"], options["host_live"])
    answer = {"changed": False, "skipped": True}
    try:
        if checks or not options["check_mode"]:
            answer = {"changed": False, **act(root, options)}
    except NodeError as error:
        answer = {"failed": True, "msg": str(error), "node_error": error.answer}
    except OSError as error:
        reason = {"what": what % options, "why": str(error), "remedy": remedy % options}
        answer = {"failed": True, "msg": str(error), "node_error": reason}
    print(json.dumps(answer))
    sys.exit(1 if answer.get("failed") else 0)
