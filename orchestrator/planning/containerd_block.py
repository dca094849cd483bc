"""Our lines in containerd's main file: marked, so that they are known again whatever happens around them.

A block is a run of whole lines between two comments. The first names the handler, a digest of the lines between (has
somebody edited them?) and whether a newline had to be added to a file that did not end in one, so that taking the
block out gives the old bytes back without knowing them.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.planning.containerd_document import (
    Path,
    Values,
    handlers_at,
    pruned,
    render_table,
    table_at,
    without_entries,
)

if TYPE_CHECKING:
    from orchestrator.planning.containerd_document import Document
    from orchestrator.planning.containerd_handler import Handler

_OURS: Final = "# Written and removed by gvisor-nodes; a change between these two marks is lost at the next apply."
_PRESERVED: Final = "# containerd 1.x forgets these handlers as soon as a file names any: here are their values."


@dataclass(frozen=True, slots=True)
class Block:
    """A marked block found in a text.

    Args:
        start: offset of its first character, the newline that was added for it included.
        end: offset behind its last character.
        intact: nobody has changed a line of it.
        added_newline: the newline before it is ours, and goes with it.
        values: what it says, as if it stood alone.
        path: where its handlers are in the file.
    """

    start: int
    end: int
    intact: bool
    added_newline: bool
    values: Values
    path: Path

    @property
    def handlers(self) -> Values:
        """The handlers that it defines, ours among them."""
        return table_at(self.values, self.path)

    def cut(self, text: str, replacement: str = "") -> str:
        """The text with something else, or nothing, in the block's place."""
        return text[: self.start] + replacement + text[self.end :]


def render_body(path: Path, handler: Handler, preserved: Values, *, version: int | None) -> list[str]:
    """The lines between the marks; ours last, so that a stray key appended to the file reaches no other handler."""
    lines = [_OURS]
    if version is not None:
        lines.append(f"version = {version}")
    if preserved:
        lines.append(_PRESERVED)
    for name, table in preserved.items():
        lines += render_table((*path, name), table)
    return lines + render_table((*path, handler.name), handler.table)


def render_block(handler: Handler, body: list[str], newline: str, *, after: str) -> str:
    """The whole block as it is put behind the text ``after``."""
    added = bool(after) and not after.endswith("\n")
    begin = f"# >>> gvisor-nodes {handler.name} sha256:{_digest(body)} newline:{'added' if added else 'kept'}"
    lines = [begin, *body, f"# <<< gvisor-nodes {handler.name}"]
    return (newline if added else "") + "".join(line + newline for line in lines)


def find_block(document: Document, handler_name: str) -> Block | None:
    """The handler's block, if there is one that can be cut out without touching anything else.

    A pair of marks proves nothing by itself (it may be part of a string, or somebody may have put tables of his own
    between the marks), so the values decide: the file must say without the block what it says with it, less the
    handlers that the block defines.
    """
    begin_mark = re.compile(
        rf"^# >>> gvisor-nodes {re.escape(handler_name)} "
        r"sha256:(?P<digest>[0-9a-f]{16}) newline:(?P<newline>added|kept)\r?\n",
        re.MULTILINE,
    )
    end_mark = re.compile(rf"^# <<< gvisor-nodes {re.escape(handler_name)}[ \t]*(\r?\n|\Z)", re.MULTILINE)
    for begin in reversed(list(begin_mark.finditer(document.text))):
        end = end_mark.search(document.text, begin.end())
        if end is None:
            continue
        body = document.text[begin.end() : end.start()]
        start = begin.start()
        added = begin["newline"] == "added"
        if added and end.end() == len(document.text):  # else the newline separates what others wrote from the old text
            start -= 2 if document.text[:start].endswith("\r\n") else 1
        try:
            values = tomllib.loads(body)
        except tomllib.TOMLDecodeError:
            continue
        lines = body.replace("\r\n", "\n").removesuffix("\n").split("\n")
        for path in document.runtimes_paths:
            block = Block(
                start=start,
                end=end.end(),
                intact=_digest(lines) == begin["digest"],
                added_newline=start < begin.start(),
                values=values,
                path=path,
            )
            if _is_separable(document, block):
                return block
    return None


def _is_separable(document: Document, block: Block) -> bool:
    path = block.path
    handlers = handlers_at(block.values, path)
    if not handlers and path != document.runtimes_path:
        return False
    alone = {key: value for key, value in block.values.items() if key != "version"}
    if pruned(without_entries(alone, path, list(handlers)), path) != {}:
        return False
    try:
        rest = tomllib.loads(block.cut(document.text))
    except tomllib.TOMLDecodeError:
        return False
    expected = without_entries(document.values, path, list(handlers))
    if "version" in block.values:
        expected.pop("version", None)
    return pruned(rest, path) == pruned(expected, path)


def _digest(body: list[str]) -> str:
    # Not a secret and not against an adversary: 64 bits tell "edited" from "as written".
    return hashlib.sha256("\n".join(body).encode("utf-8", "surrogateescape")).hexdigest()[:16]
