"""Taking our handler out of containerd's main file: the exact inverse of ``containerd_config.add_handler``. Pure.

Three files are met: one that only we changed (the old bytes come back), one that others changed too (our marked lines
go, theirs stay), and one that a tool has written anew without comments (our table is known by its values).
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from orchestrator.errors import RefusedError
from orchestrator.planning.containerd_block import Block, find_block
from orchestrator.planning.containerd_document import (
    Document,
    Path,
    Values,
    dotted,
    handlers_at,
    read_document,
    render_table,
)
from orchestrator.planning.containerd_edit import put_entries, take_handler

if TYPE_CHECKING:
    from orchestrator.planning.containerd_handler import Handler


def remove_handler(main: bytes, original: bytes | None, handler: Handler) -> bytes | None:
    """The file without our part.

    Args:
        main: the main file as it is.
        original: the main file as it was before us; None if there was none.
        handler: what was registered.

    Returns:
        ``original`` to the byte if the file is what ``add_handler`` made of it; else the file with only our part taken
        out; ``main`` itself if nothing in it is ours; None if the file is to be removed.

    Raises:
        RefusedError: the file is broken, or somebody's own settings are inside our table.
    """
    document = read_document(main)
    block = find_block(document, handler.name)
    if block:
        content = document.encode(block.cut(document.text, _kept_tables(document, block, handler)))
        return None if original is None and not content else content
    if original is not None and main in _edits_without_marks(original, document, handler):
        return original
    found = _unmarked(document, handler)
    if found is None or found[1] in _tables_in(original, handler.name):
        return main
    path, table = found
    options = table.get("options", {})
    strangers = sorted(options.keys() - handler.table["options"].keys()) if isinstance(options, dict) else []
    if strangers:
        raise RefusedError(
            f"settings that are not ours are inside our table {dotted((*path, handler.name))}",
            why=f"{', '.join(strangers)}: probably appended to the end of the file, behind our last table",
            remedy=f"move {', '.join(strangers)} to where they belong in the file, then run the same command again",
        )
    return document.encode(take_handler(document, handler, path))


def _unmarked(document: Document, handler: Handler) -> tuple[Path, Values] | None:
    """Our table where its marks are lost: nobody but us points there."""
    for path in document.runtimes_paths:
        table = handlers_at(document.values, path).get(handler.name)
        if isinstance(table, dict) and table.get("runtime_type") == handler.runtime_type:
            return path, table
    return None


def _kept_tables(document: Document, block: Block, handler: Handler) -> str:
    """What must stay of a block that is taken out.

    Without any handler in the file the built-in ones come back by themselves. They do not where others have named
    handlers since, and lines that somebody has edited are his.
    """
    path, ours = block.path, block.handlers
    others = handlers_at(document.values, path).keys() - ours.keys()
    kept = {} if block.intact and not others else {name: ours[name] for name in ours if name != handler.name}
    lines = []
    if "version" in block.values and (kept or tomllib.loads(block.cut(document.text))):
        # Others wrote their tables into a version 2 file; without the line they would be in a version 1 file.
        lines.append(f"version = {block.values['version']}")
    for name, table in kept.items():
        lines += render_table((*path, name), table)
    if not lines:
        return ""
    start = document.newline if block.added_newline else ""
    return start + "".join(line + document.newline for line in lines)


def _edits_without_marks(original: bytes, document: Document, handler: Handler) -> list[bytes]:
    """What an edit without a block made of the original, as far as the file of today tells."""
    if not _is_readable(original):
        return []
    before = read_document(original)
    edits = []
    for path in document.runtimes_paths:
        named = handlers_at(document.values, path)
        if handler.name not in named:
            continue
        earlier = handlers_at(before.values, path) if before.version == document.version else {}
        entries = {name: table for name, table in named.items() if name not in earlier and name != handler.name}
        edited = put_entries(before.text, path, {**entries, handler.name: handler.table})
        edits += [before.encode(edited)] if edited is not None else []
    return edits


def _is_readable(content: bytes) -> bool:
    try:
        read_document(content)
    except RefusedError:
        return False
    return True


def _tables_in(original: bytes | None, name: str) -> list[object]:
    """What the file before us had under the handler's name, wherever."""
    if original is None or not _is_readable(original):
        return []
    document = read_document(original)
    return [handlers_at(document.values, path).get(name) for path in document.runtimes_paths]
