"""Where the lab keeps things: what can be rebuilt in the user's cache, what belongs to one lab in the user's state."""

from __future__ import annotations

import os
import re
from pathlib import Path

from orchestrator.errors import InvalidInputError

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")


def _base(variable: str, default: str) -> Path:
    value = os.environ.get(variable, "")
    # The XDG base directory specification: a relative path in these variables is to be ignored.
    return (Path(value) if value.startswith("/") else Path.home() / default) / "gvisor-nodes"


def cache_directory() -> Path:
    """Return the lab's part of the cache; everything in it is rebuilt when it is gone."""
    return _base("XDG_CACHE_HOME", ".cache") / "lab"


def labs_directory() -> Path:
    """Return the directory that holds one directory for each lab there is."""
    return _base("XDG_STATE_HOME", ".local/state") / "labs"


def lab_directory(name: str) -> Path:
    """Return the directory of the lab ``name``.

    Raises:
        InvalidInputError: the name cannot be part of a container's and a host's name.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"{name!r} is no name for a lab",
            why="a lab's name becomes part of host names: a-z, 0-9 and '-', at most 40, no '-' at the ends",
            remedy="choose another --name",
        )
    return labs_directory() / name
