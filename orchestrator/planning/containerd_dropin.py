"""A file of our own beside containerd's main file, on containerd 2.x, which merges what it imports. Pure.

The safest change is one that touches nobody's file. It is possible where the main file *itself* imports a directory by
a pattern: a built-in import that a dump shows (2.2 and later) is not followed, so only the file's own text counts here.
Whether the daemon really reads the new file is for its own binary to say, asked by the caller with the file staged.

The drop-in has the main file's own version and that version's name of the table. With any other pair some release
loses the settings of the one file or of the other without a word (2.0 to 2.2), or does not start (2.3.0 to 2.3.4).
"""

from __future__ import annotations

import fnmatch
import posixpath
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.errors import RefusedError
from orchestrator.planning.containerd_block import Block, find_block, render_block, render_body
from orchestrator.planning.containerd_document import Document, Path, handlers_at, read_document

if TYPE_CHECKING:
    from orchestrator.planning.containerd_handler import Handler

NAME: Final = "gvisor-nodes.toml"
_BEING_WRITTEN: Final = NAME + ".gvisor-nodes-staged"
"""What the node calls the file while it writes it; a pattern that matches this one too would load half a file."""
_PATTERN: Final = frozenset("*?[\\")


@dataclass(frozen=True, slots=True)
class DropIn:
    """The drop-in that the node's journal knows of: its path, and its bytes (None: it is not there)."""

    path: str
    content: bytes | None


def places(document: Document, config: str) -> list[str]:
    """Paths at which the main file's own imports would read a drop-in of ours, in the order of the imports.

    Args:
        document: the main file.
        config: its absolute path: relative imports are relative to its directory.
    """
    patterns = document.values.get("imports", [])
    found = []
    for pattern in patterns if isinstance(patterns, list) else []:
        if not isinstance(pattern, str):
            continue
        directory, name = posixpath.split(posixpath.normpath(posixpath.join(posixpath.dirname(config), pattern)))
        if _PATTERN & set(directory) or _PATTERN & set(name) != {"*"}:
            continue  # a literal file, or a pattern that Go and Python may read differently
        if fnmatch.fnmatchcase(NAME, name) and not fnmatch.fnmatchcase(_BEING_WRITTEN, name):
            found.append(posixpath.join(directory, NAME))
    return list(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class OwnDropIn:
    """A drop-in that is there and has our handler in it."""

    path: str
    content: bytes
    document: Document
    block: Block


def find_drop_in(drop_in: DropIn | None, handler: Handler) -> OwnDropIn | None:
    """The drop-in of an earlier run, if it is there and still ours."""
    if drop_in is None or drop_in.content is None:
        return None
    try:
        document = read_document(drop_in.content)
    except RefusedError:
        return None  # somebody broke it; containerd would not have dumped anything
    block = find_block(document, handler.name)
    return OwnDropIn(drop_in.path, drop_in.content, document, block) if block else None


def render_drop_in(there: OwnDropIn | None, path: Path, handler: Handler, *, version: int | None) -> bytes | None:
    """The drop-in's bytes.

    Args:
        there: the one that is there, whose other lines stay.
        path: the table of the handlers.
        handler: what to register.
        version: the main file's own; None where it names none.

    Returns:
        None where the lines of others in the file that is there do not allow it.
    """
    body = render_body(path, handler, {}, version=version)
    if there is None:
        return render_block(handler, body, "\n", after="").encode()
    before = there.document.text[: there.block.start]
    text = there.block.cut(there.document.text, render_block(handler, body, there.document.newline, after=before))
    try:
        if handlers_at(tomllib.loads(text), path).get(handler.name) != handler.table:
            return None
    except tomllib.TOMLDecodeError:
        return None
    return there.document.encode(text)
