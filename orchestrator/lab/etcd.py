"""etcd for clusters of the lab: built once from its published Go module, unchanged.

The module's own ``go.mod`` replaces its siblings by directories beside it; outside that repository their published
modules of the same version take their place, each compared with the sum in ``files/etcd-VERSION.sum``.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Final

from orchestrator.gvisor.gomodule import ModuleBuild
from orchestrator.lab.kept_build import KeptBuild

VERSION: Final = "3.7.3"
_MODULE: Final = "go.etcd.io/etcd/server/v3"


def etcd() -> KeptBuild:
    """The build of ``etcd`` for this machine."""
    return KeptBuild(
        "etcd",
        ModuleBuild(
            label=f"etcd {VERSION}",
            path=_MODULE,
            version=f"v{VERSION}",
            sum="h1:KcTZ/aEZrOiQe0/kdr7iYYcvyfbEoOwDOacHkz8xwZc=",
            programs={"etcd": _MODULE},
            link="-s -w",
            sums=(Path(__file__).parent / "files" / f"etcd-{VERSION}.sum").read_text(encoding="ascii"),
        ),
        platform.machine(),
    )
