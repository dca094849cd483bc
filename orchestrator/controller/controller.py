"""The controller: what it sees, the queue in between, and the threads that work on it.

Reflectors run from the start, also in a replica that does not lead, so that it can take over at once. Work begins with
everything that is not as it was asked for and ends with what is under way; what waits then is the successor's.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from orchestrator.api import cluster, managed_resource
from orchestrator.api.cluster import Cluster
from orchestrator.api.managed_resource import ManagedResource
from orchestrator.controller.direct_delivery import DirectDelivery
from orchestrator.controller.health import health
from orchestrator.controller.installation import Installation
from orchestrator.controller.intake import Intake
from orchestrator.controller.kinds import CLUSTERS, CONTAINER_RUNTIMES, MANAGED_RESOURCES
from orchestrator.controller.managed_resource import ORIGIN
from orchestrator.controller.nodes.job_executor import JobExecutor
from orchestrator.controller.nodes.loop import LoopOptions, NodeLoop
from orchestrator.controller.nodes.mark import gate
from orchestrator.controller.nodes.pool_pass import NodeSettings
from orchestrator.controller.nodes.report import Report, recorded, report
from orchestrator.controller.nodes.ssh_executor import SshExecutor, key_source
from orchestrator.controller.nodes.ssh_runs import SshRuns
from orchestrator.controller.nodes.ssh_settings import SshSettings
from orchestrator.controller.nodes.target import Target
from orchestrator.controller.reconciler import Reconciler
from orchestrator.controller.seed_delivery import SeedDelivery
from orchestrator.controller.seed_objects import SHARED, pool_name
from orchestrator.controller.verb import TriggerMode
from orchestrator.kube.backoff import ItemBackoff
from orchestrator.kube.client import EVERYTHING, Client, Selection
from orchestrator.kube.reflector import Reflector
from orchestrator.kube.shoot_credentials import renewed_credentials
from orchestrator.kube.work_queue import WorkQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from orchestrator.api.container_runtime import ContainerRuntime
    from orchestrator.api.view import RawObject
    from orchestrator.controller.conditions import Observation
    from orchestrator.controller.delivery import Delivery
    from orchestrator.controller.metrics import Metrics
    from orchestrator.controller.nodes.run import Executor
    from orchestrator.controller.nodes.settings import NodesOptions
    from orchestrator.kube.events import EventType
    from orchestrator.kube.resource import Resource
    from orchestrator.kube.store import Handler, Key

_log = logging.getLogger(__name__)

# Seconds. client-go's thousand would leave an object alone for longer than gardenlet waits, five times over.
_LONGEST_BACKOFF: Final = 60.0
_OURS: Final = Selection(labels=f"origin={ORIGIN}")


@dataclass(frozen=True, slots=True)
class Options:
    """What the operator decides.

    Attributes:
        installation: what holds for every pool.
        standalone: whether this is a cluster without Gardener: no Cluster objects, no resource manager.
        classes: the extension classes of this controller.
        mode: what triggers.
        workers: how many objects are worked on at once.
        patience: seconds that the resource manager may take to remove something before that is an error; gardenlet
            gives up after 180.
        nodes: how nodes are looked after; None if nobody does.
    """

    installation: Installation = field(default_factory=Installation)
    standalone: bool = False
    classes: Sequence[str] = ()
    mode: TriggerMode = TriggerMode.ANNOTATION
    workers: int = 5
    patience: float = 120.0
    nodes: NodesOptions | None = None


class Controller:
    """Use :meth:`watching` around :meth:`lead`.

    Args:
        client: of the seed, or of the one cluster without Gardener.
        options: what the operator decides.
        metrics: told what happens.
        tell: makes an event of an object: type, reason, message.
    """

    def __init__(
        self,
        client: Client,
        options: Options = Options(),
        *,
        metrics: Metrics | None = None,
        tell: Callable[[RawObject, EventType, str, str], None] | None = None,
    ) -> None:
        self._options = options
        self.queue: WorkQueue[Key] = WorkQueue(
            backoff=ItemBackoff(maximum=_LONGEST_BACKOFF),
            metrics=metrics.queue("containerruntime") if metrics else None,
        )
        delivery = DirectDelivery if options.standalone else SeedDelivery
        self.delivery: Delivery = delivery(client, options.installation)
        self._client = client
        self._ssh = (options.nodes.ssh if options.nodes is not None else None) or SshSettings()
        self._ssh_runs = SshRuns(self._ssh.at_once)
        self._nodes = self._node_loop(options, options.nodes, metrics, tell) if options.nodes is not None else None
        self._reconciler = Reconciler(
            client,
            self.delivery,
            self._cluster_of,
            classes=options.classes,
            mode=options.mode,
            patience=options.patience,
            observe=metrics.reconciled if metrics else None,
            tell=tell,
            look=self._look,
            nodes=self._nodes,
        )
        self._intake = Intake(
            self.queue.add,
            self._runtimes_in,
            classes=options.classes,
            mode=options.mode,
            is_news=self._is_news,
        )

        def reflector(
            resource: Resource,
            handlers: Sequence[Handler],
            trim: Callable[[RawObject], RawObject] | None = None,
            selection: Selection = EVERYTHING,
        ) -> Reflector:
            return Reflector(
                client,
                resource,
                selection=selection,
                handlers=handlers,
                trim=trim,
                restarted=metrics.watch_restarts(resource) if metrics else None,
            )

        nodes = self._nodes
        self._runtimes: Reflector = reflector(
            CONTAINER_RUNTIMES, [self._intake.runtimes, *([nodes.runtimes] if nodes else [])]
        )
        self._clusters = reflector(
            CLUSTERS, [self._intake.clusters, *([nodes.clusters] if nodes else [])], cluster.essential
        )
        self._resources = reflector(MANAGED_RESOURCES, [self._intake.resources], managed_resource.essential, _OURS)
        watched = {CONTAINER_RUNTIMES: self._runtimes}
        if not options.standalone:
            watched |= {CLUSTERS: self._clusters, MANAGED_RESOURCES: self._resources}
        self._reflectors = {
            resource.plural: (one, threading.Thread(target=one.run, name=f"watch-{resource.plural}", daemon=True))
            for resource, one in watched.items()
        }

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Keep what is seen up to date for as long as the block lasts."""
        for _, thread in self._reflectors.values():
            thread.start()
        try:
            yield
        finally:
            for reflects, _ in self._reflectors.values():
                reflects.stop()

    @property
    def unready(self) -> str:
        """What has not been seen yet, or nothing."""
        missing = [name for name, (reflects, _) in self._reflectors.items() if not reflects.synced]
        return f"not listed yet: {', '.join(missing)}" if missing else ""

    @property
    def unhealthy(self) -> str:
        """Which thread has ended that never should, or nothing."""
        dead = [thread.name for _, thread in self._reflectors.values() if thread.ident and not thread.is_alive()]
        return f"ended: {', '.join(dead)}" if dead else ""

    def wait_ready(self, stop: threading.Event) -> bool:
        """Wait until everything has been seen; tell whether that came before ``stop``."""
        return all(_synced(reflects, stop) for reflects, _ in self._reflectors.values())

    def lead(self, stop: threading.Event) -> None:
        """Work until ``stop`` is set; return when what was under way then is done."""
        workers = [
            threading.Thread(target=self._work, args=(stop,), name=f"worker-{number}", daemon=True)
            for number in range(self._options.workers)
        ]
        if self._nodes is not None:
            workers.append(threading.Thread(target=self._nodes.lead, args=(stop,), name="nodes", daemon=True))
        for worker in workers:
            worker.start()
        self._intake.open()
        stop.wait()
        self._intake.close()
        self.queue.shut_down()
        for worker in workers:
            worker.join()
        self._ssh_runs.close()

    def _node_loop(
        self,
        options: Options,
        nodes: NodesOptions,
        metrics: Metrics | None,
        tell: Callable[[RawObject, EventType, str, str], None] | None,
    ) -> NodeLoop:
        settings = NodeSettings(
            options.standalone,
            gate(standalone=options.standalone, taint=nodes.startup_taint),
            nodes.timeout,
            nodes.pace,
        )

        def site_of(namespace: str, wake: Callable[[], None]) -> tuple[Target, Executor]:
            if options.standalone:
                client = self._client.sibling()
            else:
                observe = metrics.api_requests("shoot") if metrics is not None else None
                client = Client(renewed_credentials(self._client, namespace, external=nodes.external), observe=observe)
            target = Target(client, wake, metrics)
            if nodes.job is not None:
                return target, JobExecutor(client, target.jobs, target.pods, nodes.job)
            return target, self._ssh_executor("" if options.standalone else namespace, wake)

        return NodeLoop(
            self._runtimes_in,
            self._runtime_of,
            self._cluster_of,
            site_of,
            LoopOptions(settings, options.classes, nodes.patience, nodes.running_pods),
            wake=self._news_of_nodes,
            tell=tell,
            metrics=metrics,
        )

    def _ssh_executor(self, place: str, wake: Callable[[], None]) -> SshExecutor:
        def allowed() -> bool:
            cluster = self._cluster_of(place)
            return cluster is not None and cluster.shoot.ssh_access

        keys = key_source(self._ssh, self._client, place)
        return SshExecutor(self._ssh_runs, place, keys, self._ssh, allowed=allowed, wake=wake)

    def _work(self, stop: threading.Event) -> None:
        while (key := self.queue.get()) is not None:
            try:
                if not stop.is_set():
                    self._reconcile(key)
            finally:
                self.queue.done(key)

    def _reconcile(self, key: Key) -> None:
        try:
            ended = self._reconciler.reconcile(key, self.queue.retries(key))
        except Exception:  # noqa: BLE001 - it is logged where it is known what it was about, and must not end a worker
            self.queue.add_rate_limited(key)
            return
        self.queue.forget(key)
        if ended.again is not None:
            self.queue.add_after(key, ended.again)

    def _news_of_nodes(self, key: Key) -> None:
        if (raw := self._runtime_of(key)) is not None:
            self._intake.news(raw)

    def _runtimes_in(self, namespace: str) -> Iterable[RawObject]:
        return self._runtimes.store.objects(namespace)

    def _runtime_of(self, key: Key) -> RawObject | None:
        return self._runtimes.store.get(key)

    def _cluster_of(self, namespace: str) -> Cluster | None:
        if self._options.standalone:
            return Cluster()
        raw = self._clusters.store.get(("", namespace))
        return Cluster.read(raw) if raw is not None else None

    def _look(self, runtime: ContainerRuntime) -> Report:
        shoot = self._cluster_of(runtime.namespace)
        if shoot is None:
            return Report()
        nodes = self._nodes.seen((runtime.namespace, runtime.name)) if self._nodes is not None else None
        return report(
            runtime,
            shoot,
            nodes,
            self._health_of(runtime, shoot),
            standalone=self._options.standalone,
            attended=self._nodes is not None,
        )

    def _health_of(self, runtime: ContainerRuntime, shoot: Cluster) -> Observation | None:
        if self._options.standalone:
            return None
        found = (self._resources.store.get((runtime.namespace, name)) for name in (SHARED, pool_name(runtime)))
        resources = [ManagedResource.read(raw) if raw is not None else None for raw in found]
        return health(runtime, resources, shoot)

    def _is_news(self, runtime: ContainerRuntime) -> bool:
        return bool(recorded(runtime, self._look(runtime), datetime.now(UTC)))


def _synced(reflector: Reflector, stop: threading.Event) -> bool:
    while not stop.is_set():
        if reflector.wait_synced(1.0):
            return True
    return False
