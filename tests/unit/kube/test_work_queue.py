"""The rules of client-go's work queue."""

import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.kube.backoff import ItemBackoff
from orchestrator.kube.work_queue import WorkQueue

DEADLINE = 20  # seconds; nothing here takes a hundredth of it on an idle machine


class Recorded:
    """Metrics that remember what they were told."""

    def __init__(self):
        self.told = []

    def __getattr__(self, name):
        return lambda *values: self.told.append((name, *values))


@pytest.fixture
def queue(clock):
    return WorkQueue(backoff=ItemBackoff(base=1, maximum=8), clock=clock)


def taken(queue):
    """Everything that can be had now."""
    return list(iter(lambda: queue.get(timeout=0), None))


def started(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def ended(thread):
    thread.join(DEADLINE)
    return not thread.is_alive()


def test_keys_come_out_in_the_order_in_which_they_came(queue):
    for key in "cab":
        queue.add(key)

    assert taken(queue) == ["c", "a", "b"]


def test_a_key_that_waits_is_not_added_twice(queue):
    queue.add("a")
    queue.add("a")

    assert len(queue) == 1
    assert taken(queue) == ["a"]


def test_a_key_in_work_comes_again_only_when_its_work_is_done(queue):
    queue.add("a")
    assert queue.get() == "a"

    queue.add("a")
    queue.add("a")

    assert taken(queue) == []
    queue.done("a")
    assert taken(queue) == ["a"]


def test_a_key_whose_work_is_done_does_not_come_again_by_itself(queue):
    queue.add("a")
    queue.get()

    queue.done("a")

    assert taken(queue) == []


def test_a_delayed_key_comes_when_it_is_due_and_not_before(queue, clock):
    queue.add_after("a", 5)

    clock.advance(4.9)
    assert taken(queue) == []
    clock.advance(0.2)
    assert taken(queue) == ["a"]


def test_of_two_delays_the_shorter_counts_whichever_came_first(queue, clock):
    queue.add_after("a", 10)
    queue.add_after("a", 2)
    queue.add_after("a", 20)

    clock.advance(3)

    assert taken(queue) == ["a"]
    queue.done("a")
    clock.advance(100)
    assert taken(queue) == []


def test_no_delay_is_at_once(queue):
    queue.add_after("a", 0)
    queue.add_after("b", -1)

    assert taken(queue) == ["a", "b"]


def test_a_failed_key_comes_later_each_time_until_it_is_forgotten(queue, clock):
    delays = []
    for _ in range(5):
        queue.add_rate_limited("a")
        before = clock.now
        while not taken(queue):
            clock.advance(1)
        queue.done("a")
        delays.append(clock.now - before)

    assert delays == [1, 2, 4, 8, 8]
    assert queue.retries("a") == 5
    queue.forget("a")
    assert queue.retries("a") == 0


def test_shut_down_takes_no_more_and_hands_out_what_is_there(queue, clock):
    queue.add("a")
    queue.add_after("late", 1)

    queue.shut_down()
    queue.add("b")
    queue.add_after("c", 0)
    clock.advance(10)

    assert queue.shutting_down
    assert queue.get() == "a"
    queue.done("a")
    assert queue.get() is None


def test_shut_down_wakes_everybody_who_waits(queue):
    waiting = [started(queue.get) for _ in range(3)]

    queue.shut_down()

    assert all(ended(thread) for thread in waiting)


def test_draining_waits_for_work_that_is_under_way_and_for_what_waits(queue):
    queue.add("a")
    queue.add("b")
    assert queue.get() == "a"
    queue.shut_down()
    drained = threading.Event()
    waiting = started(lambda: queue.drain(DEADLINE) and drained.set())

    queue.done("a")
    assert not drained.is_set()
    assert queue.get() == "b"
    assert not drained.is_set()
    queue.done("b")

    assert ended(waiting)
    assert drained.is_set()


def test_draining_gives_up_when_its_time_is_over(queue):
    queue.add("a")
    queue.get()
    queue.shut_down()

    assert not queue.drain(0)


def test_what_came_for_a_key_in_work_is_drained_too(queue):
    queue.add("a")
    queue.get()
    queue.add("a")
    queue.shut_down()

    queue.done("a")

    assert queue.get() == "a"
    queue.done("a")
    assert queue.drain(0)


def test_a_waiter_is_woken_by_a_key(queue):
    got = []
    waiting = started(lambda: got.append(queue.get()))

    queue.add("a")

    assert ended(waiting)
    assert got == ["a"]


def test_a_waiter_is_woken_by_a_delay_that_is_over():
    queue = WorkQueue()
    queue.add_after("far", 3600)
    got = []
    waiting = [started(lambda: got.append(queue.get())) for _ in range(2)]

    queue.add_after("a", 0.01)
    queue.add_after("b", 0.02)

    assert all(ended(thread) for thread in waiting)
    assert sorted(got) == ["a", "b"]


def test_metrics_hear_of_depth_waiting_work_and_retries(clock):
    metrics = Recorded()
    queue = WorkQueue(backoff=ItemBackoff(base=1, maximum=8), clock=clock, metrics=metrics)

    queue.add("a")
    clock.advance(2)
    queue.get()
    clock.advance(3)
    queue.done("a")
    queue.add_rate_limited("a")

    assert metrics.told == [("added",), ("depth", 1), ("depth", 0), ("waited", 2), ("worked", 3), ("retried",)]


def test_a_key_that_came_again_during_its_work_waits_from_then_on(clock):
    metrics = Recorded()
    queue = WorkQueue(clock=clock, metrics=metrics)
    queue.add("a")
    queue.get()
    clock.advance(1)
    queue.add("a")
    clock.advance(4)
    queue.done("a")

    queue.get()

    assert [told for told in metrics.told if told[0] == "waited"] == [("waited", 0), ("waited", 4)]


@given(st.lists(st.tuples(st.sampled_from(["add", "get", "done"]), st.sampled_from("abc")), max_size=60))
def test_no_key_is_in_work_twice_and_none_is_lost(commands):
    queue = WorkQueue()
    in_work = Counter()
    owed = set()
    for command, key in commands:
        if command == "add":
            queue.add(key)
            owed.add(key)
        elif command == "get":
            got = queue.get(timeout=0)
            if got is None:
                assert owed <= set(in_work)
            else:
                in_work[got] += 1
                owed.discard(got)
        elif key in in_work:
            queue.done(key)
            del in_work[key]
        assert all(count == 1 for count in in_work.values())
    while owed or in_work:
        for key in list(in_work):
            queue.done(key)
            del in_work[key]
        for key in taken(queue):
            in_work[key] += 1
            owed.discard(key)


def test_threads_never_work_on_one_key_at_once():
    queue = WorkQueue()
    busy = Counter()
    overlaps = []
    handled = []

    def work():
        while (key := queue.get()) is not None:
            busy[key] += 1
            if busy[key] > 1:
                overlaps.append(key)
            handled.append(key)
            busy[key] -= 1
            queue.done(key)

    workers = [started(work) for _ in range(4)]
    for number in range(500):
        queue.add(number % 7)
    queue.shut_down()

    assert queue.drain(DEADLINE)
    assert all(ended(worker) for worker in workers)
    assert set(handled) == set(range(7))
    assert overlaps == []
