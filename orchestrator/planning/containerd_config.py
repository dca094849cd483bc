"""The smallest change of containerd's configuration that registers our handler; the door to all ``containerd_*``. Pure.

On containerd 1.x the main file itself is edited: a drop-in replaces the whole CRI table there, and the node's CRI dies
while every exit code says success. Handlers that exist only as built-in defaults vanish as soon as a file names any
handler, so they are written out beside ours with the values that the dump shows. On 2.x, which merges, a drop-in of our
own comes first where the main file imports a directory; else the main file is edited in its own version.

Every candidate is checked here with ``tomllib`` (it says what the old file said, plus the intended entries); whether
containerd agrees is checked by the caller, who lets the daemon's own binary dump the configuration with the candidate
staged, and asks ``verify_dump``. The first candidate on which it agrees is taken.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import RefusedError
from orchestrator.planning.containerd_block import find_block, render_block, render_body
from orchestrator.planning.containerd_daemon import read_daemon
from orchestrator.planning.containerd_document import (
    CRI_TABLE,
    Document,
    Path,
    Values,
    dotted,
    handlers_at,
    read_document,
    table_at,
    with_entries,
    without_entries,
)
from orchestrator.planning.containerd_dropin import DropIn, OwnDropIn, find_drop_in, places, render_drop_in
from orchestrator.planning.containerd_dump import Dump, read_dump, verify_dump, verify_removal
from orchestrator.planning.containerd_edit import put_entries
from orchestrator.planning.containerd_handler import TYPE_URL, Handler
from orchestrator.planning.containerd_refusals import check_file, check_state, refuse_foreign, refuse_stranded
from orchestrator.planning.containerd_removal import remove_handler

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.planning.containerd_block import Block
    from orchestrator.planning.containerd_daemon import Daemon

__all__ = [
    "TYPE_URL",
    "DropIn",
    "Edit",
    "Handler",
    "add_handler",
    "check_main",
    "remove_handler",
    "verify_dump",
    "verify_removal",
]


@dataclass(frozen=True, slots=True)
class Edit:
    """One way to write one file.

    Args:
        content: the whole new file; equal to ``current`` if nothing is to be done.
        added: dotted paths of the tables that were added or changed.
        preserved: handlers written out because they would vanish.
        note: what the caller may want to say about it, or "".
        current: the file's bytes as they are, None where there is no file.
        drop_in: the path of the drop-in to write, or None for the main file.
    """

    content: bytes
    added: tuple[str, ...]
    preserved: tuple[str, ...]
    note: str
    current: bytes | None
    drop_in: str | None = None

    @property
    def changes(self) -> bool:
        """Whether there is anything to write."""
        return self.content != (self.current or b"")


def check_main(main: bytes | None, daemon_version: str) -> None:
    """Refuse what the main file alone forbids; said here better than by containerd, where its dump fails.

    Raises:
        RefusedError: the file is broken, of a version that this containerd does not know, or switches CRI off.
        InvalidInputError: the daemon's version cannot be read.
    """
    daemon = read_daemon(daemon_version)
    check_file(_read(main, daemon), daemon)


def add_handler(
    main: bytes | None,
    dump: str,
    handler: Handler,
    daemon_version: str,
    *,
    imported: Mapping[str, bytes] | None = None,
    config: str = "/etc/containerd/config.toml",
    drop_in: DropIn | None = None,
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
            Without them, an import that defines the CRI table is recognised by its effects only. Needed on 1.x only.
        config: the main file's absolute path, as the daemon has it.
        drop_in: the file that an earlier run wrote beside the main file, if one did.

    Returns:
        At least one candidate; one that ``changes`` nothing means that nothing is to be done.

    Raises:
        RefusedError: the state of the node forbids it; the remedy says what to do.
        InvalidInputError: the dump cannot be read.
    """
    daemon = read_daemon(daemon_version)
    document = _read(main, daemon)
    check_file(document, daemon)
    effective = read_dump(dump)
    own = find_drop_in(drop_in, handler)
    if own and not daemon.merges:
        refuse_stranded(own.path, effective)
    check_state(document, effective, imported or {}, daemon)
    block = find_block(document, handler.name)
    path = _path_of(document, block, handler, daemon)
    named = table_at(document.values, path)
    hidden = effective.runtimes.keys() - named.keys() - {handler.name} if not daemon.merges else set()
    in_force = not daemon.merges or handler.served_by(effective.runtimes.get(handler.name))
    if in_force and not hidden and handler.served_by(named.get(handler.name)):
        note = "" if block else f"handler {handler.name} was there already, with the same values; it was left as it is"
        return [Edit(content=main or b"", added=(), preserved=(), note=note, current=main)]
    if in_force and own and handler.served_by(own.block.handlers.get(handler.name)):
        return [Edit(content=own.content, added=(), preserved=(), note="", current=own.content, drop_in=own.path)]
    foreign = without_entries(named, (), list(block.handlers) if block else [])
    in_main = handler.name in named
    refuse_foreign(handler, foreign.get(handler.name), effective, in_file=in_main or own is not None)
    preserved = _preserved(effective, foreign, handler, daemon)
    edits = [] if in_main or not daemon.merges else list(_drop_ins(document, own, handler, daemon, config))
    for place in (path,) if in_main or block else _paths_in_main(document, daemon):
        edits += [
            Edit(
                content=document.encode(text),
                added=tuple(dotted((*place, name)) for name in (*preserved, handler.name)),
                preserved=tuple(preserved),
                note=_note(effective, preserved),
                current=main,
            )
            for text in _texts(document, block, place, handler, preserved)
        ]
    if not edits:
        raise RefusedError(
            "containerd's configuration is written in a way that cannot be edited safely",
            why=f"no way to add {dotted((*path, handler.name))} left everything else as it was",
            remedy=f"write {dotted(path)} of the file with [table] headers, then run the same command again",
        )
    return edits


