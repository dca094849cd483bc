"""How the nodes of pools are, asked of the clusters by somebody at a keyboard: once, or for as long as they watch.

A pool whose nodes cannot be looked at is told with the reason, beside the others. Nothing is changed anywhere.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from orchestrator.api.cluster import Cluster
from orchestrator.api.container_runtime import GVISOR, ContainerRuntime
from orchestrator.controller.kinds import CLUSTERS, CONTAINER_RUNTIMES
from orchestrator.controller.nodes.onlooker import look_on
from orchestrator.controller.nodes.target import Target
from orchestrator.controller.pool_inventory import has_clusters
from orchestrator.controller.pool_objects import NAMESPACE, wish_name
from orchestrator.errors import GvisorNodesError, InvalidInputError, NotReadyError
from orchestrator.kube import credentials
from orchestrator.kube.client import Client, Selection
from orchestrator.kube.reflector import Reflector
from orchestrator.kube.shoot_credentials import renewed_credentials, wants_external
from orchestrator.kube.store import key_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.api.view import RawObject
    from orchestrator.controller.nodes.report import Seen

ALL: Final = "all"
"""Instead of a name: every pool."""
_ANSWER: Final = 20.0  # seconds in which a cluster has to have told what there is
_AGAIN: Final = 15.0  # seconds until a cluster that could not be reached is asked again


@dataclass(frozen=True, slots=True)
class Sight:
    """What is seen of a pool.

    Attributes:
        pool: the ContainerRuntime, as namespace/name.
        seen: its nodes; None if they cannot be looked at.
        why: why not.
        asleep: whether that is because the Shoot is hibernated, which is no fault.
    """

    pool: str
    seen: Seen | None
    why: str = ""
    asleep: bool = False


class Survey:
    """Use it in a ``with`` block: it watches inside it.

    Args:
        name: of a ContainerRuntime, as namespace/name, or :data:`ALL`.
        kubeconfig: of the cluster that has it; empty for what the environment says.
        environment: the process's.

    Raises on entering:
        InvalidInputError: no such name, or no cluster is known.
        ApiError: the API server refuses, or the ContainerRuntime is not there.
        NotReadyError: it does not answer in time.
    """

    def __init__(self, name: str, kubeconfig: str, environment: Mapping[str, str]) -> None:
        self._namespace, slash, self._name = name.partition("/")
        if name == ALL:
            self._namespace = ""
        elif not (self._namespace and slash and self._name):
            raise InvalidInputError(
                f"{name!r} names no ContainerRuntime",
                why=f"it is written as namespace/name, or {ALL} for every pool",
                remedy="correct --cluster",
            )
        self._kubeconfig = kubeconfig
        self._environment = environment
        self._changed = threading.Event()
        self._blocks = ExitStack()
        self._targets: dict[str, Target] = {}
        self._refused: dict[str, tuple[float, str]] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            client = stack.enter_context(Client(credentials.default(self._kubeconfig, self._environment)))
            self._client = client
            self._standalone = not has_clusters(client)
            # What is refused is told now; a reflector would ask again for ever.
            if self._name:
                client.get(CONTAINER_RUNTIMES, self._name, self._namespace)
            else:
                next(client.pages(CONTAINER_RUNTIMES, limit=1))
            self._runtimes = Reflector(
                client, CONTAINER_RUNTIMES, selection=Selection(self._namespace), handlers=[_Any(self._changed)]
            )
            stack.callback(self._runtimes.stop)
            stack.callback(self._close)
            threading.Thread(target=self._runtimes.run, name="survey", daemon=True).start()
            if not self._runtimes.wait_synced(_ANSWER):
                raise NotReadyError("the API server does not list the ContainerRuntimes", why=f"within {_ANSWER:.0f} s")
            self._blocks = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._blocks.close()

    def sights(self) -> tuple[Sight, ...]:
        """All pools as they are now, by name."""
        self._changed.clear()
        return tuple(sorted(self._sights(), key=lambda one: one.pool))

    def wait(self) -> None:
        """Wait until something may have changed."""
        self._changed.wait(_AGAIN if self._refused else None)

    def _sights(self) -> Iterator[Sight]:
        for raw in self._runtimes.store.objects():
            if self._name and raw["metadata"]["name"] != self._name:
                continue
            pool = "/".join(key_of(raw))
            try:
                runtime = ContainerRuntime.read(raw)
                if runtime.spec.type == GVISOR:
                    yield self._sight(pool, runtime)
            except GvisorNodesError as error:
                yield Sight(pool, None, error.line)

    def _sight(self, pool: str, runtime: ContainerRuntime) -> Sight:
        if self._asleep(runtime.namespace):
            return Sight(pool, None, "the Shoot is hibernated", asleep=True)
        target = self._target(runtime.namespace)
        seen = look_on(
            runtime,
            target.wish((NAMESPACE, wish_name(runtime.spec.worker_pool.name))),
            target.nodes(),
            target.jobs.objects(),
            target.pods.objects(),
            now=time.time(),
            standalone=self._standalone,
            owns=self._owns,
        )
        return Sight(pool, seen)

    def _asleep(self, namespace: str) -> bool:
        if self._standalone:
            return False
        raw = self._client.find(CLUSTERS, namespace)
        return raw is not None and Cluster.read(raw).shoot.hibernating

    def _owns(self, owner: str) -> bool:
        namespace, _, name = owner.partition("/")
        raw = self._runtimes.store.get((namespace, name))
        return raw is not None and not raw["metadata"].get("deletionTimestamp")

    def _target(self, namespace: str) -> Target:
        """The cluster with the nodes, watched; not asked again at once where that has just failed."""
        place = "" if self._standalone else namespace
        if place in self._targets:
            return self._targets[place]
        at, why = self._refused.get(place, (-_AGAIN, ""))
        if time.monotonic() - at < _AGAIN:
            raise NotReadyError("its nodes cannot be looked at", why=why)
        try:
            found = self._open(namespace)
        except GvisorNodesError as error:
            self._refused[place] = (time.monotonic(), error.line)
            raise NotReadyError("its nodes cannot be looked at", why=error.line) from error
        self._refused.pop(place, None)
        self._targets[place] = found
        return found

    def _open(self, namespace: str) -> Target:
        if self._standalone:
            client = self._client.sibling()
        else:
            external = wants_external(self._environment)
            client = Client(renewed_credentials(self._client, namespace, external=external))
        target = Target(client, self._changed.set)
        target.start()
        if not target.wait_synced(_ANSWER):
            target.stop()
            raise NotReadyError("their API server does not list them", why=f"within {_ANSWER:.0f} s")
        return target

    def _close(self) -> None:
        for target in self._targets.values():
            target.stop()


class _Any:
    """A handler for which every change is one."""

    def __init__(self, changed: threading.Event) -> None:
        self._changed = changed

    def added(self, raw: RawObject) -> None:  # noqa: ARG002 - the handler's signature
        self._changed.set()

    def updated(self, before: RawObject, after: RawObject) -> None:  # noqa: ARG002 - the handler's signature
        self._changed.set()

    def deleted(self, raw: RawObject) -> None:  # noqa: ARG002 - the handler's signature
        self._changed.set()
