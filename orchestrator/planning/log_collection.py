"""Which debug logs are to be fetched from a node, and where to: variables in, a checked value out. Pure.

The node decides what of it there is; the name of the file on this machine is never the node's to choose.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from orchestrator.errors import InvalidInputError
from orchestrator.planning.desired import DEFAULTS, refuse_templates

if TYPE_CHECKING:
    from collections.abc import Mapping

_MIB: Final = 1024 * 1024
_POD = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
_CONTAINER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{5,75}")
_AGO = re.compile(r"([1-9][0-9]{0,8})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_ODD = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True)
class Collection:
    """What to fetch.

    Args:
        to: on this machine: a directory that exists, or the file to make.
        pod: ``namespace/name``, or empty.
        container: the beginning of containerd's id, or empty.
        since: ``{"ago": seconds}``, ``{"at": epoch}``, or empty.
        size: bytes of logs at most.
    """

    to: str
    pod: str
    container: str
    since: dict[str, float]
    size: int


def read_collection(variables: Mapping[str, Any]) -> Collection:
    """Check the variables ``debug_logs_collect_*``.

    Raises:
        InvalidInputError: naming the first that is not valid.
    """
    names = [name for name in DEFAULTS if name.startswith("debug_logs_collect_")]
    values = {name: variables.get(name, DEFAULTS[name]) for name in names}
    for name, value in values.items():
        refuse_templates(name, value)
    to = values["debug_logs_collect_to"]
    if not isinstance(to, str) or not to.startswith("/") or "\0" in to:
        raise InvalidInputError(
            "debug_logs_collect_to is not an absolute path",
            why=f"found {to!r}",
            remedy="set it to a directory on this machine, for example -e debug_logs_collect_to=$PWD",
        )
    pod = _matching(values, "debug_logs_collect_pod", _POD, "a pod as namespace/name")
    container = _matching(values, "debug_logs_collect_container", _CONTAINER, "six or more characters of an id")
    if pod and container:
        raise InvalidInputError("a pod and a container are asked for", remedy="name one of them")
    size = values["debug_logs_collect_size"]
    if isinstance(size, str) and size.isdecimal():
        size = int(size)
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= 10**6:
        raise InvalidInputError("debug_logs_collect_size is not a number of MiB", why=f"found {size!r}")
    return Collection(to, pod, container, _since(values["debug_logs_collect_since"]), size * _MIB)


def file_name(host: str, moment: datetime) -> str:
    """The archive's name in a directory: of the host's name in the inventory, whatever characters that has."""
    plain = _ODD.sub("_", host).lstrip(".") or "host"
    return f"{plain}-gvisor-logs-{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}.tar.gz"


def _matching(values: Mapping[str, Any], name: str, pattern: re.Pattern[str], meaning: str) -> str:
    value = values[name]
    if value in ("", None):
        return ""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise InvalidInputError(f"{name} is not {meaning}", why=f"found {value!r}", remedy=f"correct {name}")
    return value


def _since(value: object) -> dict[str, float]:
    if value in ("", None):
        return {}
    if isinstance(value, str) and (ago := _AGO.fullmatch(value)):
        return {"ago": float(ago[1]) * _SECONDS[ago[2]]}
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise InvalidInputError(
            "debug_logs_collect_since is no time",
            why=f"found {value!r}",
            remedy="write 90m, 2h or 1d, or a time such as 2026-11-25T10:00:00Z",
        ) from None
    # A time without a zone is this machine's, as everywhere on a command line.
    return {"at": moment.timestamp()}
