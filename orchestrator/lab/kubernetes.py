"""Kubernetes' programs for clusters of the lab, from its published Go module, unchanged.

``k8s.io/kubernetes`` replaces some thirty modules by directories below ``staging``, which its published zip does not
have. Kubernetes publishes them as modules of their own, v0.37.2 for v1.37.2; ``files/kubernetes-VERSION.sum`` pins the
sum of each that the API server needs, and so says which they are; a file of the controller manager's has those that it
needs too, and another one those of the programs that only clusters with nodes need.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.gvisor.gomodule import ModuleBuild
from orchestrator.lab.kept_build import KeptBuild

if TYPE_CHECKING:
    from collections.abc import Sequence

VERSION: Final = "1.37.2"
NODE_PROGRAMS: Final = ("kubelet", "kube-proxy", "kube-scheduler", "kubectl")
_MODULE: Final = "k8s.io/kubernetes"
_LABEL: Final = "k8s.io/component-base/version"


def kubernetes() -> KeptBuild:
    """The build of ``kube-apiserver`` for this machine."""
    return _kept_build("kubernetes", ("kube-apiserver",), _sums("kubernetes"))


def controller_manager() -> KeptBuild:
    """The build of ``kube-controller-manager``: kept apart, so that one does not wait for the other."""
    name = "kubernetes-controller-manager"
    return _kept_build(name, ("kube-controller-manager",), _sums("kubernetes") + _sums(name))


def node_programs() -> KeptBuild:
    """The build of :data:`NODE_PROGRAMS`: what a cluster with nodes needs beside the other two."""
    sums = "".join(map(_sums, ("kubernetes", "kubernetes-controller-manager", "kubernetes-node")))
    return _kept_build("kubernetes-node", NODE_PROGRAMS, sums)


def _sums(name: str) -> str:
    return (Path(__file__).parent / "files" / f"{name}-{VERSION}.sum").read_text(encoding="ascii")


def _kept_build(name: str, programs: Sequence[str], sums: str) -> KeptBuild:
    major, minor, patch = VERSION.split(".")
    staging = f"v0.{minor}.{patch}"
    paths = dict.fromkeys(line.split()[0] for line in sums.splitlines() if line.split()[1] == f"{staging}/go.mod")
    return KeptBuild(
        name,
        ModuleBuild(
            label=f"Kubernetes {VERSION}",
            path=_MODULE,
            version=f"v{VERSION}",
            sum="h1:A2VDEiObzkYqFTKhSsn0ZEb0RlLEXpHWj93gi2HqEwE=",
            programs={program: f"{_MODULE}/cmd/{program}" for program in programs},
            link=f"-s -w -X {_LABEL}.gitVersion=v{VERSION} -X {_LABEL}.gitMajor={major} -X {_LABEL}.gitMinor={minor}",
            replacements=dict.fromkeys(paths, staging),
            sums=sums,
        ),
        platform.machine(),
    )
