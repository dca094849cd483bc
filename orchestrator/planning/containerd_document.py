"""containerd's main configuration file as bytes that must survive and values that must be understood.

Text outside our own lines is never rewritten, so this module keeps what a TOML library would lose: the byte order
mark, the newline style, bytes that are no UTF-8 (containerd 1.7 accepts them in comments). It also knows where the
runtimes table is in each configuration version. It knows nothing of ownership marks (``containerd_block``) and decides
nothing (``containerd_config``).
"""

from __future__ import annotations

import copy
import re
import tomllib
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.errors import RefusedError

type Path = tuple[str, ...]
type Values = dict[str, Any]

# Table of the CRI plugin (from version 3 on of its runtime half) by configuration version.
# Source: containerd's plugin ids; version 4 (containerd 2.3) did not move this one.
CRI_TABLE: Final[dict[int, Path]] = {
    1: ("plugins", "cri"),
    2: ("plugins", "io.containerd.grpc.v1.cri"),
    3: ("plugins", "io.containerd.cri.v1.runtime"),
    4: ("plugins", "io.containerd.cri.v1.runtime"),
}

_BOM: Final = b"\xef\xbb\xbf"
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_NAMED_ESCAPES: Final = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LARGEST_BASIC_PLANE: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class Document:
    """A configuration file taken apart: ``encode(text)`` gives its bytes back, ``values`` is what it says."""

    text: str
    values: Values
    bom: bool

    @property
    def version(self) -> int:
        """The configuration version; a file that names none is read as one of version 1."""
        return int(self.values.get("version", 1))

    @property
    def runtimes_path(self) -> Path:
        """Where this file's version keeps the runtime handlers."""
        return (*CRI_TABLE[self.version], "containerd", "runtimes")

    @property
    def runtimes_paths(self) -> tuple[Path, ...]:
        """Every place at which some containerd looks for handlers of this file, that of its version first.

        2.x finds the table of version 3 in an older file too, and 1.6.20 does not look at the version at all.
        """
        tables = dict.fromkeys((CRI_TABLE[self.version], *CRI_TABLE.values()))
        return tuple((*table, "containerd", "runtimes") for table in tables)

    @property
    def newline(self) -> str:
        """The file's own newline, judged by its first line."""
        first = self.text.find("\n")
        return "\r\n" if first > 0 and self.text[first - 1] == "\r" else "\n"

    def encode(self, text: str) -> bytes:
        """The bytes of this file with another text."""
        return (_BOM if self.bom else b"") + text.encode("utf-8", "surrogateescape")


def read_document(content: bytes) -> Document:
    """Take a main file apart.

    Raises:
        RefusedError: it is no TOML, or its ``version`` is none that can be understood.
    """
    bom = content.startswith(_BOM)
    text = content.removeprefix(_BOM).decode("utf-8", "surrogateescape")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RefusedError(
            "containerd's configuration is not valid TOML, so it was not touched",
            why=str(error),
            remedy="repair the file (containerd would not start with it either), check it with "
            "`containerd --config FILE config dump`, then run the same command again",
        ) from error
    version = values.get("version", 1)
    if isinstance(version, bool) or not isinstance(version, int) or version not in CRI_TABLE:
        raise RefusedError(
            f"containerd's configuration has version {version!r}, which is unknown here",
            why=f"versions {', '.join(map(str, CRI_TABLE))} are known",
            remedy="correct the `version` line of the file, or upgrade gvisor-nodes",
        )
    return Document(text=text, values=values, bom=bom)


def table_at(values: Values, path: Path) -> Values:
    """The table at a path; an empty one where any part of the path is missing.

    Raises:
        RefusedError: something on the path is no table.
    """
    found = values
    for depth, key in enumerate(path, start=1):
        entry = found.get(key, {})
        if not isinstance(entry, dict):
            raise RefusedError(
                f"{dotted(path[:depth])} in containerd's configuration is not a table",
                why=f"it is {type(entry).__name__}, and containerd does not read it as handlers either",
                remedy="correct that entry of the file, then run the same command again",
            )
        found = entry
    return found


def handlers_at(values: Values, path: Path) -> Values:
    """The handlers of a table that need not be one: empty where something else is in its place."""
    try:
        return table_at(values, path)
    except RefusedError:
        return {}


def with_entries(values: Values, path: Path, entries: Values) -> Values:
    """A copy of the values with entries put into the table at a path, made where it is missing."""
    result = copy.deepcopy(values)
    table = result
    for key in path:
        table = table.setdefault(key, {})
    table.update(copy.deepcopy(entries))
    return result


def without_entries(values: Values, path: Path, names: list[str]) -> Values:
    """A copy of the values without some entries of the table at a path."""
    result = copy.deepcopy(values)
    table = table_at(result, path)
    for name in names:
        table.pop(name, None)
    return result


def pruned(values: Values, path: Path) -> Values:
    """A copy in which tables on the path that hold nothing are gone, whether a header named them or not."""
    result = copy.deepcopy(values)
    for depth in range(len(path), 0, -1):
        parent = table_at(result, path[: depth - 1])
        if parent.get(path[depth - 1]) == {}:
            del parent[path[depth - 1]]
    return result


def dotted(path: Path) -> str:
    """A path as TOML writes it: ``plugins."io.containerd.grpc.v1.cri".containerd``."""
    return ".".join(key if _BARE_KEY.fullmatch(key) else _string(key) for key in path)


def render_table(path: Path, table: Values) -> list[str]:
    """A table with its sub-tables as lines of TOML with absolute headers, without newlines."""
    lines = [f"[{dotted(path)}]"]
    lines += [f"{dotted((key,))} = {_value(value)}" for key, value in table.items() if not isinstance(value, dict)]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += render_table((*path, key), value)
    return lines


def _value(value: object) -> str:
    match value:
        case bool():
            text = "true" if value else "false"
        case str():
            text = _string(value)
        case list():
            text = f"[{', '.join(_value(item) for item in value)}]"
        case dict():
            text = "{" + ", ".join(f"{dotted((key,))} = {_value(item)}" for key, item in value.items()) + "}"
        case _:
            text = str(value)  # numbers, inf, nan, RFC 3339 dates: Python and TOML spell them alike
    return text


def _string(text: str) -> str:
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in _NAMED_ESCAPES:
        return _NAMED_ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\u{code:04X}" if code <= _LARGEST_BASIC_PLANE else f"\\U{code:08X}"
