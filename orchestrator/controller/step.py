"""Steps that change what there is in a cluster, as values. Pure.

Steps are planned from what there is, executed, and planned again from what there is then, until none is left. So each
plan holds only what can be known now, a run that was cut off is finished by the next one, and a step that finds its
work done (an object that is gone already, one that somebody else has just made) is no error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.api.merge_patch import Patch
    from orchestrator.api.view import RawObject


@dataclass(frozen=True, slots=True)
class Create:
    """Make an object; that it is there already means: plan again."""

    raw: RawObject


@dataclass(frozen=True, slots=True)
class Change:
    """Apply a merge patch; that the object is gone means: plan again."""

    kind: str
    name: str
    patch: Patch


@dataclass(frozen=True, slots=True)
class Delete:
    """Ask for an object's deletion; that it is gone is as good."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class AwaitGone:
    """Nothing more can be planned until a ManagedResource is gone: its resource manager has to remove what it holds."""

    name: str


type Step = Create | Change | Delete | AwaitGone
