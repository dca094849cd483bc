"""gVisor's module with one constant changed, for machines on which nobody may lower an ``oom_score_adj``.

gVisor's shim gives itself the score -999 and ends when it may not, so on a machine without CAP_SYS_RESOURCE no sandbox
starts. Only there, and only for the lab, the shim is built from a copy of the published module in which that score is
0; the releases file that comes with it says so. ``go build -overlay`` would save the copy, but refuses files that lie
in the module cache.
"""

from __future__ import annotations

import json
import re
import shutil
import stat
from typing import TYPE_CHECKING

from orchestrator.errors import GvisorNodesError
from orchestrator.gvisor.gobuild import MODULE
from orchestrator.lab.program import Progress, call, require, silent

if TYPE_CHECKING:
    from pathlib import Path

# Where the constant is: in 20260905 (containerd 2 library), in 20260224, in 20250205.
_SOURCES = ("pkg/shim/v1/manager.go", "pkg/shim/v1/service.go", "pkg/shim/service.go")
_CONSTANT = re.compile(r"(?m)^(\s*oomScoreMax(?:Killable)?\s*=\s*)-999$")


def copy_with_patched_shim(version: str, destination: Path, progress: Progress = silent) -> None:
    """Copy the published module to ``destination`` (which must not exist) and set the shim's own score to 0.

    Raises:
        MissingComponentError: there is no go.
        GvisorNodesError: the module cannot be had, or has no such constant.
    """
    go = require("go")
    progress(f"download of {MODULE}@{version}")
    done = call(
        [go, "mod", "download", "-json", f"{MODULE}@{version}"],
        what=f"{MODULE}@{version} cannot be downloaded",
        remedy=f"try: go mod download {MODULE}@{version}",
        environment={"GOFLAGS": "-mod=mod", "GO111MODULE": "on"},
    )
    shutil.copytree(json.loads(done.stdout)["Dir"], destination, symlinks=True)
    for directory, _, _ in destination.walk():  # the module cache is read-only
        directory.chmod(directory.stat().st_mode | stat.S_IWUSR)
    patched = sum(_patch(destination / source) for source in _SOURCES)
    if patched != 1:
        raise GvisorNodesError(
            f"The shim of {MODULE}@{version} cannot be made to run without CAP_SYS_RESOURCE",
            why=f"its oom score was expected once in {', '.join(_SOURCES)}, and was found {patched} times",
            remedy="use a machine that has the capability, or another --release",
        )


def _patch(path: Path) -> int:
    if not path.exists():
        return 0
    text, count = _CONSTANT.subn(r"\g<1>0", path.read_text(encoding="utf-8"))
    if count:
        path.chmod(0o644)
        path.write_text(text, encoding="utf-8")
    return count
