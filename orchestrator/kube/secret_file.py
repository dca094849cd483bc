"""Bytes that a library wants to read from a file, kept in memory: never on a disk, gone with the process."""

from __future__ import annotations

import os
from typing import Self


class SecretFile:
    """A file without a place in any file system.

    Args:
        content: its bytes.
    """

    def __init__(self, content: bytes) -> None:
        self._descriptor = os.memfd_create("gvisor-nodes", os.MFD_CLOEXEC)
        with os.fdopen(os.dup(self._descriptor), "wb") as file:
            file.write(content)

    @classmethod
    def of(cls, content: bytes) -> Self | None:
        """The file, or None for nothing."""
        return cls(content) if content else None

    @property
    def path(self) -> str:
        """Where this process, and nobody else, can open it."""
        return f"/proc/self/fd/{self._descriptor}"

    def close(self) -> None:
        """Let it go; its path must not be used any more."""
        os.close(self._descriptor)
