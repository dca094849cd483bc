"""Gardener's parts for clusters of the lab, from its published Go module: its resource manager and its definitions.

``go.mod`` of ``github.com/gardener/gardener`` replaces the API by a directory beside it; outside that repository its
published module of the same version takes its place, with the sum in ``files/gardener-VERSION.sum``. The definitions
(CustomResourceDefinitions) lie in the module as files, are copied as they are, and belong into no repository of ours.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.gvisor.gomodule import ModuleBuild
from orchestrator.lab.kept_build import KeptBuild

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION: Final = "1.149.3"
_MODULE: Final = "github.com/gardener/gardener"
_API: Final = f"{_MODULE}/pkg/apis"
_SUM: Final = "h1:C+L/5df4m5PC/0yY332YK82X+R4ozDUdajGiZPsb7sQ="
_LABEL: Final = "k8s.io/component-base/version"

DEFINITIONS: Final = (
    "10-crd-extensions.gardener.cloud_clusters.yaml",
    "10-crd-extensions.gardener.cloud_containerruntimes.yaml",
    "10-crd-resources.gardener.cloud_managedresources.yaml",
)
"""The names of the files with the definitions."""

PACKAGING_DEFINITIONS: Final = {
    "extensions.yaml": "example/operator/10-crd-operator.gardener.cloud_extensions.yaml",
    "verticalpodautoscalers.yaml": "example/seed-crds/10-crd-autoscaling.k8s.io_verticalpodautoscalers.yaml",
}
"""The definitions that the chart and its registration are checked by, with their places in the module."""


def resource_manager() -> KeptBuild:
    """The build of ``gardener-resource-manager`` for this machine."""
    major, minor, _ = VERSION.split(".")
    link = f"-s -w -X {_LABEL}.gitVersion=v{VERSION} -X {_LABEL}.gitMajor={major} -X {_LABEL}.gitMinor={minor}"
    return KeptBuild(
        "gardener",
        ModuleBuild(
            label=f"Gardener {VERSION}",
            path=_MODULE,
            version=f"v{VERSION}",
            sum=_SUM,
            programs={"gardener-resource-manager": f"{_MODULE}/cmd/gardener-resource-manager"},
            link=f"{link} -X {_LABEL}/verflag.programName=Gardener",
            replacements={_API: f"v{VERSION}"},
            sums=(Path(__file__).parent / "files" / f"gardener-{VERSION}.sum").read_text(encoding="ascii"),
        ),
        platform.machine(),
    )


def definitions() -> KeptBuild:
    """The three definitions that a seed of the lab has: seconds, where the resource manager takes minutes."""
    return _files("gardener-definitions", {name: f"example/seed-crds/{name}" for name in DEFINITIONS})


def packaging_definitions() -> KeptBuild:
    """Those that the chart's tests need besides."""
    return _files("gardener-packaging-definitions", PACKAGING_DEFINITIONS)


def _files(name: str, files: Mapping[str, str]) -> KeptBuild:
    return KeptBuild(
        name,
        ModuleBuild(
            label=f"Gardener {VERSION}",
            path=_MODULE,
            version=f"v{VERSION}",
            sum=_SUM,
            programs={},
            link="",
            files=files,
        ),
        platform.machine(),
    )
