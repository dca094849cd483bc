"""What a worker pool has in its Shoot: the wish for its nodes, and the account its Jobs run under. Pure.

Why these and no others is ADR 0014. There is no DaemonSet: nodes are provisioned by one Job each, made when a node
needs it. Those Jobs find their variables here, in the words of the playbooks.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from orchestrator.planning.desired import DesiredState, read_variables

if TYPE_CHECKING:
    from orchestrator.api.container_runtime import ContainerRuntime
    from orchestrator.api.view import RawObject
    from orchestrator.controller.installation import Installation
    from orchestrator.controller.pool_settings import PoolSettings

NAMESPACE: Final = "kube-system"
"""Exempt from PodSecurity in a Shoot: a Job that changes its node is privileged."""


def pool_objects(
    runtime: ContainerRuntime, settings: PoolSettings, installation: Installation
) -> tuple[RawObject, ...]:
    """The objects of one pool, in the order in which they are wanted.

    Args:
        runtime: names the pool and the directory on its nodes.
        settings: what its configuration came to.
        installation: what holds for every pool.

    Raises:
        InvalidInputError: the directory, or the installation, is not valid.
    """
    variables = pool_variables(runtime, settings, installation)
    desired, _ = read_variables(variables, installation.release)
    metadata = _metadata(runtime.spec.worker_pool.name)
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata,
        "automountServiceAccountToken": False,
    }
    wish = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": _data(variables, desired)}
    return account, wish


def pool_variables(runtime: ContainerRuntime, settings: PoolSettings, installation: Installation) -> dict[str, Any]:
    """The playbooks' variables for the nodes of a pool, as JSON has them."""
    return {
        "runsc_release": installation.release,
        "runsc_flags": dict(settings.flags),
        "runsc_flags_policy": dict(installation.flags_policy),
        "runsc_directory": runtime.spec.binary_path,
    }


def _metadata(pool: str) -> dict[str, Any]:
    return {
        "name": f"gvisor-nodes-{pool}",
        "namespace": NAMESPACE,
        "labels": {"app.kubernetes.io/name": "gvisor-nodes", "worker.gardener.cloud/pool": pool},
    }


def _data(variables: dict[str, Any], desired: DesiredState) -> dict[str, str]:
    return {
        "fingerprint": desired.fingerprint,
        "flags": desired.flags_file,
        "variables.json": json.dumps(variables, sort_keys=True, indent=2) + "\n",
    }
