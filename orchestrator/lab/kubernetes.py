"""kube-apiserver for clusters of the lab: built once from Kubernetes' published Go module, unchanged.

``k8s.io/kubernetes`` replaces some thirty modules by directories below ``staging``, which its published zip does not
have. Kubernetes publishes them as modules of their own, v0.37.2 for v1.37.2; ``files/kubernetes-VERSION.sum`` pins the
sum of each, and so says which they are.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Final

from orchestrator.gvisor.gomodule import ModuleBuild
from orchestrator.lab.kept_build import KeptBuild

VERSION: Final = "1.37.2"
_MODULE: Final = "k8s.io/kubernetes"
_LABEL: Final = "k8s.io/component-base/version"


def kubernetes() -> KeptBuild:
    """The build of ``kube-apiserver`` for this machine; others of its programs are built the same way."""
    major, minor, patch = VERSION.split(".")
    staging = f"v0.{minor}.{patch}"
    sums = (Path(__file__).parent / "files" / f"kubernetes-{VERSION}.sum").read_text(encoding="ascii")
    paths = dict.fromkeys(line.split()[0] for line in sums.splitlines() if line.split()[1] == f"{staging}/go.mod")
    return KeptBuild(
        "kubernetes",
        ModuleBuild(
            label=f"Kubernetes {VERSION}",
            path=_MODULE,
            version=f"v{VERSION}",
            sum="h1:A2VDEiObzkYqFTKhSsn0ZEb0RlLEXpHWj93gi2HqEwE=",
            programs={"kube-apiserver": f"{_MODULE}/cmd/kube-apiserver"},
            link=f"-s -w -X {_LABEL}.gitVersion=v{VERSION} -X {_LABEL}.gitMajor={major} -X {_LABEL}.gitMinor={minor}",
            replacements=dict.fromkeys(paths, staging),
            sums=sums,
        ),
        platform.machine(),
    )
