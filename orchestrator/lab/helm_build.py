"""The build of Helm, from its published Go module, unchanged.

Without its release's labels Helm renders for a Kubernetes of years ago (``chartutil``'s default); the label here is
that of the client library that this version is built on, as its own Makefile sets it.
"""

from __future__ import annotations

import platform
from typing import Final

from orchestrator.gvisor.gomodule import ModuleBuild
from orchestrator.lab.kept_build import KeptBuild

VERSION: Final = "3.22.0"
_MODULE: Final = "helm.sh/helm/v3"
_KUBERNETES_MINOR: Final = 37
"""Of the ``k8s.io/client-go`` that its ``go.mod`` names."""


def helm() -> KeptBuild:
    """The build of ``helm`` for this machine. Its own ``go.sum`` pins all that it needs."""
    renders_for = " ".join(
        f"-X {_MODULE}/pkg/{package}.k8sVersionMajor=1 -X {_MODULE}/pkg/{package}.k8sVersionMinor={_KUBERNETES_MINOR}"
        for package in ("lint/rules", "chartutil")
    )
    return KeptBuild(
        "helm",
        ModuleBuild(
            label=f"Helm {VERSION}",
            path=_MODULE,
            version=f"v{VERSION}",
            sum="h1:n1if5iQgHYsujPAcO5oonH/KiSNUmqmUF0iGVjSF3AU=",
            programs={"helm": f"{_MODULE}/cmd/helm"},
            link=f"-s -w -X {_MODULE}/internal/version.version=v{VERSION} {renders_for}",
        ),
        platform.machine(),
    )
