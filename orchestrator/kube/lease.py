"""Leases as Kubernetes' leader election writes and reads them. Pure.

Source: kubernetes/client-go v0.37 ``tools/leaderelection``; the Lease of a heartbeat: gardener/gardener v1.149.3
``extensions/pkg/controller/heartbeat/reconciler.go``.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from orchestrator.kube.resource import Resource, version_of

if TYPE_CHECKING:
    from orchestrator.api.merge_patch import Patch
    from orchestrator.api.view import RawObject

LEASES: Final = Resource("coordination.k8s.io", "v1", "leases", "Lease")


def micro_time(moment: datetime) -> str:
    """An aware moment as Kubernetes' ``MicroTime`` has it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def new_lease(namespace: str, name: str, spec: RawObject) -> RawObject:
    """A Lease to create."""
    return {
        "apiVersion": LEASES.api_version,
        "kind": LEASES.kind,
        "metadata": {"namespace": namespace, "name": name},
        "spec": dict(spec),
    }


def holder_of(lease: RawObject) -> str:
    """Who holds it; empty if nobody does."""
    return str(_spec(lease).get("holderIdentity") or "")


def may_take(lease: RawObject, identity: str, unchanged: float) -> bool:
    """Whether ``identity`` may hold this Lease from now on.

    Args:
        lease: as it is.
        identity: who wants it.
        unchanged: seconds, by the clock of who wants it, in which nobody renewed it. What the Lease says of times is
            never compared with a clock: those of two machines differ.
    """
    return holder_of(lease) in {"", identity} or unchanged > float(_spec(lease).get("leaseDurationSeconds") or 0)


def held_spec(lease: RawObject | None, identity: str, now: datetime, seconds: int) -> dict[str, Any]:
    """The spec of a Lease that ``identity`` takes or renews."""
    before = _spec(lease or {})
    moment = micro_time(now)
    renewed = bool(identity) and before.get("holderIdentity") == identity
    transitions = int(before.get("leaseTransitions") or 0)
    return {
        "holderIdentity": identity,
        "leaseDurationSeconds": seconds,
        "renewTime": moment,
        "acquireTime": before.get("acquireTime") or moment if renewed else moment,
        "leaseTransitions": transitions if renewed or not before else transitions + 1,
    }


def released_spec(now: datetime) -> dict[str, Any]:
    """What a holder that goes leaves behind, so that the next one need not wait."""
    return {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": micro_time(now)}


def locked(lease: RawObject, spec: RawObject) -> Patch:
    """A patch that applies only if nobody has changed the Lease since it was read."""
    return {"metadata": {"resourceVersion": version_of(lease)}, "spec": dict(spec)}


def _spec(lease: RawObject) -> RawObject:
    spec: RawObject = lease.get("spec") or {}
    return spec
