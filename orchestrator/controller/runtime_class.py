"""The RuntimeClass that pods name. Pure.

Its nodeSelector is the label that Gardener gives to every Node of a pool with gVisor, and tells the autoscaler of pools
without a Node; a label of our own would keep such a pool at zero for ever. Source: gardener-extension-runtime-gvisor
v0.45.0, ``charts/internal/gvisor/templates/runtimeclass-gvisor.yaml``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.api import gardener

if TYPE_CHECKING:
    from orchestrator.api.view import RawObject

RUNTIME_CLASS: Final[RawObject] = {
    "apiVersion": "node.k8s.io/v1",
    "kind": "RuntimeClass",
    "metadata": {"name": "gvisor"},
    "handler": "runsc",
    "scheduling": {"nodeSelector": {gardener.RUNTIME_LABEL: "true"}},
}
