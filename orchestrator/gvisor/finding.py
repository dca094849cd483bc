"""Something that is known to go wrong on a node, before it does: for people, with what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding. ``refuse`` forbids the change, ``warn`` is only said.

    Args:
        effect: what the finding does.
        what: one sentence for people, without a full stop.
        why: the cause, with where it is known from.
        remedy: what to do.
    """

    effect: Literal["refuse", "warn"]
    what: str
    why: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}: {self.why}. To do: {self.remedy}"
