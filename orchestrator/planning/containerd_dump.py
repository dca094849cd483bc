"""What `containerd config dump` says, and whether a staged change changes what it should and nothing else.

A dump is the effective configuration of the files, with imports merged and defaults filled in, in the newest version
that the binary knows, whatever the version of the file. Exit codes and the unit's state do not show a CRI plugin that
cannot load; comparing two dumps value by value does.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import InvalidInputError
from orchestrator.planning.containerd_document import CRI_TABLE, Path, Values, dotted, table_at

if TYPE_CHECKING:
    from orchestrator.planning.containerd_handler import Handler


@dataclass(frozen=True, slots=True)
class Dump:
    """A dump taken apart."""

    values: Values

    @property
    def cri_path(self) -> Path:
        """Where this dump's version has the CRI plugin."""
        return CRI_TABLE[self.values["version"]]

    @property
    def runtimes_path(self) -> Path:
        """Where this dump's version has the runtime handlers."""
        return (*self.cri_path, "containerd", "runtimes")

    @property
    def has_cri(self) -> bool:
        """Whether the CRI plugin is there; a disabled one is left out of a dump."""
        return bool(table_at(self.values, self.cri_path))

    @property
    def runtimes(self) -> Values:
        """The handlers, by name."""
        return table_at(self.values, self.runtimes_path)

    @property
    def default_runtime(self) -> str | None:
        """The handler that CRI cannot load without, or None where the deprecated table names it."""
        containerd = table_at(self.values, (*self.cri_path, "containerd"))
        if table_at(containerd, ("default_runtime",)).get("runtime_type"):
            return None
        name = containerd.get("default_runtime_name")
        return name if isinstance(name, str) else None

    @property
    def files(self) -> frozenset[str]:
        """The files that were really read. 1.x lists the main file among them, in no order that holds (run: 1.7.24)."""
        return frozenset(str(name) for name in self.values.get("imports", []))

    @property
    def has_imports(self) -> bool:
        """Whether any file besides the main one was read."""
        return len(self.files) > 1


def read_dump(text: str) -> Dump:
    """Take a dump apart.

    Raises:
        InvalidInputError: the text is no dump (standard error mixed in, or empty).
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInputError(
            "the output of `containerd config dump` cannot be read",
            why=str(error),
            remedy="run `containerd config dump` on the node and look at its standard output",
        ) from error
    version = values.get("version")
    if isinstance(version, bool) or not isinstance(version, int) or version not in CRI_TABLE:
        raise InvalidInputError(
            "the output of `containerd config dump` is not a configuration",
            why=f"its version is {version!r}",
            remedy="run `containerd config dump` on the node and look at its standard output",
        )
    return Dump(values)


def verify_dump(before: str, after: str, handler: Handler) -> list[str]:
    """What a staged change changes besides registering the handler.

    Args:
        before: dump of the file in force. Where there is no main file, containerd 1.x dumps nothing and exits 1: give
            `containerd config default`, which is the same.
        after: dump of the staged file by the same binary.
        handler: what must be there afterwards.

    Returns:
        [] if the handler is there with our values and every other effective value is as before; else one line for
        each difference, as a dotted path with values. The main file's own path in ``imports`` is no difference.
    """
    old, new = read_dump(before), read_dump(after)
    differences = _compare_rest(old, new, handler.name)
    where = dotted((*new.runtimes_path, handler.name))
    table = new.runtimes.get(handler.name)
    if table is None:
        hint = f" (one of {', '.join(sorted(new.files))} may replace the CRI table)" if new.has_imports else ""
        return [f"{where} is missing{hint}", *differences]
    differences += [
        f"{where}.{key}: {table.get(key)!r} instead of {value!r}"
        for key, value in handler.table.items()
        if table.get(key) != value
    ]
    earlier = old.runtimes.get(handler.name, {})
    differences += [
        f"{where}.{key}: {value!r}, which is not from us"
        for key, value in table.items()
        if key not in handler.table and value and value != earlier.get(key)
    ]
    return differences


def verify_removal(before: str, after: str, handler: Handler) -> list[str]:
    """What a staged removal changes besides taking the handler away; as ``verify_dump``."""
    old, new = read_dump(before), read_dump(after)
    differences = _compare_rest(old, new, handler.name)
    if handler.name in new.runtimes:
        return [f"{dotted((*new.runtimes_path, handler.name))} is still there", *differences]
    return differences


def _compare_rest(old: Dump, new: Dump, handler_name: str) -> list[str]:
    before = _leaves(_without_own(old, handler_name))
    after = _leaves(_without_own(new, handler_name))
    absent = object()
    differences = _compare_files(old, new)
    for path in sorted(before.keys() | after.keys()):
        left, right = before.get(path, absent), after.get(path, absent)
        if left is absent:
            differences.append(f"{dotted(path)}: appears as {right!r}")
        elif right is absent:
            differences.append(f"{dotted(path)}: {left!r} vanishes")
        elif type(left) is not type(right) or left != right:
            differences.append(f"{dotted(path)}: {left!r} becomes {right!r}")
    return differences


def _compare_files(old: Dump, new: Dump) -> list[str]:
    """Imports that come or go. One file of each side may differ: the main file and its staged copy, or no main file."""
    gone, come = sorted(old.files - new.files), sorted(new.files - old.files)
    if len(gone) <= 1 and len(come) <= 1 and (len(gone) == len(come) or not old.files or not new.files):
        return []
    return [f"imports: {gone} becomes {come}"]


def _without_own(dump: Dump, handler_name: str) -> Values:
    values = {key: value for key, value in dump.values.items() if key != "imports"}
    table = values
    for key in dump.runtimes_path:
        if not isinstance(table.get(key), dict):
            return values
        table[key] = dict(table[key])
        table = table[key]
    table.pop(handler_name, None)
    return values


def _leaves(values: Values, path: Path = ()) -> dict[Path, object]:
    """Values by path; an empty table counts as one, or `runtimes` turning empty would go unseen."""
    leaves: dict[Path, object] = {}
    for key, value in values.items():
        here = (*path, key)
        if isinstance(value, dict) and value:
            leaves |= _leaves(value, here)
        else:
            leaves[here] = value
    return leaves
