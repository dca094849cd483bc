"""What the operator of this controller decides for every pool. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.gvisor.flag_policy import Policy, read_policy
from orchestrator.gvisor.releases import DEFAULT_RELEASE

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Installation:
    """The release of gVisor, and what owners of pools may set.

    Attributes:
        release: for example 20260209.1.
        flags_policy: as the playbooks' variable ``runsc_flags_policy`` has it.
        strict: whether a setting that would be left out is an error instead.
    """

    release: str = DEFAULT_RELEASE
    flags_policy: Mapping[str, Any] = field(default_factory=dict)
    strict: bool = False

    @property
    def policy(self) -> Policy:
        """The policy that ``flags_policy`` says.

        Raises:
            InvalidInputError: it says none.
        """
        return read_policy(self.flags_policy)
