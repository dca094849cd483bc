"""What Prometheus can ask this process.

The names and buckets of the work queues' are those of controller-runtime, so dashboards made for Go controllers show
this one too. Source: kubernetes-sigs/controller-runtime ``pkg/internal/metrics/workqueue.go``, at 0e7914b9. The label
``controller`` is left out, which has the same value as ``name`` there, and so are the two metrics of unfinished work,
which :class:`~orchestrator.kube.work_queue.QueueMetrics` does not tell.

No label has a value that comes from an object or a server as it is: each is one of a few known ones, or ``other``. So
the number of series does not grow with the number of Shoots, and names of Shoots are in logs only.
"""

from __future__ import annotations

from collections import Counter as Counted
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.process_collector import ProcessCollector

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from orchestrator.controller.verb import Verb
    from orchestrator.kube.resource import Resource

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
"""Of :meth:`Metrics.exposition`."""

_OTHER: Final = "other"
_NO_VERB: Final = "none"
_UNANSWERED: Final = "error"
_API_VERBS: Final = frozenset({"get", "list", "watch", "create", "patch", "delete"})
# As orchestrator.kube.reflector tells them.
_WATCH_REASONS: Final = frozenset({"start", "ended", "broken", "expired", "silent", "refused"})
_QUEUE_BUCKETS: Final = tuple(10.0**exponent for exponent in range(-8, 4))
# A reconcile is a few requests; Gardener gives up on an object after three minutes.
_RECONCILE_BUCKETS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0)
# A run is some ten seconds; its deadline is minutes.
_RUN_BUCKETS: Final = (2.5, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
NODE_STATES: Final = ("Ready", "Pending", "Running", "Failed", "NodeNotReady", "ClaimedByOther", "Removing")
_ACTIONS: Final = frozenset({"apply", "remove"})
_OUTCOMES: Final = frozenset(
    {"ok", "changed", "failed", "refused", "invalid", "unreachable", "interrupted", "unknown", "unproved"}
)

type Cluster = Literal["seed", "shoot"]
"""Which kind of API server is asked; standalone there is only a ``seed``."""


class Result(StrEnum):
    """How a reconcile ended."""

    SUCCEEDED = "succeeded"
    """What the verb is about is done."""
    NOTHING = "nothing"
    """Nothing was to be done."""
    WAITING = "waiting"
    """Something that it depends on is not ready, and it is tried again."""
    FAILED = "failed"
    """An error; it is tried again."""


@dataclass(frozen=True, slots=True)
class Series:
    """A metric as it is documented and made.

    Attributes:
        name: as Prometheus shows it.
        kind: its type.
        meaning: one sentence.
        labels: their names.
        buckets: upper bounds of a histogram, in seconds.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


DEPTH: Final = Series("workqueue_depth", "gauge", "Keys that wait.", ("name",))
ADDS: Final = Series("workqueue_adds_total", "counter", "Keys that came.", ("name",))
RETRIES: Final = Series("workqueue_retries_total", "counter", "Keys that failed and come again.", ("name",))
WAITED: Final = Series(
    "workqueue_queue_duration_seconds",
    "histogram",
    "How long a key waited before it was worked on.",
    ("name",),
    _QUEUE_BUCKETS,
)
WORKED: Final = Series(
    "workqueue_work_duration_seconds", "histogram", "How long work on a key took.", ("name",), _QUEUE_BUCKETS
)
RECONCILES: Final = Series(
    "gvisor_nodes_reconcile_total", "counter", "Reconciles of ContainerRuntimes that ended.", ("verb", "result")
)
RECONCILE_SECONDS: Final = Series(
    "gvisor_nodes_reconcile_duration_seconds",
    "histogram",
    "How long a reconcile of a ContainerRuntime took.",
    ("verb",),
    _RECONCILE_BUCKETS,
)
WATCH_RESTARTS: Final = Series(
    "gvisor_nodes_watch_restarts_total",
    "counter",
    "Lists and watches that were begun, and why.",
    ("resource", "reason"),
)
API_REQUESTS: Final = Series(
    "gvisor_nodes_api_requests_total",
    "counter",
    f"Requests to API servers; the code is {_UNANSWERED} where there was no answer.",
    ("cluster", "verb", "code"),
)
LEADER: Final = Series("gvisor_nodes_leader", "gauge", "1 while this process is the one that works, else 0.")

NODES: Final = Series("gvisor_nodes_nodes", "gauge", "Nodes of pools that want gVisor, by how they are.", ("state",))
RUNS: Final = Series("gvisor_nodes_runs_total", "counter", "Runs on nodes that ended.", ("action", "outcome"))
RUN_SECONDS: Final = Series(
    "gvisor_nodes_run_duration_seconds",
    "histogram",
    "From the claim of a node to the record of its run's result.",
    ("action",),
    _RUN_BUCKETS,
)

ALL: Final = (
    DEPTH,
    ADDS,
    RETRIES,
    WAITED,
    WORKED,
    RECONCILES,
    RECONCILE_SECONDS,
    WATCH_RESTARTS,
    API_REQUESTS,
    LEADER,
    NODES,
    RUNS,
    RUN_SECONDS,
)
"""Everything but what is known of any process (``process_…``)."""


class Metrics:
    """The metrics of one process, in a registry of their own. Safe for threads."""

    def __init__(self) -> None:
        # When each series began: twice as many lines, in a form that only OpenMetrics can use.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        registry = self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=registry)
        self._depth = _gauge(registry, DEPTH)
        self._adds = _counter(registry, ADDS)
        self._retries = _counter(registry, RETRIES)
        self._waited = _histogram(registry, WAITED)
        self._worked = _histogram(registry, WORKED)
        self._reconciles = _counter(registry, RECONCILES)
        self._reconcile_seconds = _histogram(registry, RECONCILE_SECONDS)
        self._watch_restarts = _counter(registry, WATCH_RESTARTS)
        self._api_requests = _counter(registry, API_REQUESTS)
        self._leader = _gauge(registry, LEADER)
        self._nodes = _gauge(registry, NODES)
        self._runs = _counter(registry, RUNS)
        self._run_seconds = _histogram(registry, RUN_SECONDS)

    def exposition(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self._registry)

    def queue(self, name: str) -> MeasuredQueue:
        """What a work queue tells.

        Args:
            name: of the queue; a constant of the code.
        """
        return MeasuredQueue(
            depth=self._depth.labels(name),
            adds=self._adds.labels(name),
            waited=self._waited.labels(name),
            worked=self._worked.labels(name),
            retries=self._retries.labels(name),
        )

    def reconciled(self, verb: Verb | None, result: Result, seconds: float) -> None:
        """A reconcile ended.

        Args:
            verb: what was done; None if nothing was, or it failed before that was known.
            result: how.
            seconds: how long it took.
        """
        word = verb.value if verb else _NO_VERB
        self._reconciles.labels(word, result.value).inc()
        self._reconcile_seconds.labels(word).observe(seconds)

    def watch_restarts(self, resource: Resource) -> Callable[[str], None]:
        """What a reflector of this resource is given as ``restarted``."""

        def restarted(reason: str) -> None:
            self._watch_restarts.labels(resource.plural, _known(reason, _WATCH_REASONS)).inc()

        return restarted

    def api_requests(self, cluster: Cluster) -> Callable[[str, int], None]:
        """What a client is given as ``observe``."""

        def observe(verb: str, status: int) -> None:
            self._api_requests.labels(cluster, _known(verb, _API_VERBS), _code(status)).inc()

        return observe

    def nodes(self, states: Iterable[str]) -> None:
        """Say how all nodes are, one word of :class:`~orchestrator.controller.nodes.plan.State` for each."""
        counted = Counted(states)
        for state in NODE_STATES:
            self._nodes.labels(state).set(counted[state])

    def run_ended(self, action: str, outcome: str, seconds: float) -> None:
        """A run on a node ended, and its Node says so."""
        action = _known(action, _ACTIONS)
        self._runs.labels(action, _known(outcome, _OUTCOMES)).inc()
        self._run_seconds.labels(action).observe(seconds)

    def leads(self, *, leading: bool) -> None:
        """Say whether this process is the one that works."""
        self._leader.set(int(leading))


class MeasuredQueue:
    """Implements :class:`orchestrator.kube.work_queue.QueueMetrics`."""

    def __init__(self, *, depth: Gauge, adds: Counter, waited: Histogram, worked: Histogram, retries: Counter) -> None:
        self._depth = depth
        self._adds = adds
        self._waited = waited
        self._worked = worked
        self._retries = retries

    def depth(self, keys: int) -> None:
        """So many keys wait now."""
        self._depth.set(keys)

    def added(self) -> None:
        """A key came."""
        self._adds.inc()

    def waited(self, seconds: float) -> None:
        """A key was taken that had waited so long."""
        self._waited.observe(seconds)

    def worked(self, seconds: float) -> None:
        """Work on a key took so long."""
        self._worked.observe(seconds)

    def retried(self) -> None:
        """A key failed and comes again."""
        self._retries.inc()


def _known(word: str, words: Collection[str]) -> str:
    return word if word in words else _OTHER


def _code(status: int) -> str:
    if status == 0:
        return _UNANSWERED
    # Any three digits can come over the wire; those that have a name are few.
    return str(status) if status in _CODES else f"{str(status)[:1]}xx"


_CODES: Final = frozenset(int(status) for status in HTTPStatus)


def _counter(registry: CollectorRegistry, series: Series) -> Counter:
    return Counter(series.name, series.meaning, series.labels, registry=registry)


def _gauge(registry: CollectorRegistry, series: Series) -> Gauge:
    return Gauge(series.name, series.meaning, series.labels, registry=registry)


def _histogram(registry: CollectorRegistry, series: Series) -> Histogram:
    return Histogram(series.name, series.meaning, series.labels, registry=registry, buckets=series.buckets)
