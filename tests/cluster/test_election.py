"""Leader election and heartbeat on a real kube-apiserver."""

import threading
from itertools import count

import pytest
from patience import eventually

from orchestrator.kube.client import Client
from orchestrator.kube.credentials import from_file
from orchestrator.kube.election import LeaderElector, LeadershipLostError, Timing
from orchestrator.kube.heartbeat import NAME, Heartbeat
from orchestrator.kube.lease import LEASES, holder_of, new_lease

CALM = Timing(lease=60, renew=40, retry=0.1)
"""Nobody loses a lead because a machine has much else to do."""
QUICK = Timing(lease=4, renew=2.5, retry=0.1)
"""For who shall lose it."""


class Process:
    """A candidate with its work, in a thread as in a process of its own."""

    def __init__(self, client, namespace, identity, linger=None, timing=CALM):
        self.elector = LeaderElector(client, namespace, "leader", identity, timing=timing)
        self.stop = threading.Event()
        self.leads = threading.Event()
        self.error = None
        self._linger = linger
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            self.elector.run(self._lead, self.stop)
        except Exception as error:  # noqa: BLE001 - looked at by the test
            self.error = error

    def _lead(self, stop):
        self.leads.set()
        stop.wait()
        if self._linger:
            self._linger.wait(30)

    @property
    def ended(self):
        return not self._thread.is_alive()

    def end(self):
        self.stop.set()
        self._thread.join(30)
        assert self.ended


@pytest.fixture
def process(client, namespace):
    """Starts candidates, and ends them with the test."""
    started = []

    def start(identity, **options):
        started.append(Process(options.pop("client", client), namespace, identity, **options))
        return started[-1]

    yield start
    for one in started:
        one.end()


def holder(client, namespace):
    return holder_of(client.get(LEASES, "leader", namespace))


def test_one_of_two_leads_and_the_other_follows_as_soon_as_the_lease_is_released(client, namespace, process):
    first = process("first")
    assert first.leads.wait(30)
    second = process("second")

    assert not second.leads.wait(0.5)
    first.end()

    assert second.leads.wait(30)
    assert holder(client, namespace) == "second"
    assert client.get(LEASES, "leader", namespace)["spec"]["leaseTransitions"] == 1
    assert first.error is None


def test_the_lease_is_renewed_until_the_work_has_ended_and_released_after_that(client, namespace, process):
    linger = threading.Event()
    first = process("first", linger=linger)
    assert first.leads.wait(30)

    first.stop.set()
    renewals = set()

    def renewed():
        renewals.add(client.get(LEASES, "leader", namespace)["spec"]["renewTime"])
        return len(renewals) >= 3

    eventually(renewed)
    assert not first.ended
    assert holder(client, namespace) == "first"
    linger.set()
    eventually(lambda: first.ended)
    assert holder(client, namespace) == ""


def test_a_leader_whose_lease_is_taken_stops_and_leaves_it_alone(client, namespace, process):
    first = process("first")
    assert first.leads.wait(30)

    client.patch(LEASES, "leader", {"spec": {"holderIdentity": "robber"}}, namespace)
    eventually(lambda: first.ended)

    assert isinstance(first.error, LeadershipLostError)
    assert first.stop.is_set()
    assert holder(client, namespace) == "robber"


def test_a_leader_that_cannot_renew_stops_before_anybody_else_may_lead(server, kubeconfig, namespace, process):
    with Client(from_file(kubeconfig()), timeout=60) as own:
        first = process("first", client=own, timing=QUICK)
        assert first.leads.wait(30)
        with server.frozen():
            eventually(lambda: first.ended)
            assert isinstance(first.error, LeadershipLostError)
            assert first.error.ended


def test_work_that_does_not_end_is_told_to_the_process(server, kubeconfig, namespace, process):
    linger = threading.Event()
    with Client(from_file(kubeconfig()), timeout=60) as own:
        first = process("first", client=own, linger=linger, timing=QUICK)
        assert first.leads.wait(30)
        with server.frozen():
            eventually(lambda: first.ended)
        assert first.error.ended is False
        linger.set()


def test_an_error_of_the_work_is_raised_and_the_lease_released(client, namespace):
    def fail(_stop):
        raise ValueError("work")

    elector = LeaderElector(client, namespace, "leader", "first", timing=CALM)

    with pytest.raises(ValueError, match="work"):
        elector.run(fail, threading.Event())

    assert holder(client, namespace) == ""


def test_a_lease_that_nobody_renews_is_taken_when_it_is_over_by_the_candidates_own_clock(client, namespace):
    ticks = count(1000, 10)
    assert LeaderElector(client, namespace, "leader", "dead").attempt()
    candidate = LeaderElector(client, namespace, "leader", "second", clock=lambda: float(next(ticks)))

    assert [candidate.attempt() for _ in range(3)] == [False, False, True]
    assert holder(client, namespace) == "second"


def test_a_candidate_that_is_told_to_stop_ends_without_having_led(process):
    first = process("first")
    assert first.leads.wait(30)
    second = process("second")

    second.end()

    assert not second.leads.is_set()
    assert second.error is None


def test_a_heartbeat_is_made_and_renewed(client, namespace):
    heartbeat = Heartbeat(client, namespace, "runtime-gvisor", 30)

    heartbeat.beat()
    first = client.get(LEASES, NAME, namespace)["spec"]
    heartbeat.beat()
    second = client.get(LEASES, NAME, namespace)["spec"]

    assert (first["holderIdentity"], first["leaseDurationSeconds"]) == ("runtime-gvisor", 30)
    assert "acquireTime" not in first
    assert second["renewTime"] > first["renewTime"]


def test_a_heartbeat_takes_a_lease_over_and_keeps_what_others_wrote(client, namespace):
    lease = new_lease(namespace, NAME, {"holderIdentity": "other"})
    lease["metadata"]["labels"] = {"kept": "yes"}
    client.create(LEASES, lease)

    Heartbeat(client, namespace, "runtime-gvisor").beat()

    after = client.get(LEASES, NAME, namespace)
    assert (holder_of(after), after["metadata"]["labels"]) == ("runtime-gvisor", {"kept": "yes"})


def test_a_heartbeat_beats_at_once_and_until_it_is_stopped(client, namespace):
    stop = threading.Event()
    thread = threading.Thread(target=Heartbeat(client, namespace, "runtime-gvisor", 1).run, args=(stop,))
    thread.start()
    times = set()

    def renewed():
        page = next(iter(client.pages(LEASES)))
        mine = [one for one in page.items if one["metadata"]["namespace"] == namespace]
        times.update(one["spec"]["renewTime"] for one in mine)
        return len(times) >= 2

    eventually(renewed)
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
