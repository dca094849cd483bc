"""The smallest change of containerd's main file that registers our handler, and its exact inverse. Pure.

On containerd 1.x the main file itself is edited: a drop-in replaces the whole CRI table there, and the node's CRI dies
while every exit code says success. Handlers that exist only as built-in defaults vanish as soon as a file names any
handler, so they are written out beside ours with the values that the dump shows.

Every candidate is checked here with ``tomllib`` (it says what the old file said, plus the intended entries); whether
containerd agrees is checked by the caller, who dumps a staged copy and asks ``verify_dump``. The staged copy must lie
in the main file's directory: imports are relative to it.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import tomlrt

from orchestrator.errors import InvalidInputError, RefusedError
from orchestrator.planning.containerd_block import Block, find_block, render_block, render_body
from orchestrator.planning.containerd_document import (
    CRI_TABLE,
    Document,
    Values,
    dotted,
    pruned,
    read_document,
    render_table,
    table_at,
    with_entries,
    without_entries,
)
from orchestrator.planning.containerd_dump import Dump, read_dump, verify_dump, verify_removal
from orchestrator.planning.containerd_handler import TYPE_URL, Handler
from orchestrator.planning.containerd_refusals import check_file, check_state, refuse_foreign

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "TYPE_URL",
    "Edit",
    "Handler",
    "add_handler",
    "remove_handler",
    "verify_dump",
    "verify_removal",
]

_EMPTY_FILE_VERSION: Final = 2  # the newest that containerd 1.x knows; 2.x still reads it


@dataclass(frozen=True, slots=True)
class Edit:
    """One way to write the file.

    Args:
        content: the whole new file; equal to the old one if nothing is to be done.
        added: dotted paths of the tables that were added or changed.
        preserved: handlers written out because they would vanish.
        note: what the caller may want to say about it, or "".
    """

    content: bytes
    added: tuple[str, ...]
    preserved: tuple[str, ...]
    note: str


def add_handler(
    main: bytes | None,
    dump: str,
    handler: Handler,
    daemon_version: str,
    *,
    imported: Mapping[str, bytes] | None = None,
) -> list[Edit]:
    """Ways to register the handler, the best first.

    Args:
        main: the main file, or None where there is none.
        dump: standard output of the daemon's own `containerd --config FILE config dump`. Without a main file 1.x dumps
            nothing (exit 1): give `containerd config default`. Where it fails for another reason, give "":
            what is wrong with the file itself is found first.
        handler: what to register.
        daemon_version: as `containerd --version` or the CRI has it, e.g. ``1.7.24~ds1``.
        imported: the imported files that the dump lists, where the caller has read them. Without them, an import that
            defines the CRI table is recognised by its effects only.

    Returns:
        At least one candidate; one whose content is ``main`` means that nothing is to be done.

    Raises:
        RefusedError: the state of the node forbids it; the remedy says what to do.
        InvalidInputError: the dump cannot be read.
    """
    _check_daemon(daemon_version)
    document = read_document(main or b"")
    if not document.values:
        document = Document(text=document.text, values={"version": _EMPTY_FILE_VERSION}, bom=document.bom)
    check_file(document)
    effective = read_dump(dump)
    check_state(document, effective, imported or {})
    path = document.runtimes_path
    block = find_block(document, handler.name)
    own = list(table_at(block.values, path)) if block else []
    named = table_at(document.values, path)
    foreign = without_entries(named, (), own)
    missing = {name: table for name, table in effective.runtimes.items() if name not in {*named, handler.name}}
    if handler.served_by(named.get(handler.name)) and not missing:
        note = "" if block else f"handler {handler.name} was there already, with the same values; it was left as it is"
        return [Edit(content=main or b"", added=(), preserved=(), note=note)]
    refuse_foreign(handler, foreign.get(handler.name), effective, in_file=handler.name in named)
    preserved = {
        name: table for name, table in effective.runtimes.items() if name not in foreign and name != handler.name
    }
    intended = with_entries(
        document.values,
        path,
        {**preserved, handler.name: {**foreign.get(handler.name, {}), **handler.table}},
    )
    added = tuple(dotted((*path, name)) for name in (*preserved, handler.name))
    note = _note(effective, preserved)
    edits = [
        Edit(content=document.encode(text), added=added, preserved=tuple(preserved), note=note)
        for text in _candidates(document, block, handler, preserved)
        if _says(text, intended)
    ]
    if not edits:
        raise RefusedError(
            "containerd's configuration is written in a way that cannot be edited safely",
            why=f"no way to add {dotted((*path, handler.name))} left everything else as it is",
            remedy=f"write {dotted(path)} of the file with [table] headers, then run the same command again",
        )
    return edits


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
    before = read_document(original).values if original is not None and _is_readable(original) else {}
    path = document.runtimes_path
    table = table_at(document.values, path).get(handler.name)
    was_there = isinstance(table, dict) and table == _table_in(before, handler.name)
    if not isinstance(table, dict) or was_there or table.get("runtime_type") != handler.runtime_type:
        return main
    strangers = sorted(table.get("options", {}).keys() - handler.table["options"].keys())
    if strangers:
        raise RefusedError(
            f"settings that are not ours are inside our table {dotted((*path, handler.name))}",
            why=f"{', '.join(strangers)}: probably appended to the end of the file, behind our last table",
            remedy=f"move {', '.join(strangers)} to where they belong in the file, then run the same command again",
        )
    return document.encode(_without_table(document, handler))


def _check_daemon(version: str) -> None:
    match = re.match(r"v?(\d+)\.(\d+)", version)
    if not match:
        raise InvalidInputError(
            f"{version!r} is no version of containerd",
            remedy="run `containerd --version` on the node",
        )
    if not (1, 7) <= (int(match[1]), int(match[2])) < (2, 0):
        raise RefusedError(
            f"containerd {version} is not supported yet",
            why="its configuration is planned for containerd 1.7 only, so far",
            remedy="use a node with containerd 1.7; nothing was changed",
        )


def _candidates(document: Document, block: Block | None, handler: Handler, preserved: Values) -> Iterator[str]:
    """Texts to try: our block in place or at the end, then an edit by a library that keeps comments."""
    path = document.runtimes_path
    if block:
        version = block.values.get("version")
        body = render_body(path, handler, preserved, version=version)
        before = document.text[: block.start]
        new = render_block(handler, body, document.newline, after=before)
        yield block.cut(document.text, new)
    elif handler.name not in table_at(document.values, path):
        says_nothing = not tomllib.loads(document.text)
        body = render_body(path, handler, preserved, version=_EMPTY_FILE_VERSION if says_nothing else None)
        yield document.text + render_block(handler, body, document.newline, after=document.text)
    edited = _edited(document.text, path, {**preserved, handler.name: handler.table})
    if edited is not None:
        yield edited


def _edited(text: str, path: tuple[str, ...], entries: Values) -> str | None:
    """The text with entries put in by tomlrt, wherever they fit the file's own style; None where it cannot."""
    try:
        editable: Any = tomlrt.loads(text)
        table = editable
        for key in path:
            if key not in table:
                table[key] = {}
            table = table[key]
        for name, entry in entries.items():
            if name not in table:
                table[name] = entry
                continue
            for key, value in entry.items():
                table[name][key] = value
        return tomlrt.dumps(editable)
    except (tomlrt.TOMLError, TypeError, ValueError, KeyError):
        return None  # the caller says what cannot be done; a way that does not exist is no error


