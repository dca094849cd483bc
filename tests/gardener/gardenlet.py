"""What gardenlet takes for a ContainerRuntime that is ready: the wait of its flow, to the letter.

Source: gardener/gardener v1.149.3, ``pkg/utils/kubernetes/health/extensions.go``.
"""

from __future__ import annotations

from datetime import datetime


def not_ready(runtime):
    """The first rule that fails, as a text; empty if the object is ready."""
    return next(_failing_rules(runtime), "")


def _failing_rules(runtime):
    metadata, status = runtime["metadata"], runtime.get("status", {})
    annotations = metadata.get("annotations", {})
    operation = status.get("lastOperation", {})
    if status.get("lastError") is not None:
        yield "error: " + status["lastError"]["description"]
    if status.get("observedGeneration", 0) != metadata["generation"]:
        yield "observed generation outdated"
    if "gardener.cloud/operation" in annotations:
        yield "operation annotation is still there"
    if operation.get("state") != "Succeeded":
        yield f"last operation is {operation.get('state', 'absent')}"
    if "gardener.cloud/timestamp" in annotations:
        asked = datetime.fromisoformat(annotations["gardener.cloud/timestamp"]).replace(microsecond=0)
        if asked > datetime.fromisoformat(operation["lastUpdateTime"]):
            yield "last operation is older than the request"
