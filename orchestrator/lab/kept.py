"""A directory of files that are built once: whole with the key of what they were built from, or not there at all."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def is_kept(target: Path, key: str, names: Iterable[str]) -> bool:
    """Tell whether ``target`` holds the files, and whether ``key`` is what they were built from."""
    written = _key_file(target)
    return (
        all((target / name).exists() for name in names)
        and written.exists()
        and written.read_text(encoding="ascii") == key
    )


def keep(target: Path, key: str, make: Callable[[Path, Path], None]) -> None:
    """Let ``make`` build into a new directory and give that the name ``target``, in place of what was there.

    ``make`` is called with a directory for its own use and the one for its results; a failure leaves neither. Whoever
    calls this holds a lock.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".build-{target.name}-", dir=target.parent) as work:
        output = Path(work) / "output"
        output.mkdir()
        make(Path(work), output)
        output.chmod(0o755)
        _key_file(target).unlink(missing_ok=True)  # first: an interrupted exchange must not look whole
        if target.exists():
            shutil.rmtree(target)
        output.rename(target)
    _key_file(target).write_text(key, encoding="ascii")


def _key_file(target: Path) -> Path:
    return target.with_name(f"{target.name}.key")
