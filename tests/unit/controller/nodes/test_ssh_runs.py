"""Rules of runs that are in this process: how many at once, how they end, and what is known of them."""

from __future__ import annotations

import threading

import pytest

from orchestrator.controller.nodes.mark import Action
from orchestrator.controller.nodes.run import Order
from orchestrator.controller.nodes.ssh_runs import SshRuns
from orchestrator.errors import NotReadyError, RefusedError
from orchestrator.execution.job_result import JobResult

DONE = JobResult(action="apply", outcome="ok")


def order(name, owner="p/a", action=Action.APPLY):
    return Order(name, "a", f"node-of-{name}", "uid", "192.0.2.1", action, "", owner=owner)


class Work:
    """Runs that wait until they are let go, or stopped."""

    def __init__(self):
        self.begun = {}
        self.ended = threading.Semaphore(0)
        self.go = threading.Event()
        self._lock = threading.Lock()
        self.most = self.now = 0

    def __call__(self, order, cancel):
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.begun.setdefault(order.name, threading.Event()).set()
        while not (self.go.wait(0.01) or cancel.is_set()):
            pass
        with self._lock:
            self.now -= 1
        return JobResult(action="apply", outcome="interrupted") if cancel.is_set() else DONE

    def tell(self):
        self.ended.release()

    def await_ended(self, count):
        assert all(self.ended.acquire(timeout=10) for _ in range(count))


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def runs():
    one = SshRuns(2)
    yield one
    one.close()


def start(runs, work, *names, owner="p/a"):
    for name in names:
        runs.start(order(name, owner), work, work.tell)


def test_no_more_than_so_many_work_at_once_and_all_have_their_turn(runs, work):
    start(runs, work, *"abcde")
    assert 5 == len(runs.runs("p/a"))
    work.go.set()
    work.await_ended(5)

    assert 2 >= work.most
    assert [DONE] * 5 == [one.result for one in runs.runs("p/a")]


def test_a_run_is_known_by_its_owner_and_its_name(runs, work):
    start(runs, work, "one")
    start(runs, work, "two", owner="q/a")
    found = runs.find("two")

    assert (["one"], ["two"]) == ([one.name for one in runs.runs("p/a")], [one.name for one in runs.runs("q/a")])
    assert (found,) == runs.runs("q/a")
    assert ("node-of-two", "uid", None) == (found.node, found.uid, found.result)
    assert runs.find("three") is None


def test_the_same_order_again_begins_nothing(runs, work):
    start(runs, work, "one", "one")
    work.go.set()
    work.await_ended(1)
    start(runs, work, "one")

    assert not work.ended.acquire(timeout=0.05)


def test_a_run_that_is_stopped_is_known_until_it_has_ended_and_then_makes_room(runs, work):
    held, let = threading.Event(), threading.Event()

    def stubborn(_order, cancel):
        held.set()
        let.wait(10)
        return DONE

    runs.start(order("one"), stubborn, work.tell)
    start(runs, work, "two", "three")
    assert held.wait(10)
    runs.stop("one")
    runs.stop("one")
    assert runs.find("one").result is None
    let.set()
    work.await_ended(1)
    assert runs.find("one") is None
    runs.stop("one")
    work.go.set()
    work.await_ended(2)


def test_a_run_that_has_ended_is_forgotten_when_it_is_stopped(runs, work):
    work.go.set()
    start(runs, work, "one")
    work.await_ended(1)
    runs.stop("one")

    assert () == runs.runs("p/a")


def test_a_run_that_is_stopped_before_its_turn_never_begins(runs, work):
    start(runs, work, "one", "two", "three")
    runs.stop("three")
    work.go.set()
    work.await_ended(2)

    assert {"one", "two"} == set(work.begun)


def test_at_the_end_all_are_stopped_and_none_begins(runs, work):
    start(runs, work, "one", "two", "three")
    known = runs.known_hosts("p")
    assert known.parent.stat().st_mode & 0o777 == 0o700
    runs.close()

    assert 0 == work.now
    assert ["interrupted", "interrupted", None] == [
        one.result.outcome if one.result else None for one in runs.runs("p/a")
    ]
    start(runs, work, "four")
    assert "four" not in work.begun
    assert not known.parent.exists()
    with pytest.raises(NotReadyError):
        runs.known_hosts("p")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RefusedError("no", why="because", remedy="do"), ("refused", "no", "because", "do")),
        (ValueError("what nobody may see"), ("failed", "the run ended in a way that nobody foresaw", "ValueError")),
    ],
)
def test_an_error_is_a_result(runs, work, error, expected):
    def fail(_order, _cancel):
        raise error

    runs.start(order("one", action=Action.REMOVE), fail, work.tell)
    work.await_ended(1)
    found = runs.find("one").result

    assert "remove" == found.action
    assert expected == (found.outcome, found.message, found.cause, found.remedy)[: len(expected)]


def test_what_ended_long_ago_is_forgotten(work):
    now = [0.0]
    runs = SshRuns(2, clock=lambda: now[0])
    work.go.set()
    start(runs, work, "old")
    work.await_ended(1)
    now[0] = 3601.0
    start(runs, work, "new")

    assert ["new"] == [one.name for one in runs.runs("p/a")]
    runs.close()
