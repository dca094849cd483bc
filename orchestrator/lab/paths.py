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


def clusters_directory() -> Path:
    """Return the directory that holds one directory for each cluster there is."""
    return _base("XDG_STATE_HOME", ".local/state") / "clusters"


def lab_directory(name: str) -> Path:
    """Return the directory of the lab ``name``.

    Raises:
        InvalidInputError: the name cannot be part of a container's and a host's name.
    """
    return labs_directory() / _checked(name)


def cluster_directory(name: str) -> Path:
    """Return the directory of the cluster ``name``; it and a lab of the same name are strangers.

    Raises:
        InvalidInputError: the name could not be that of a lab.
    """
    return clusters_directory() / _checked(name)


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InvalidInputError(
            f"{name!r} is no name for a lab",
            why="a lab's name becomes part of host names: a-z, 0-9 and '-', at most 40, no '-' at the ends",
            remedy="choose another --name",
        )
    return name


def lab_lock(name: str) -> Path:
    """Return the file that whoever changes the lab ``name`` locks; beside its directory, which comes and goes."""
    return labs_directory() / f"{name}.lock"


def cluster_lock(name: str) -> Path:
    """Return the file that whoever changes the cluster ``name`` locks."""
    return clusters_directory() / f"{name}.lock"


def lab_names() -> list[str]:
    """Return the names of all labs of this user, those of an interrupted up included."""
    return _names(labs_directory())


def cluster_names() -> list[str]:
    """Return the names of all clusters of this user, those of an interrupted up included."""
    return _names(clusters_directory())


def _names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.is_dir()) if directory.is_dir() else []


def replace_file(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file so that a reader sees the old or the new one, and nobody sees a secret that ``mode`` hides."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode=mode)
    draft.chmod(mode)
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
