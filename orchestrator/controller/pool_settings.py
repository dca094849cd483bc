"""What of a pool's configuration takes effect, what is left out, and what is an error. Pure.

The table is in docs/architecture.md, the reasons are in ADR 0013. The upstream extension takes four flags, leaves out
everything else without a word, and Shoots live with that; so a value that nothing can be made of is left out here too,
and named. One that upstream would hand to the node, and that runsc cannot have, is an error.

Source of what upstream takes: gardener-extension-runtime-gvisor v0.45.0, ``pkg/charts/values.go``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.controller.conditions import Observation
from orchestrator.controller.message import abridged, enumerated
from orchestrator.errors import ConfigurationError
from orchestrator.gvisor.flags import Kind, Verdict, judge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.api.gvisor_configuration import GVisorConfiguration
    from orchestrator.controller.installation import Installation

CONDITION: Final = "GVisorConfigurationEffective"
"""The condition that names what was left out. gardenlet does not know it, so it does not make a Shoot unhealthy."""

_ONLY_TRUE: Final = ("debug", "nvproxy")
"""Flags of which upstream takes nothing but ``true``."""
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,18}")
"""What Go's ``strconv.Atoi`` takes; upstream asks no more of ``panic-signal``."""
_LONGEST_NAME: Final = 100
_LONGEST_REASON: Final = 300


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A setting without effect: its name in the configuration, and why."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"{abridged(self.name, _LONGEST_NAME)} ({abridged(self.why, _LONGEST_REASON)})"


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """What was made of a configuration.

    Attributes:
        flags: what takes effect, canonical values by name.
        left_out: what does not.
        remarks: what else its owner should know.
    """

    flags: Mapping[str, str]
    left_out: tuple[LeftOut, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def observation(self) -> Observation:
        """The condition that tells its owner."""
        if self.left_out:
            message = f"Without effect: {enumerated(self.left_out)}"
            return Observation(CONDITION, "False", "SettingsLeftOut", ". ".join((message, *self.remarks)))
        if self.remarks:
            return Observation(CONDITION, "True", "AcceptedWithWarning", ". ".join(self.remarks))
        return Observation(CONDITION, "True", "Accepted", "Everything that is configured takes effect")


def settle(configuration: GVisorConfiguration, installation: Installation) -> PoolSettings:
    """Judge a configuration.

    Raises:
        ConfigurationError: a value cannot be left out, or, where the installation is strict, something would be.
    """
    flags, left_out = _flags(configuration.config_flags, installation)
    unread = (LeftOut(name, "no field that has an effect") for name in configuration.fields_without_effect)
    settings = PoolSettings(flags, (*left_out, *unread), _remarks(configuration))
    if installation.strict and settings.left_out:
        raise ConfigurationError(
            f"providerConfig sets what has no effect: {enumerated([one.name for one in settings.left_out], ', ')}",
            why=enumerated(settings.left_out),
            remedy="remove or correct it, or let the operator of the extension switch strict off; nothing was changed",
        )
    return settings


def _remarks(configuration: GVisorConfiguration) -> tuple[str, ...]:
    missing = " and ".join(configuration.missing_type_fields)
    return (f"providerConfig has no {missing}; it was read as a GVisorConfiguration",) if missing else ()


def _flags(written: Mapping[str, str], installation: Installation) -> tuple[dict[str, str], tuple[LeftOut, ...]]:
    values = {name: _as_upstream_reads_it(name, value) for name, value in written.items()}
    left_out = [LeftOut(name, "upstream takes only true, false is what runsc does anyway") for name in _off(values)]
    while True:
        left = {one.name for one in left_out}
        verdicts = judge(
            {name: value for name, value in values.items() if name not in left},
            installation.release,
            installation.policy,
        )
        refused = {verdict.name: verdict for verdict in verdicts if verdict.kind is not Kind.ACCEPTED}
        if not refused:
            accepted = {verdict.flag.name: verdict.flag.value for verdict in verdicts if verdict.flag is not None}
            return accepted, tuple(sorted(left_out, key=lambda one: one.name))
        # Leaving out a flag of a conflict can leave another one without what it needs: judge again.
        left_out += [_leave_out(verdict, values[name]) for name, verdict in refused.items()]


def _off(values: Mapping[str, str]) -> list[str]:
    return [name for name in _ONLY_TRUE if values.get(name) == "false"]


def _as_upstream_reads_it(name: str, value: str) -> str:
    return str(int(value)) if name == "panic-signal" and _NUMBER.fullmatch(value) else value


def _leave_out(verdict: Verdict, value: str) -> LeftOut:
    if verdict.kind is Kind.MALFORMED and verdict.name == "panic-signal" and _NUMBER.fullmatch(value):
        raise ConfigurationError(f"providerConfig.configFlags: {verdict.what}", why=verdict.why, remedy=verdict.remedy)
    return LeftOut(
        verdict.name, verdict.why if verdict.kind is not Kind.MALFORMED else f"{verdict.what}, {verdict.why}"
    )
