"""Helm, called for the lab and the tests without anything of the caller's own: no home, no cluster but a named one.

What is built and where it is: :mod:`orchestrator.lab.helm_build`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from orchestrator.lab.control_plane import program
from orchestrator.lab.helm_build import helm
from orchestrator.lab.program import call

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CHART: Final = Path(__file__).parents[2] / "charts" / "gvisor-nodes"
"""The chart of this checkout."""

_SECONDS: Final = 120.0


class Helm:
    """Renders a chart, or installs it in one cluster.

    Args:
        directory: its own; Helm's caches and the files with values are there.
        kubeconfig: of the cluster; none is needed to render.

    Raises of every method:
        MissingComponentError: Helm is not built.
        GvisorNodesError: Helm says no; its own words are in it.
    """

    def __init__(self, directory: Path, kubeconfig: Path | None = None) -> None:
        self._directory = directory
        self._kubeconfig = kubeconfig

    def template(
        self,
        release: str,
        namespace: str,
        values: Mapping[str, Any] | None = None,
        *,
        chart: Path = CHART,
        api_versions: Sequence[str] = (),
    ) -> list[dict[str, Any]]:
        """Return the objects that a release would have, as the API server would be sent them.

        Args:
            release: its name.
            namespace: where it would be.
            values: over those of the chart.
            chart: a directory or a package.
            api_versions: what the cluster is taken to serve besides Kubernetes' own.
        """
        served = (f"--api-versions={one}" for one in api_versions)
        argv = ("template", release, str(chart), "--namespace", namespace, *self._values(values), *served)
        return [one for one in yaml.safe_load_all(self._call(*argv)) if one is not None]

    def lint(self, values: Mapping[str, Any] | None = None, *, chart: Path = CHART) -> str:
        """Return what Helm says of a chart; warnings are errors."""
        return self._call("lint", "--strict", str(chart), *self._values(values))

    def install(
        self, release: str, namespace: str, values: Mapping[str, Any] | None = None, *, chart: Path = CHART
    ) -> str:
        """Install or upgrade a release in a namespace that is made if need be; return what its notes say."""
        argv = ("upgrade", "--install", release, str(chart), "--namespace", namespace, "--create-namespace")
        return self._call(*argv, *self._values(values))

    def uninstall(self, release: str, namespace: str) -> None:
        """Take a release away."""
        self._call("uninstall", release, "--namespace", namespace)

    def _values(self, values: Mapping[str, Any] | None) -> tuple[str, ...]:
        if not values:
            return ()
        self._directory.mkdir(parents=True, exist_ok=True)
        path = self._directory / "values.json"
        path.write_text(json.dumps(values), encoding="utf-8")
        return ("--values", str(path))

    def _call(self, *arguments: str) -> str:
        # Nothing of the caller's own Helm and cluster is read, nothing is written there.
        homes = {f"HELM_{kind}_HOME": str(self._directory / kind.lower()) for kind in ("CACHE", "CONFIG", "DATA")}
        environment = {**homes, "KUBECONFIG": str(self._kubeconfig or "/dev/null")}
        argv = (str(program(helm())), *arguments)
        what = f"helm {arguments[0]} failed"
        return call(argv, what=what, environment=environment, timeout=_SECONDS).stdout
