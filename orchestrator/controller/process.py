"""The process of the controller: from its settings to threads that run, and from SIGTERM to an end that loses nothing.

The order of the beginning: what is wrong with the settings is told before anything is asked of a cluster; endpoints
answer before there is anything to answer, so that whoever looks finds "not yet"; everything is seen before a replica
wants to lead. Of the end: no new work, the end of what is under way, then the Lease, so that the next one begins when
nothing of this one is left.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from orchestrator.controller.controller import Controller, Options
from orchestrator.controller.definition import ensure_definition
from orchestrator.controller.endpoints import Endpoint, Endpoints, metrics_page, probe_page
from orchestrator.controller.metrics import CONTENT_TYPE, Metrics
from orchestrator.controller.settings import ARTIFACTS_VARIABLE
from orchestrator.errors import InvalidInputError
from orchestrator.kube import credentials
from orchestrator.kube.client import Client
from orchestrator.kube.election import LeaderElector, LeadershipLostError
from orchestrator.kube.events import EventRecorder
from orchestrator.kube.heartbeat import Heartbeat
from orchestrator.kube.shoot_credentials import wants_external

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator.controller.settings import ControllerSettings
    from orchestrator.kube.credentials import Credentials

_log = logging.getLogger(__name__)

NAME: Final = "runtime-gvisor"
"""Who holds the heartbeat: the upstream extension's name."""
_LEASE_SECONDS: Final = 5.0  # of a request for a Lease: two must fit into the time in which it has to be renewed
_LAST_EVENTS: Final = 5.0  # seconds for what is still to be told at the end
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def run(settings: ControllerSettings, without_effect: Sequence[str] = ()) -> None:
    """Serve until SIGTERM or SIGINT.

    Args:
        settings: what the operator decides.
        without_effect: flags that were given and change nothing, for the log.

    Raises:
        InvalidInputError: something is missing or wrong; no API server was asked.
        LeadershipLostError: another replica leads; end the process.
        GvisorNodesError: it cannot begin.
    """
    stop = threading.Event()
    with _stopped_by_signals(stop), ExitStack() as stack:
        access = _access(settings)
        settings = settings.with_namespace(access.namespace)
        _check(settings)
        if without_effect:
            _log.info("without effect: %s", ", ".join(without_effect))
        metrics = Metrics()
        client = stack.enter_context(Client(access, observe=metrics.api_requests("seed")))
        leases = stack.enter_context(Client(access, timeout=_LEASE_SECONDS, observe=metrics.api_requests("seed")))
        recorder = stack.enter_context(_recording(client))
        controller = Controller(client, _options(settings), metrics=metrics, tell=recorder.record)
        stack.enter_context(Endpoints(*_endpoints(settings, controller, metrics)))
        if settings.mode == "standalone":
            ensure_definition(client, stop)
        stack.enter_context(controller.watching())
        if controller.wait_ready(stop):
            _lead(settings, controller, leases, metrics, stop)
    _log.info("it has ended")


def _lead(
    settings: ControllerSettings, controller: Controller, leases: Client, metrics: Metrics, stop: threading.Event
) -> None:
    def lead(stop: threading.Event) -> None:
        metrics.leads(leading=True)
        try:
            with _heartbeat(settings, leases, stop):
                controller.lead(stop)
        finally:
            metrics.leads(leading=False)

    if not settings.leader_election.enabled:
        lead(stop)
        return
    identity = f"{socket.gethostname()}_{uuid.uuid4()}"
    elector = LeaderElector(leases, settings.leader_election.namespace, settings.leader_election.id, identity)
    try:
        elector.run(lead, stop)
    except LeadershipLostError as error:
        if not error.ended:
            # Work of this process may still write, and another replica may lead from now on.
            _log.error("%s", error.line)
            os._exit(1)
        raise


@contextmanager
def _heartbeat(settings: ControllerSettings, client: Client, stop: threading.Event) -> Iterator[None]:
    """Tell Gardener that the leader is alive, where somebody said in which namespace."""
    heartbeat = settings.heartbeat
    if settings.mode == "standalone" or not heartbeat.namespace:
        yield
        return
    beats = Heartbeat(client, heartbeat.namespace, NAME, heartbeat.renew_interval_seconds)
    thread = threading.Thread(target=beats.run, args=(stop,), name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextmanager
def _recording(client: Client) -> Iterator[EventRecorder]:
    recorder = EventRecorder(client, "gvisor-nodes")
    thread = threading.Thread(target=recorder.run, name="events", daemon=True)
    thread.start()
    try:
        yield recorder
    finally:
        recorder.stop()
        thread.join(_LAST_EVENTS)


@contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    def handle(number: int, _frame: object) -> None:
        _log.info("%s: it ends when what is under way is done", signal.Signals(number).name)
        stop.set()

    before = {one: signal.signal(one, handle) for one in _SIGNALS}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _access(settings: ControllerSettings) -> Credentials:
    found = credentials.default(settings.kubeconfig, os.environ)
    if not settings.master:
        return found
    if not settings.master.startswith("https://"):
        raise InvalidInputError(
            "the API server cannot be used",
            why="master is no https URL, and nothing is sent unencrypted",
            remedy="correct master, or leave it out to use the server that the kubeconfig names",
        )
    return replace(found, server=settings.master.rstrip("/"))


def _check(settings: ControllerSettings) -> None:
    if settings.leader_election.enabled and not settings.leader_election.namespace:
        raise InvalidInputError(
            "the leader election has no namespace",
            why="leaderElection.namespace is not set, and this process is in no pod that would tell one",
            remedy="set it, or --leader-election-namespace, or LEADER_ELECTION_NAMESPACE; or switch leaderElection off"
            " where there is one replica only",
        )


def _options(settings: ControllerSettings) -> Options:
    return Options(
        installation=settings.gvisor.installation,
        standalone=settings.mode == "standalone",
        classes=settings.extension_classes,
        mode=settings.trigger_mode,
        workers=settings.concurrent_reconciles,
        nodes=settings.nodes.options(
            external=wants_external(os.environ), artifacts=os.environ.get(ARTIFACTS_VARIABLE, "")
        ),
    )


def _endpoints(settings: ControllerSettings, controller: Controller, metrics: Metrics) -> tuple[Endpoint, Endpoint]:
    probes = {
        "/healthz": probe_page(lambda: controller.unhealthy),
        "/readyz": probe_page(lambda: controller.unready),
    }
    return (
        Endpoint(
            "metrics.bindAddress",
            settings.metrics.address,
            {"/metrics": metrics_page(metrics.exposition, CONTENT_TYPE)},
        ),
        Endpoint("health.bindAddress", settings.health.address, probes),
    )