def _read(main: bytes | None, daemon: Daemon) -> Document:
    document = read_document(main or b"")
    if not document.values:
        return Document(text=document.text, values={"version": daemon.version_of_a_new_file}, bom=document.bom)
    return document


def _path_of(document: Document, block: Block | None, handler: Handler, daemon: Daemon) -> Path:
    """Where the file has the handler, or where it belongs: 2.x also reads the table of version 3 in an older file."""
    if block:
        return block.path
    if daemon.merges:
        for path in document.runtimes_paths:
            if handler.name in handlers_at(document.values, path):
                return path
    return document.runtimes_path


def _paths_to_try(document: Document, daemon: Daemon) -> tuple[Path, ...]:
    """Tables for a file without the handler; one without a version is read in two ways by 2.x, so both are tried."""
    if daemon.merges and document.version == 1:
        return (document.runtimes_path, (*CRI_TABLE[3], "containerd", "runtimes"))
    return (document.runtimes_path,)


def _paths_in_main(document: Document, daemon: Daemon) -> tuple[Path, ...]:
    """The same for the main file, where a table of another version's name may be what this containerd goes by."""
    paths = _paths_to_try(document, daemon)
    if daemon.merges:
        plugins = table_at(document.values, ("plugins",))
        paths += tuple(path for path in document.runtimes_paths if path not in paths and path[1] in plugins)
    return paths


def _preserved(effective: Dump, foreign: Values, handler: Handler, daemon: Daemon) -> Values:
    """Handlers that would vanish, with the values in force; 2.x keeps them by itself."""
    if daemon.merges:
        return {}
    return {name: table for name, table in effective.runtimes.items() if name not in foreign and name != handler.name}


def _drop_ins(
    document: Document, own: OwnDropIn | None, handler: Handler, daemon: Daemon, config: str
) -> Iterator[Edit]:
    """A file of our own in a directory that the main file imports."""
    for place in places(document, config):
        there = own if own and own.path == place else None
        for path in _paths_to_try(document, daemon):
            content = render_drop_in(there, path, handler, version=document.values.get("version"))
            if content is not None:
                yield Edit(
                    content=content,
                    added=(dotted((*path, handler.name)),),
                    preserved=(),
                    note=f"the main file stays as it is, since it imports {place}",
                    current=there.content if there else None,
                    drop_in=place,
                )


def _texts(document: Document, block: Block | None, path: Path, handler: Handler, preserved: Values) -> Iterator[str]:
    """The texts of the main file that say what the old one says, and the handlers besides."""
    named = handlers_at(document.values, path)
    foreign = without_entries(named, (), list(block.handlers) if block else [])
    ours = {**foreign.get(handler.name, {}), **handler.table}
    intended = with_entries(document.values, path, {**preserved, handler.name: ours})
    for text in _candidates(document, block, path, handler, preserved):
        if _says(text, intended):
            yield text


def _candidates(
    document: Document, block: Block | None, path: Path, handler: Handler, preserved: Values
) -> Iterator[str]:
    """Texts to try: our block in place or at the end, then an edit by a library that keeps comments."""
    if block:
        version = block.values.get("version")
        body = render_body(path, handler, preserved, version=version)
        before = document.text[: block.start]
        new = render_block(handler, body, document.newline, after=before)
        yield block.cut(document.text, new)
    elif handler.name not in table_at(document.values, path):
        says_nothing = not tomllib.loads(document.text)
        body = render_body(path, handler, preserved, version=document.version if says_nothing else None)
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
