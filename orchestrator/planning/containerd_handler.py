"""The runtime handler this project registers with containerd's CRI plugin, and what its values may look like.

The values end in a TOML file that containerd reads as root, so they are checked here once, at the door, and escaped
again where they are written. Where the tables live in a configuration is known by ``containerd_document``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.errors import InvalidInputError

# Shims up to 20260224 refuse any other value, later ones ignore it (observed with containerd 1.6 to 2.4).
TYPE_URL: Final = "io.containerd.runsc.v1.options"

# A RuntimeClass names its handler by a DNS label (RFC 1123), so no other name could ever be used by a pod.
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_RUNTIME_ID = re.compile(r"io\.containerd\.[A-Za-z0-9_-]+\.v[0-9]+")


@dataclass(frozen=True, slots=True)
class Handler:
    """One runtime handler.

    Args:
        name: what a RuntimeClass calls it; a DNS label.
        runtime_type: absolute path of the shim (the one form that needs no PATH on containerd 1.6, 1.7 and 2.x), or a
            runtime id such as ``io.containerd.runsc.v1``.
        config_path: absolute path of the shim's options file.

    Raises:
        InvalidInputError: a value has another form, or holds control characters.
    """

    name: str
    runtime_type: str
    config_path: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidInputError(
                f"{self.name!r} cannot be a runtime handler",
                why="a handler is a DNS label: at most 63 lower case letters, digits and hyphens",
                remedy="set containerd_handler to a name such as runsc; nothing was changed",
            )
        for field, value in (("runtime_type", self.runtime_type), ("config_path", self.config_path)):
            if not _is_clean(value):
                raise InvalidInputError(
                    f"{field} of handler {self.name} holds characters that no path has",
                    why=repr(value),
                    remedy="use a plain absolute path; nothing was changed",
                )
        if not self.config_path.startswith("/"):
            raise InvalidInputError(
                f"config_path of handler {self.name} is not an absolute path",
                why=repr(self.config_path),
                remedy="use an absolute path; nothing was changed",
            )
        if not self.runtime_type.startswith("/") and not _RUNTIME_ID.fullmatch(self.runtime_type):
            raise InvalidInputError(
                f"runtime_type of handler {self.name} is neither an absolute path nor a runtime id",
                why=repr(self.runtime_type),
                remedy="use the absolute path of the shim; nothing was changed",
            )

    @property
    def table(self) -> dict[str, Any]:
        """The handler's table as it is written: ``{"runtime_type": …, "options": {"TypeUrl": …, "ConfigPath": …}}``."""
        return {
            "runtime_type": self.runtime_type,
            "options": {"TypeUrl": TYPE_URL, "ConfigPath": self.config_path},
        }

    def served_by(self, table: object) -> bool:
        """Whether a table, of a file or of a dump, makes containerd run this handler as wanted.

        Other keys (``pod_annotations`` of a careful hand, the zero values of a dump) are no difference in this sense.
        """
        if not isinstance(table, dict):
            return False
        return all(table.get(key) == value for key, value in self.table.items())


def _is_clean(value: str) -> bool:
    if not value or not value.isprintable():
        return False
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
