"""The operator's policy: which flags of runsc may be set, and to what. Pure.

Flags are wished for by whoever writes an inventory, a command or an object in a cluster; the policy is the word of
whoever owns the nodes. What weakens isolation, or can break pods, needs to be named in it. What this product and the
shim set, and what is for gVisor's own tests, cannot be allowed by any policy. The next step is ``flags.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from orchestrator.errors import InvalidInputError
from orchestrator.gvisor.flag_catalogue import KnownFlag, known_flags

VARIABLE: Final = "runsc_flags_policy"
ANY: Final = "any"


class Base(StrEnum):
    """What is allowed where the policy does not name a flag."""

    DEFAULT = "default"
    """What is plain: it can neither weaken isolation nor break anything."""
    NONE = "none"
    """Nothing."""
    EVERYTHING = "everything"
    """Whatever a person can set at all; for a first look at spelling, where the policy is not known yet."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Which flags may be set to what.

    Attributes:
        base: what holds for flags that are not named.
        named: canonical values by flag; None for any value. A named flag takes nothing from the base.
    """

    base: Base = Base.DEFAULT
    named: Mapping[str, frozenset[str] | None] = field(default_factory=dict)

    def allows(self, flag: KnownFlag, value: str) -> bool:
        """Whether a flag may have a value, as its grammar writes it."""
        if not flag.settable:
            return False
        if flag.name in self.named:
            allowed = self.named[flag.name]
            return allowed is None or value in allowed
        if self.base is Base.DEFAULT:
            return flag.is_plain(value)
        return self.base is Base.EVERYTHING

    def allowed(self, flag: KnownFlag) -> str:
        """What this policy allows of a flag, for people."""
        if flag.settable and flag.name in self.named:
            named = self.named[flag.name]
            return "any value" if named is None else ", ".join(sorted(named)) or "nothing"
        if not flag.settable or self.base is Base.NONE:
            return "nothing"
        if self.base is Base.EVERYTHING or flag.is_plain(""):
            return "any value"
        return ", ".join(sorted(flag.plain)) or "nothing"


DEFAULT_POLICY: Final = Policy()
SPELLING_ONLY: Final = Policy(Base.EVERYTHING)


def read_policy(value: object) -> Policy:
    """The policy of a variable.

    Args:
        value: a mapping with ``base`` (``default`` or ``none``) and ``allow``, a mapping of flags to a list of values
            or to the word ``any``; each may be missing. As YAML or JSON gave it.

    Raises:
        InvalidInputError: it is none, or names a flag that no policy can allow, or a value that the flag cannot have.
    """
    if not isinstance(value, Mapping):
        raise _invalid(f"{VARIABLE} is not a mapping", f"found {value!r}")
    unknown = sorted(str(key) for key in value if key not in {"base", "allow"})
    if unknown:
        raise _invalid(f"{VARIABLE} has unknown keys", f"found {', '.join(unknown)}; there are base and allow")
    base = value.get("base", "default")
    if base not in ("default", "none"):
        raise _invalid(f"{VARIABLE} has an unknown base", f"found {base!r}; there are default and none")
    allow = value.get("allow", {})
    if not isinstance(allow, Mapping):
        raise _invalid(f"{VARIABLE}.allow is not a mapping", f"found {allow!r}")
    return Policy(Base(base), {str(name): _read_values(name, values) for name, values in allow.items()})


def _read_values(name: object, values: object) -> frozenset[str] | None:
    flag = known_flags().get(name) if isinstance(name, str) else None
    if flag is None:
        raise _invalid(
            f"{VARIABLE} names the unknown flag {str(name)!r}", "`gvisor-nodes flags` lists all that are known"
        )
    if not flag.settable:
        raise _invalid(f"{VARIABLE} cannot allow {flag.name}", f"{flag.risk}: {flag.why}")
    if values == ANY:
        return None
    if not isinstance(values, (list, tuple)):
        # A bare true could mean "may be set" as well as "may be true": for a policy that is not good enough.
        raise _invalid(
            f"{VARIABLE} does not say what {flag.name} may be", f"found {values!r}; write any, or a list of values"
        )
    return frozenset(_read_value(flag, value) for value in values)


def _read_value(flag: KnownFlag, value: object) -> str:
    parsed = flag.grammar.parse(value)
    if parsed is None:
        raise _invalid(
            f"{VARIABLE} allows {flag.name} a value that it cannot have",
            f"found {value!r}, it takes {flag.grammar.meaning}",
        )
    return parsed


def _invalid(what: str, why: str) -> InvalidInputError:
    return InvalidInputError(what, why=why, remedy=f"correct {VARIABLE}; nothing was changed")
