"""The inventory of a pool: the nodes that its ContainerRuntime selects, and what the controller wants of them.

Where the nodes are depends on the cluster: a seed has the ContainerRuntime and a Shoot's API server the nodes; without
Gardener both are in one. What is wanted is the ConfigMap that the controller delivered, not what this machine would
make of the object: the operator's release and policy are in it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.api.container_runtime import ContainerRuntime
from orchestrator.api.node import Node
from orchestrator.controller.kinds import CLUSTERS, CONFIG_MAPS, CONTAINER_RUNTIMES, NODES
from orchestrator.controller.pool_objects import NAMESPACE, wish_name, wished_variables
from orchestrator.errors import InvalidInputError, NotReadyError, RefusedError
from orchestrator.kube import credentials
from orchestrator.kube.api_error import AbsentError
from orchestrator.kube.client import Client
from orchestrator.kube.shoot_credentials import shoot_credentials, wants_external
from orchestrator.planning.inventory import InventoryHost

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from orchestrator.api.view import RawObject


@dataclass(frozen=True, slots=True)
class PoolInventory:
    """Hosts by the names of their Nodes, and the playbooks' variables for all of them."""

    hosts: tuple[InventoryHost, ...]
    variables: Mapping[str, object]


def pool_hosts(runtime: ContainerRuntime, nodes: Iterable[Node], *, standalone: bool) -> tuple[InventoryHost, ...]:
    """The nodes of a pool, sorted by name. Pure.

    Args:
        runtime: selects them.
        nodes: all there are.
        standalone: whether containerd is told by the kubelet alone; Gardener labels its nodes.
    """
    picked = (node for node in nodes if selects(runtime, node, standalone=standalone))
    hosts = (InventoryHost(name=node.name, address=node.address or None) for node in picked)
    return tuple(sorted(hosts, key=lambda host: host.name))


def selects(runtime: ContainerRuntime, node: Node, *, standalone: bool) -> bool:
    """Whether a Node is of the pool and runs containerd; arguments as for :func:`pool_hosts`. Pure."""
    pool, labels = runtime.spec.worker_pool, node.metadata.labels
    return pool.selector.matches(labels) and node.runs_containerd if standalone else pool.selects(labels)


def read_pool(name: str, kubeconfig: str, environment: Mapping[str, str]) -> PoolInventory:
    """Ask the clusters for a pool.

    Args:
        name: of the ContainerRuntime, as namespace/name.
        kubeconfig: of the cluster that has it; empty for what the environment says.
        environment: the process's.

    Raises:
        InvalidInputError: no such name, or no cluster is known.
        NotReadyError: the controller has not delivered what it wants, or the Shoot cannot be reached yet.
        RefusedError: the pool has no node.
        ApiError: an API server refuses, or the ContainerRuntime is not there.
    """
    namespace, slash, short = name.partition("/")
    if not (namespace and slash and short):
        raise InvalidInputError(
            f"{name!r} names no ContainerRuntime", why="it is written as namespace/name", remedy="correct --cluster"
        )
    with Client(credentials.default(kubeconfig, environment)) as client:
        runtime = ContainerRuntime.read(client.get(CONTAINER_RUNTIMES, short, namespace))
        standalone = not has_clusters(client)
        with _target(client, namespace, environment, standalone=standalone) as target:
            variables = wished_variables(_wish(target, runtime))
            nodes = [Node.read(raw) for page in target.pages(NODES) for raw in page.items]
    hosts = pool_hosts(runtime, nodes, standalone=standalone)
    if not hosts:
        raise RefusedError(
            f"the pool {runtime.spec.worker_pool.name} has no node",
            why=f"of {len(nodes)} nodes none has the labels of {name} and containerd",
            remedy="look at spec.workerPool.selector and the labels of the nodes",
        )
    return PoolInventory(hosts, variables)


def has_clusters(client: Client) -> bool:
    """Whether this is a seed."""
    try:
        next(client.pages(CLUSTERS, limit=1))
    except AbsentError:
        return False
    return True


@contextmanager
def _target(client: Client, namespace: str, environment: Mapping[str, str], *, standalone: bool) -> Iterator[Client]:
    """The client of the cluster with the nodes."""
    if standalone:
        yield client
        return
    with Client(shoot_credentials(client, namespace, external=wants_external(environment))) as target:
        yield target


def _wish(target: Client, runtime: ContainerRuntime) -> RawObject:
    name = wish_name(runtime.spec.worker_pool.name)
    try:
        return target.get(CONFIG_MAPS, name, NAMESPACE)
    except AbsentError as error:
        raise NotReadyError(
            f"what the nodes of {runtime.spec.worker_pool.name} shall be is not known yet",
            why=f"there is no ConfigMap {NAMESPACE}/{name}",
            remedy="look at the status of the ContainerRuntime, and whether the controller runs",
        ) from error
