"""Texts for people in an object's status. Pure.

They hold what somebody wrote into the object, of any length; a status that is too large is refused by the API server,
and the object would never become ready.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST: Final = 20


def abridged(text: str, longest: int) -> str:
    """The text, or its first ``longest`` characters and a mark that there were more."""
    return text if len(text) <= longest else f"{text[:longest]}…"


def enumerated(items: Sequence[object], separator: str = "; ") -> str:
    """The first twenty of several things, and how many more there are."""
    more = (f"and {len(items) - _MOST} more",) if len(items) > _MOST else ()
    return separator.join((*map(str, items[:_MOST]), *more))
