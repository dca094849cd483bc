"""What there is in a Shoot's namespace of the seed. Pure; the steps to change it are in ``step.py``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.api.managed_resource import ManagedResource
    from orchestrator.api.view import RawObject


@dataclass(frozen=True, slots=True)
class SeedState:
    """ManagedResources and Secrets by name: those that are wanted, and those that the former reference."""

    managed_resources: Mapping[str, ManagedResource] = field(default_factory=dict)
    secrets: Mapping[str, RawObject] = field(default_factory=dict)
