"""What a person or an object may hand to Ansible, checked before anything runs.

Since ansible-core 2.19 inventories and extra variables are trusted templates: a string with Jinja in it would be
evaluated on this machine. So such a string is refused, and every string that passes is marked unsafe all the same.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.errors import InvalidInputError

_TEMPLATE = re.compile(r"\{[{%#]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def inventory_sources(inventory: Path | str | Sequence[Path | str]) -> list[str]:
    """Return ``inventory`` as absolute paths or comma separated host lists, in the order given.

    Raises:
        InvalidInputError: no source is given, or one does not exist or cannot be read.
    """
    given = [inventory] if isinstance(inventory, str | Path) else list(inventory)
    if not given:
        raise InvalidInputError("no inventory is given", remedy="name one with --inventory FILE")
    return [_source(one) for one in given]


def _source(source: Path | str) -> str:
    if isinstance(source, str) and "," in source and not Path(source).exists():
        if _TEMPLATE.search(source):
            raise InvalidInputError(f"the host list {source!r} holds a template", remedy="give plain host names")
        return source
    path = Path(source).expanduser().absolute()
    if not path.exists():
        raise InvalidInputError(
            f"there is no inventory {source}",
            why="no such file or directory",
            remedy="check the path after --inventory",
        )
    if not os.access(path, os.R_OK):
        raise InvalidInputError(f"the inventory {source} cannot be read", why="permission denied")
    return str(path)


def extra_vars(values: Mapping[str, object]) -> dict[str, Any]:
    """Return ``values`` ready for ``-e @file.json``: every string marked so that Ansible does not template it.

    Raises:
        InvalidInputError: a name is no variable name, a string holds ``{{``, ``{%`` or ``{#``, a value is not JSON.
    """
    for name in values:
        if not _NAME.fullmatch(name):
            raise InvalidInputError(f"{name!r} is not a variable name", why="letters, digits and _ only")
    return {name: _marked(value, name) for name, value in values.items()}


def _marked(value: object, where: str) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str | Path):
        return {"__ansible_unsafe": _plain(str(value), where)}
    if isinstance(value, Mapping):
        return {_plain(str(key), where): _marked(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_marked(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise InvalidInputError(f"{where} has a value of type {type(value).__name__}", why="only JSON values can be passed")


def _plain(text: str, where: str) -> str:
    if found := _TEMPLATE.search(text):
        raise InvalidInputError(
            f"the value of {where} holds {found.group()}",
            why="values are never evaluated as templates, and this one looks like a template",
            remedy="remove it",
        )
    return text
