"""The flags of the upstream extension's program, and which setting each is. Pure.

Its Deployment starts this controller without a change, so every flag of it is taken; some have nothing to act upon
here.

Source: gardener-extension-runtime-gvisor v0.45.0, ``cmd/gardener-extension-runtime-gvisor/app/app.go``, and
gardener/gardener v1.149.3, ``extensions/pkg/controller/cmd/options.go``. Texts are read as Go's pflag reads them:
https://pkg.go.dev/strconv#ParseBool for booleans, lists with commas.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from orchestrator.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

type Path = tuple[str, ...]
"""The keys that lead to a setting."""

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,9}")
_BOOLEANS: Final = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}


class Kind(StrEnum):
    """What the text of a flag is."""

    BOOL = "BOOL"
    INTEGER = "INTEGER"
    LIST = "LIST"
    TEXT = "TEXT"


@dataclass(frozen=True, slots=True)
class UpstreamFlag:
    """A flag.

    Attributes:
        name: without the dashes.
        kind: what its text is.
        path: the setting that it is; empty if it has no effect here.
        why: why it has none.
    """

    name: str
    kind: Kind
    path: Path = ()
    why: str = ""


UPSTREAM_FLAGS: Final = (
    UpstreamFlag("extension-classes", Kind.LIST, ("extensionClasses",)),
    UpstreamFlag("kubeconfig", Kind.TEXT, ("kubeconfig",)),
    UpstreamFlag("master", Kind.TEXT, ("master",)),
    UpstreamFlag("leader-election", Kind.BOOL, ("leaderElection", "enabled")),
    UpstreamFlag("leader-election-id", Kind.TEXT, ("leaderElection", "id")),
    UpstreamFlag("leader-election-namespace", Kind.TEXT, ("leaderElection", "namespace")),
    UpstreamFlag("metrics-bind-address", Kind.TEXT, ("metrics", "bindAddress")),
    UpstreamFlag("health-bind-address", Kind.TEXT, ("health", "bindAddress")),
    UpstreamFlag("log-level", Kind.TEXT, ("log", "level")),
    UpstreamFlag("log-format", Kind.TEXT, ("log", "format")),
    UpstreamFlag("max-concurrent-reconciles", Kind.INTEGER, ("concurrentReconciles",)),
    UpstreamFlag("heartbeat-namespace", Kind.TEXT, ("heartbeat", "namespace")),
    UpstreamFlag("heartbeat-renew-interval-seconds", Kind.INTEGER, ("heartbeat", "renewIntervalSeconds")),
    UpstreamFlag("ignore-operation-annotation", Kind.BOOL, ("ignoreOperationAnnotation",)),
    UpstreamFlag("gardener-version", Kind.TEXT, why="nothing here depends on it"),
    UpstreamFlag("self-hosted-shoot-cluster", Kind.BOOL, why="such clusters are not told apart"),
    UpstreamFlag("webhook-config-server-host", Kind.TEXT, why="there is no webhook"),
    UpstreamFlag("webhook-config-server-port", Kind.INTEGER, why="there is no webhook"),
    UpstreamFlag("webhook-config-cert-dir", Kind.TEXT, why="there is no webhook"),
    UpstreamFlag(
        "gvisor-installation-test-repository", Kind.TEXT, why="gVisor is not installed by an image, so none is tried"
    ),
    UpstreamFlag("healthcheck-max-concurrent-reconciles", Kind.INTEGER, why="upstream parses it and does not use it"),
)
"""All but ``--version``, which prints the version and ends."""

_BY_NAME: Final = {flag.name: flag for flag in UPSTREAM_FLAGS}


def paths() -> dict[str, Path]:
    """The settings of the flags that are one, by the flag's name."""
    return {flag.name: flag.path for flag in UPSTREAM_FLAGS if flag.path}


def without_effect(flags: Mapping[str, str]) -> tuple[str, ...]:
    """Those of the given flags that change nothing here, with their dashes and the reason."""
    return tuple(f"--{flag.name} ({flag.why})" for flag in UPSTREAM_FLAGS if flag.name in flags and not flag.path)


def values(flags: Mapping[str, str]) -> dict[Path, Any]:
    """The values of the given flags by the setting that each is. What they may be is up to the settings.

    Raises:
        InvalidInputError: there is no such flag, or a text is not of its flag's kind.
    """
    return {
        flag.path: _value(flag, text)
        for flag, text in ((_flag(name), text) for name, text in flags.items())
        if flag.path
    }


def _flag(name: str) -> UpstreamFlag:
    if name not in _BY_NAME:
        raise InvalidInputError(
            f"there is no flag --{name}", why="upstream has none of this name", remedy="gvisor-nodes controller --help"
        )
    return _BY_NAME[name]


def _value(flag: UpstreamFlag, text: str) -> Any:
    match flag.kind:
        case Kind.BOOL:
            if text not in _BOOLEANS:
                raise _invalid(flag, f"it takes one of {', '.join(_BOOLEANS)}")
            return _BOOLEANS[text]
        case Kind.INTEGER:
            if not _INTEGER.fullmatch(text):
                raise _invalid(flag, "it takes a whole number")
            return int(text)
        case Kind.LIST:
            return text.split(",") if text else []
        case Kind.TEXT:
            return text


def _invalid(flag: UpstreamFlag, why: str) -> InvalidInputError:
    return InvalidInputError(f"--{flag.name} cannot be used", why=why, remedy="correct it; nothing was changed")
