"""The smallest change of containerd's main file that registers our handler; the door to all of ``containerd_*``. Pure.

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
from typing import TYPE_CHECKING, Final

from orchestrator.errors import InvalidInputError, RefusedError
from orchestrator.planning.containerd_block import Block, find_block, render_block, render_body
from orchestrator.planning.containerd_document import (
    Document,
    Values,
    dotted,
    read_document,
    table_at,
    with_entries,
    without_entries,
)
from orchestrator.planning.containerd_dump import Dump, read_dump, verify_dump, verify_removal
from orchestrator.planning.containerd_edit import put_entries
from orchestrator.planning.containerd_handler import TYPE_URL, Handler
from orchestrator.planning.containerd_refusals import check_file, check_state, refuse_foreign
from orchestrator.planning.containerd_removal import remove_handler

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
        imported: the files that the dump lists, where the caller has read them (the main file may be among them).
            Without them, an import that defines the CRI table is recognised by its effects only.

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
    edited = put_entries(document.text, path, {**preserved, handler.name: handler.table})
    if edited is not None:
        yield edited


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
    if effective.has_imports:
        parts.append("what it imports stays as it is")
    return "; ".join(parts)
