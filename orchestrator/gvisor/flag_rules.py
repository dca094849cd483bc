"""Rules between flags: what runsc's own ``Config.Validate`` refuses, said before a binary is asked. Pure.

The rules hold for flags whose values are each right; those that need no second flag are bounds of the values
(``runsc_flags_review.toml``). Source: ``runsc/config/config.go`` of 20250205.0, 20260224.0 and 20260905.0; a flag that
a release lacks cannot be set there, so no rule names a release. That the binaries agree is a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(frozen=True, slots=True)
class Conflict:
    """Flags that do not go together: the one to name, why, and what to do."""

    name: str
    why: str
    remedy: str


def conflicts(values: Mapping[str, str]) -> tuple[Conflict, ...]:
    """Everything that does not go together.

    Args:
        values: canonical values by name, without those that are not set.
    """
    return tuple(_found(values))


def _found(values: Mapping[str, str]) -> Iterator[Conflict]:
    if values.get("file-access") == "shared" and values.get("overlay2", "root:self") != "none":
        yield Conflict(
            "file-access",
            "the root file system cannot be shared while writes to it go elsewhere (overlay2 is root:self by default)",
            "set overlay2 to none as well",
        )
    if values.get("pause-external-networking") == "true" and values.get("network", "sandbox") != "sandbox":
        yield Conflict(
            "pause-external-networking",
            "only network=sandbox can be paused",
            "set network to sandbox, or remove pause-external-networking",
        )
    if values.get("qdisc") == "tbf":
        for name in ("qdisc-tbf-rate", "qdisc-tbf-burst"):
            if values.get(name, "0") == "0":
                yield Conflict("qdisc", f"tbf needs {name}, more than 0", f"set {name} as well")
    if values.get("profile") != "true":
        for name in ("profile-block", "profile-cpu", "profile-heap", "profile-mutex"):
            if name in values:
                yield Conflict(name, "it needs profile=true", "set profile to true as well")
    if "profiling-metrics" in values and "profiling-metrics-log" not in values:
        yield Conflict("profiling-metrics", "it needs profiling-metrics-log", "set profiling-metrics-log as well")
