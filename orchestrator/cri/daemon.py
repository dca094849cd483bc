"""What a running containerd says of itself, out of the verbose Status.

`info.config` holds `.containerd.runtimes.<handler>.{runtimeType, options.ConfigPath}` in every containerd from 1.6 to
2.4 and is the one uniform source: the list of handlers in Status itself exists on 2.x only and names a handler whose
shim is missing. The sandbox image is in it on 1.x only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HandlerView:
    """A handler as the running daemon has it; an options path that is not set is ""."""

    runtime_type: str
    config_path: str


@dataclass(frozen=True, slots=True)
class DaemonView:
    """The running daemon's handlers, and its sandbox image where it tells it."""

    handlers: dict[str, HandlerView]
    sandbox_image: str | None


def read(info: dict[str, str]) -> DaemonView:
    """Read the verbose part of Status.

    Args:
        info: names to JSON texts; what is missing or is no JSON is as if the daemon had nothing.
    """
    try:
        config = json.loads(info.get("config", ""))
    except ValueError:
        config = None
    if not isinstance(config, dict):
        return DaemonView(handlers={}, sandbox_image=None)
    runtimes = (config.get("containerd") or {}).get("runtimes") or {}
    handlers = {
        name: HandlerView(
            runtime_type=str(entry.get("runtimeType") or ""),
            config_path=str((entry.get("options") or {}).get("ConfigPath") or ""),
        )
        for name, entry in runtimes.items()
        if isinstance(entry, dict)
    }
    return DaemonView(handlers=handlers, sandbox_image=config.get("sandboxImage") or None)
