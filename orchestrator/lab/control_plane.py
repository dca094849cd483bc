"""The programs and files of clusters of the lab: what there is to build, and where it is.

etcd and kube-apiserver are also taken from ``KUBEBUILDER_ASSETS``, the directory that people know from kubebuilder's
envtest (https://book.kubebuilder.io/reference/envtest.html).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.lab import gardener, kubernetes
from orchestrator.lab.etcd import etcd
from orchestrator.lab.helm_build import helm
from orchestrator.lab.program import Progress, silent

if TYPE_CHECKING:
    from orchestrator.lab.kept_build import KeptBuild

BUILD: Final = "make control-plane"
"""The command that builds everything, for errors."""


def builds() -> tuple[KeptBuild, ...]:
    """What a cluster needs, what others need first; then what the tests of the chart need."""
    return (
        etcd(),
        kubernetes.kubernetes(),
        kubernetes.controller_manager(),
        gardener.definitions(),
        gardener.resource_manager(),
        gardener.packaging_definitions(),
        helm(),
    )


def node_builds() -> tuple[KeptBuild, ...]:
    """What a cluster with nodes needs beside that."""
    return (kubernetes.node_programs(),)


def ensure(progress: Progress = silent, *, nodes: bool = False) -> None:
    """Build what is not there.

    Args:
        progress: told what is built.
        nodes: also what only clusters with nodes need.

    Raises:
        MissingComponentError: there is no Go.
        RefusedError: a module has another sum than pinned.
        GvisorNodesError: a build failed; nothing of it stays.
    """
    for wanted in (*builds(), *(node_builds() if nodes else ())):
        if not all(_asset(name) for name in wanted.names):
            wanted.ensure(progress)


def program(build: KeptBuild, name: str = "") -> Path:
    """Where a program of a build is; one that has no other program needs no name.

    Raises:
        MissingComponentError: it is not built.
    """
    if not name:
        (name,) = build.names
    return _asset(name) or build.find(BUILD) / name


def _asset(name: str) -> Path | None:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    path = Path(assets or "", name)
    return path if assets and path.exists() else None
