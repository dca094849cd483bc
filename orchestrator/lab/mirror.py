"""The Debian mirror that this machine's own apt uses, read from apt's files; the lab names none by itself.

Formats: sources.list(5), one-line (``deb [options] URI suite component``) and deb822 (``Types:``, ``URIs:``).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import MissingComponentError

if TYPE_CHECKING:
    from collections.abc import Iterator

VARIABLE = "GVISOR_NODES_LAB_MIRROR"
"""The environment variable that overrides what apt says (a machine that is no Debian, a mirror of one's own)."""

_ONE_LINE = re.compile(r"deb\s+(?:\[[^]]*\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)")


def debian_mirror(etc_apt: Path = Path("/etc/apt")) -> str:
    """Return the URI of the first Debian archive (not security, not another vendor's) that apt is configured with.

    Raises:
        MissingComponentError: none is configured; the remedy names the variable to set.
    """
    if override := os.environ.get(VARIABLE, ""):
        return override
    for uri in _uris(etc_apt):
        if uri.rstrip("/").endswith("/debian"):
            return uri
    raise MissingComponentError(
        "The lab's node images need a Debian mirror, and apt on this machine is configured with none",
        why=f"no enabled source below {etc_apt} has a URI that ends in /debian",
        remedy=f"set {VARIABLE} to the URI of a Debian archive",
    )


def _uris(etc_apt: Path) -> Iterator[str]:
    main = etc_apt / "sources.list"
    parts = etc_apt / "sources.list.d"
    for path in [main, *sorted(parts.glob("*"))]:
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix == ".sources":
            yield from _deb822_uris(text)
        elif path.suffix == ".list":
            for line in text.splitlines():
                if match := _ONE_LINE.match(line.strip()):
                    yield match["uri"]


def _deb822_uris(text: str) -> Iterator[str]:
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, list[str]] = {}
        words: list[str] = []
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace():  # the value goes on
                words.extend(line.split())
            elif ":" in line:
                name, _, value = line.partition(":")
                words = fields.setdefault(name.strip().lower(), [])
                words.extend(value.split())
        if "deb" in fields.get("types", []) and fields.get("enabled", ["yes"]) != ["no"]:
            yield from fields.get("uris", [])