def _says(text: str, intended: Values) -> bool:
    try:
        return tomllib.loads(text) == intended
    except tomllib.TOMLDecodeError:
        return False


def _note(effective: Dump, preserved: Values) -> str:
    parts = []
    if preserved:
        parts.append(
            f"{', '.join(preserved)} written out with the values in force, as containerd 1.x would forget "
            f"{'it' if len(preserved) == 1 else 'them'} otherwise",
        )
    if effective.imported:
        parts.append(f"imported files ({', '.join(effective.imported)}) stay as they are")
    return "; ".join(parts)


def _kept_tables(document: Document, block: Block, handler: Handler) -> str:
    """What must stay of a block that is taken out.

    Without any handler in the file the built-in ones come back by themselves. They do not where others have named
    handlers since, and lines that somebody has edited are his.
    """
    path = document.runtimes_path
    ours = table_at(block.values, path)
    others = table_at(document.values, path).keys() - ours.keys()
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
    path = document.runtimes_path
    named = table_at(document.values, path)
    earlier = table_at(before.values, path) if before.version == document.version else {}
    entries = {name: table for name, table in named.items() if name not in earlier and name != handler.name}
    edited = _edited(before.text, path, {**entries, handler.name: handler.table})
    return [before.encode(edited)] if edited is not None else []


def _is_readable(content: bytes) -> bool:
    try:
        read_document(content)
    except RefusedError:
        return False
    return True


def _table_in(values: Values, name: str) -> object:
    version = values.get("version", 1)
    return table_at(values, (*CRI_TABLE[version], "containerd", "runtimes")).get(name)


def _without_table(document: Document, handler: Handler) -> str:
    """The text without our table, by tomlrt; for a file that another tool has written anew."""
    path = document.runtimes_path
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
