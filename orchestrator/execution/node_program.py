"""What runs on a node for one of our modules: one program, which holds the module's source and what that imports.

Ansible would pack a module together with its own framework, and importing that takes a node 0.2 s of processor for each
call, more than most modules need for their work (docs/adr/0021). So the program is one of those that Ansible calls
JSONARGS modules, https://docs.ansible.com/ansible-core/2.21/dev_guide/developing_program_flow_modules.html: it is sent,
run and listened to as any other, and where it says so, Ansible puts the arguments.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ARGUMENTS = "<<INCLUDE_ANSIBLE_MODULE_JSON_ARGS>>"
"""What Ansible replaces by the arguments: JSON, in ASCII and on one line."""

OLDEST_PYTHON = (3, 9)
"""The oldest that our modules and ansible-core 2.21 run on."""

_IMPORT = re.compile(r"^from ansible\.module_utils\.(\w+) import ", re.MULTILINE)

# It is read from standard input, so Python would look for modules in the login's directory first: nothing of that.
# The sources are packed because Ansible would take a text with their imports for a module that wants its framework.
# JSON's words are names here and its strings are Python's, but for what is outside of the basic plane: two halves, that
# a second reading joins. Nothing in a string can end it: in both languages a quote and a backslash are escaped alike.
_PROGRAM = """\
#!/usr/bin/python
import sys
sys.path[:] = [path for path in sys.path if path]
if sys.version_info < {oldest}:
    sys.exit("Python %d.%d or newer is needed, this is " % {oldest} + sys.version.split()[0])
import binascii, json, zlib
true, false, null = True, False, None
for name, source in json.loads(zlib.decompress(binascii.a2b_base64("{sources}"))):
    module = sys.modules[name] = type(sys)(name)
    exec(compile(source, name, "exec"), module.__dict__)
module.main(json.loads(json.dumps({arguments})))
"""


def node_program(role: Path, name: str) -> str:
    """Return the program that does on a node what the module ``name`` does.

    Args:
        role: the directory of a role, with ``library`` and ``module_utils``.
        name: a module of its library, a file whose ``main`` takes the arguments.

    Raises:
        OSError: the module, or one that is imported, cannot be read.
    """
    sources: dict[str, str] = {}

    def add(module: str, path: Path) -> None:
        source = path.read_text(encoding="utf-8")
        for needed in _IMPORT.findall(source):
            if f"ansible.module_utils.{needed}" not in sources:
                add(f"ansible.module_utils.{needed}", role / "module_utils" / f"{needed}.py")
        sources[module] = source

    add(name, role / "library" / f"{name}.py")
    packed = base64.b64encode(zlib.compress(json.dumps(list(sources.items())).encode(), level=1)).decode()
    return _PROGRAM.format(oldest=OLDEST_PYTHON, sources=packed, arguments=ARGUMENTS)
