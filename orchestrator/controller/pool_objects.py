"""What a worker pool has in its Shoot: the wish for its nodes, and the account its Jobs run under. Pure.

Why these and no others is ADR 0014. There is no DaemonSet: nodes are provisioned by one Job each, made when a node
needs it. Those Jobs find their variables here, in the words of the playbooks.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from orchestrator.errors import InvalidInputError
from orchestrator.planning.desired import DesiredState, read_variables

if TYPE_CHECKING:
    from orchestrator.api.container_runtime import ContainerRuntime
    from orchestrator.api.view import RawObject
    from orchestrator.controller.installation import Installation
    from orchestrator.controller.pool_settings import PoolSettings

VARIABLES: Final = "variables.json"
"""The key of the playbooks' variables in the ConfigMap."""
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


def wish_name(pool: str) -> str:
    """The name of what a pool has in its cluster."""
    return f"gvisor-nodes-{pool}"


def wished_variables(wish: RawObject) -> dict[str, Any]:
    """The playbooks' variables that a pool's ConfigMap holds.

    Raises:
        InvalidInputError: it holds none; somebody else has written it.
    """
    try:
        variables = json.loads((wish.get("data") or {})[VARIABLES])
    except (KeyError, ValueError):
        variables = None
    if not isinstance(variables, dict):
        raise InvalidInputError(
            f"the ConfigMap {wish['metadata']['name']} holds no variables",
            why=f"its data has no {VARIABLES} with a JSON object",
            remedy="delete it and let the controller write it again: annotate the ContainerRuntime with"
            " gardener.cloud/operation=reconcile",
        )
    return variables


def _metadata(pool: str) -> dict[str, Any]:
    return {
        "name": wish_name(pool),
        "namespace": NAMESPACE,
        "labels": {"app.kubernetes.io/name": "gvisor-nodes", "worker.gardener.cloud/pool": pool},
    }


def _data(variables: dict[str, Any], desired: DesiredState) -> dict[str, str]:
    return {
        "fingerprint": desired.fingerprint,
        "flags": desired.flags_file,
        VARIABLES: json.dumps(variables, sort_keys=True, indent=2) + "\n",
    }
