"""The one command line that a prefix or a become method runs on the node, and how it is quoted.

What the caller passes as `access`:

    argv      a prefix: a program and its arguments to which one more argument is added, a shell command line that is
              then run on the node. `ssh … host` is one, `sh -c` is one for the machine itself. No `-t` or `-tt` (a
              terminal changes bytes), no `-n` (stdin is the bridge), and nothing that asks (`-o BatchMode=yes`).
              Empty: no prefix, this machine is the node and we are root.
    become    null, or how to become root:
        command   a shell command line in which the literal `@COMMAND@` is replaced by ours, once. It must stand where
                  a command may stand, as text for a POSIX shell, either bare or within single quotes of any depth as
                  `shlex.quote` makes them; never within double quotes. That is what Ansible's become plugins make of
                  the command `@COMMAND@` (their shell must know its `executable`, as the one of a connection does):
                  `sudo -H -S -p "…" -u root /bin/sh -c 'echo BECOME-SUCCESS-x ; @COMMAND@'`.
                  Empty: the prefix alone already runs things as root.
        success   the word that is printed on stdout, in a line of its own, once we are root; nothing but the password
                  is sent before it.
        prompt    the text with which a line begins that asks for the password, on stdout or stderr; empty: none is
                  expected.
        password  what to answer, once; empty or null: none is known, so being asked is an error.

Our command has no single quote, dollar sign, backquote, backslash or exclamation mark in it, only a double quoted
argument of `python -c`, so it survives any number of single quoting levels unchanged. It is always the same few words:
they read one line of JSON from stdin and run the program in it (`node_side`). So nothing that comes from a request
(socket, token, sandbox) is ever part of a command line; the node's Python is, and is held to harmless characters.
"""

from __future__ import annotations

import json
import re
import shlex
from importlib import resources
from itertools import pairwise

from orchestrator.cri.node_side import HELLO
from orchestrator.errors import InvalidInputError

PLACEHOLDER = "@COMMAND@"
# FileIO is unbuffered: readline takes no byte that belongs to the frames after the line.
BOOTSTRAP = "import io,json;exec(*json.loads(io.FileIO(0,closefd=False).readline()))"
# Ansible, su and a login shell together nest three levels; more is a sign of a template that was not meant so.
DEEPEST = 6

_SHELL = re.compile(r"-\w*c")
_PYTHON = re.compile(r"/[A-Za-z0-9._/+-]+")


def bootstrap(python: str) -> str:
    """The command that starts the relay.

    Args:
        python: absolute path of a Python >= 3.9 on the node.

    Raises:
        InvalidInputError: the path holds characters that a shell could take for its own.
    """
    if not _PYTHON.fullmatch(python):
        raise InvalidInputError(
            f"the node's Python {python!r} is not usable",
            why="it must be an absolute path of letters, digits and . _ / + -",
            remedy="set ansible_python_interpreter of this host to such a path",
        )
    # -I: no PYTHON* variables, no user site; -S: no site packages; both keep a node's habits out and start it faster.
    return f'{python} -I -S -c "{BOOTSTRAP}"'


def command_line(python: str, template: str) -> str:
    """The last argument of the prefix: the bootstrap, wrapped by the become template if there is one.

    Args:
        python: absolute path of a Python >= 3.9 on the node.
        template: become.command, or "".

    Raises:
        InvalidInputError: the path or the template cannot carry our command unchanged.
    """
    inner = bootstrap(python)
    if not template:
        # A login shell may be anything; /bin/sh is what the bootstrap is written for.
        return f"/bin/sh -c {shlex.quote('exec ' + inner)}"
    if template.count(PLACEHOLDER) != 1:
        raise InvalidInputError(
            "the become command does not fit",
            why=f"it must hold {PLACEHOLDER} once, and holds it {template.count(PLACEHOLDER)} times",
        )
    whole = template.replace(PLACEHOLDER, inner)
    if not _arrives(whole):
        raise InvalidInputError(
            "the become command does not fit",
            why=f"{PLACEHOLDER} must stand bare or in the single quoted command of a `sh -c`, never in double quotes",
            remedy="use become_method sudo or doas, or log in as root",
        )
    return whole


def _arrives(command: str) -> bool:
    """Whether some shell, however deep, gets the bootstrap as one word."""
    level = [command]
    for _ in range(DEEPEST):
        deeper: list[str] = []
        for text in level:
            try:
                words = shlex.split(text)
            except ValueError:
                return False
            if BOOTSTRAP in words:
                return True
            # sh -c, su -c: what follows is a command line; anything else would take our command for a file's name
            deeper += [word for before, word in pairwise(words) if BOOTSTRAP in word and _SHELL.fullmatch(before)]
        level = deeper
    return False


def program(token: str) -> bytes:
    """The line that the bootstrap reads: the relay's source and the globals it runs with."""
    source = resources.files("orchestrator.cri").joinpath("node_side.py").read_text(encoding="utf-8")
    return json.dumps([source, {"__name__": HELLO, "TOKEN": token}]).encode() + b"\n"
