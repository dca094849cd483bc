"""States of a node's containerd configuration in which nothing may be changed, each with the way out.

Each of these is a configuration that exists in the wild and in which an installer that appends a table either kills
the node's CRI or reports a success that is none. The planning itself is in ``containerd_config``.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Final

from orchestrator.errors import RefusedError
from orchestrator.planning.containerd_document import CRI_TABLE, dotted, table_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.planning.containerd_daemon import Daemon
    from orchestrator.planning.containerd_document import Document, Values
    from orchestrator.planning.containerd_dump import Dump
    from orchestrator.planning.containerd_handler import Handler

# What containerd 1.x has when no file names a handler (dumps of 1.6.20 and 1.7.24).
_BUILT_IN: Final = frozenset({"runc"})
# A version 1 file names plugins by their short id, later ones by the whole; 2.x has CRI in three parts, of which the
# service needs the other two.
_CRI_IDS: Final = frozenset(
    {"cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images"}
)


def check_file(document: Document, daemon: Daemon) -> None:
    """Refuse what the main file alone forbids; a dump may not even exist then.

    Raises:
        RefusedError: a version that this containerd does not know, CRI switched off, no table where one must be.
    """
    if document.version > daemon.newest_version:
        why = f"containerd {daemon} reads versions up to {daemon.newest_version}, and does not start with it"
        if not daemon.merges:
            why = "1.7.17 and later do not start with it, earlier ones ignore its tables without a word"
        raise RefusedError(
            f"containerd's configuration has version {document.version}, which containerd {daemon} does not know",
            why=f"{why}; it was written for a newer containerd",
            remedy=f"write the file in version {daemon.newest_version}, or upgrade containerd",
        )
    _check_cri_enabled(document.values)
    table_at(document.values, document.runtimes_path)


def refuse_stranded(path: str, effective: Dump) -> None:
    """Refuse where our drop-in was written for 2.x and 1.x reads it now: it replaces the whole CRI table there.

    Raises:
        RefusedError: the file is in force.
    """
    if path not in effective.files:
        return
    raise RefusedError(
        f"containerd was downgraded under {path}, which was written for 2.x",
        why="containerd 1.x does not merge an imported CRI table: with this file all other settings of CRI are lost",
        remedy=f"remove {path} and restart containerd, then run gvisor-nodes apply again",
    )


def check_state(document: Document, effective: Dump, imported: Mapping[str, bytes], daemon: Daemon) -> None:
    """Refuse what the effective configuration forbids.

    Raises:
        RefusedError: CRI switched off, unable to load, or on 1.x defined by an imported file.
    """
    _check_cri_enabled(effective.values)
    if not effective.has_cri:
        raise RefusedError(
            "containerd's effective configuration has no CRI plugin",
            why=f"`containerd config dump` shows no {dotted(effective.cri_path)}",
            remedy="use a containerd that is built with the CRI plugin",
        )
    if not daemon.merges:
        _check_imports(document, effective, imported)
    default = effective.default_runtime
    if default is not None and default not in effective.runtimes:
        raise RefusedError(
            "containerd's CRI plugin cannot load with the configuration as it is, so it was not touched",
            why=f"default_runtime_name is {default!r}, but the handlers are "
            f"{', '.join(sorted(effective.runtimes)) or 'none'}",
            remedy=f"add {dotted((*document.runtimes_path, default))} or correct default_runtime_name",
        )


def _check_cri_enabled(values: Values) -> None:
    named = sorted({str(name) for name in values.get("disabled_plugins", [])} & _CRI_IDS)
    if named:
        raise RefusedError(
            "containerd's CRI plugin is disabled, so Kubernetes cannot use this containerd",
            why=f"disabled_plugins names {', '.join(named)}",
            remedy="take it out of disabled_plugins (Docker's package puts it there), restart containerd, "
            "then run the same command again",
        )


def _check_imports(document: Document, effective: Dump, imported: Mapping[str, bytes]) -> None:
    if not effective.has_imports:
        return
    main = document.encode(document.text)
    culprits = [name for name, content in imported.items() if content != main and _defines_cri(content)]
    hidden = sorted(effective.runtimes.keys() - table_at(document.values, document.runtimes_path).keys() - _BUILT_IN)
    replaced = _replaced_values(document, effective)
    if culprits:
        why = f"{', '.join(culprits)} defines it"
    elif hidden:
        why = f"handlers {', '.join(hidden)} are in force, but the main file does not name them"
    elif replaced:
        why = f"{replaced[0]} in force is not the main file's"
    else:
        return
    raise RefusedError(
        "the CRI table of containerd's configuration comes from an imported file",
        why=f"{why}; on containerd 1.x an imported CRI table replaces the main file's as a whole, ours with it",
        remedy="move the CRI table into the main file from the imported one "
        f"({', '.join(culprits) or 'one of ' + ', '.join(sorted(effective.files))})",
    )


def _defines_cri(content: bytes) -> bool:
    try:
        values = tomllib.loads(content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape"))
    except tomllib.TOMLDecodeError:
        return False  # containerd would not have dumped anything; the dump is what counts
    plugins = values.get("plugins", {})
    return isinstance(plugins, dict) and any(path[-1] in plugins for path in CRI_TABLE.values())


def _replaced_values(document: Document, effective: Dump) -> list[str]:
    """Paths of the main file's CRI table that have another value in force."""
    ours = table_at(document.values, document.runtimes_path[:2])
    theirs = table_at(effective.values, effective.cri_path)
    return [dotted((*document.runtimes_path[:2], *path)) for path in _differing(ours, theirs)]


def _differing(ours: Values, theirs: Values, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, value in ours.items():
        if key not in theirs:
            continue  # a key that containerd does not know is dropped without a word
        here = (*path, key)
        if isinstance(value, dict) and isinstance(theirs[key], dict):
            found += _differing(value, theirs[key], here)
        elif value != theirs[key]:
            found.append(here)
    return found


def refuse_foreign(handler: Handler, table: Values | None, effective: Dump, *, in_file: bool) -> None:
    """Refuse to take over a handler of that name that is not ours.

    Args:
        handler: what is to be registered.
        table: the table of that name outside our own lines, if there is one.
        effective: the dump.
        in_file: whether the main file names the handler at all.

    Raises:
        RefusedError: somebody else's table, or a built-in or imported handler, has the name.
    """
    where = dotted((*effective.runtimes_path, handler.name))
    if table is None and (in_file or handler.name not in effective.runtimes):
        return
    if table is None:
        raise RefusedError(
            f"a handler named {handler.name} is in force, but the main file does not name it",
            why=f"{where} is built in or comes from an imported file",
            remedy="choose another name with containerd_handler",
        )
    if table.get("runtime_type") == handler.runtime_type:
        return  # nobody but us points there: our table, written anew by a tool that drops comments
    options = table.get("options", {})
    config_path = options.get("ConfigPath") if isinstance(options, dict) else None
    raise RefusedError(
        f"somebody else's handler {handler.name} is in containerd's configuration",
        why=f"{where} has runtime_type {table.get('runtime_type')!r} and ConfigPath {config_path!r}",
        remedy=f"remove that table when no pod uses it, or choose another name with containerd_handler "
        f"(wanted: runtime_type {handler.runtime_type!r}, ConfigPath {handler.config_path!r})",
    )
