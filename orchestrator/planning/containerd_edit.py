"""Edits of containerd's main file where the file's own style puts the tables, by a library that keeps comments.

The second choice: it leaves no marks. Needed where a block at the end cannot be valid (inline tables) and where another
tool has written our table anew. Nothing it returns is trusted before ``tomllib`` has read it.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

import tomlrt

from orchestrator.errors import RefusedError
from orchestrator.planning.containerd_document import Document, Path, Values, dotted, pruned, without_entries

if TYPE_CHECKING:
    from orchestrator.planning.containerd_handler import Handler


def put_entries(text: str, path: Path, entries: Values) -> str | None:
    """The text with entries put in by tomlrt, wherever they fit the file's own style; None where it cannot."""
    try:
        editable: Any = tomlrt.loads(text)
        table = editable
        for key in path:
            if key not in table:
                table[key] = {}
            table = table[key]
        for name, entry in entries.items():
            if name in table:
                _merge(table[name], entry)
            else:
                table[name] = entry
        return tomlrt.dumps(editable)
    except (tomlrt.TOMLError, TypeError, ValueError, KeyError):
        return None  # the caller says what cannot be done; a way that does not exist is no error


def _merge(table: Any, entry: Values) -> None:
    """Put values into a table that is there; ``options`` shall be ours alone, other keys of the table may stay."""
    for key, value in entry.items():
        if isinstance(value, dict) and isinstance(table.get(key), dict):
            for name in table[key].keys() - value.keys():
                del table[key][name]
            _merge(table[key], value)
        else:
            table[key] = value


def take_handler(document: Document, handler: Handler, path: Path) -> str:
    """The text without our table at a path, and without marks that lost their other half.

    Raises:
        RefusedError: something else would change.
    """
    editable: Any = tomlrt.loads(document.text)
    table = editable
    for key in path:
        table = table[key]
    del table[handler.name]
    expected = without_entries(document.values, path, [handler.name])
    if not table:
        # An empty runtimes table hides the built-in handlers as well; without it they come back.
        parent = editable
        for key in path[:-1]:
            parent = parent[key]
        if path[-1] in parent:
            del parent[path[-1]]
        expected = pruned(expected, path)
    marks = re.compile(rf"^# (>>>|<<<) gvisor-nodes {re.escape(handler.name)}( .*)?\r?\n", re.MULTILINE)
    text = tomlrt.dumps(editable)
    for candidate in (marks.sub("", text), text):
        try:
            if pruned(tomllib.loads(candidate), path) == pruned(expected, path):
                return candidate
        except tomllib.TOMLDecodeError:
            continue
    raise RefusedError(
        f"{dotted((*path, handler.name))} cannot be taken out of containerd's configuration safely",
        why="every way to do it would change something else",
        remedy="delete that table from the file by hand, then run the same command again",
    )
