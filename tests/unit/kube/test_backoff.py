import pytest

from orchestrator.kube.backoff import Backoff, ItemBackoff


def test_the_delay_of_a_key_doubles_up_to_its_maximum():
    backoff = ItemBackoff(base=0.005, maximum=0.03)

    assert [backoff.when("a") for _ in range(5)] == [0.005, 0.01, 0.02, 0.03, 0.03]


def test_keys_fail_independently_of_each_other():
    backoff = ItemBackoff(base=1, maximum=100)
    backoff.when("a")
    backoff.when("a")

    assert backoff.when("b") == 1
    assert (backoff.failures("a"), backoff.failures("b")) == (2, 1)


def test_a_forgotten_key_begins_anew():
    backoff = ItemBackoff(base=1, maximum=100)
    backoff.when("a")

    backoff.forget("a")
    backoff.forget("never seen")

    assert backoff.failures("a") == 0
    assert backoff.when("a") == 1


def test_many_failures_are_no_overflow():
    backoff = ItemBackoff(base=0.005, maximum=1000)

    assert [backoff.when("a") for _ in range(5000)][-1] == 1000


@pytest.mark.parametrize(("draw", "expected"), [(0.0, [1, 2, 4, 4]), (1.0, [2, 4, 8, 8])])
def test_a_jittered_backoff_waits_between_one_and_two_times_its_step(clock, draw, expected):
    backoff = Backoff(initial=1, maximum=4, reset=100, clock=clock, random=lambda: draw)

    assert [backoff.next() for _ in range(4)] == expected


def test_a_quiet_time_resets_the_backoff(clock):
    backoff = Backoff(initial=1, maximum=8, reset=100, clock=clock, random=lambda: 0.0)
    backoff.next()
    backoff.next()

    clock.advance(101)

    assert backoff.next() == 1
