from datetime import UTC, datetime, timedelta, timezone

import pytest

from orchestrator.errors import InvalidInputError
from orchestrator.kube.election import Timing
from orchestrator.kube.heartbeat import Heartbeat
from orchestrator.kube.lease import held_spec, holder_of, locked, may_take, micro_time, new_lease, released_spec

NOW = datetime(2026, 1, 2, 3, 4, 5, 600, tzinfo=UTC)


def held(holder="a", seconds=15):
    return {"metadata": {"resourceVersion": "7"}, "spec": {"holderIdentity": holder, "leaseDurationSeconds": seconds}}


def test_times_have_microseconds_in_utc():
    assert micro_time(NOW.astimezone(timezone(timedelta(hours=2)))) == "2026-01-02T03:04:05.000600Z"


def test_a_lease_of_somebody_else_is_taken_only_when_it_was_not_renewed_for_its_duration():
    assert not may_take(held("a"), "b", 15)
    assert may_take(held("a"), "b", 15.1)


def test_a_lease_of_nobody_or_of_its_own_is_free():
    assert may_take(held(""), "b", 0)
    assert may_take(held("b"), "b", 0)
    assert may_take({"metadata": {}}, "b", 0)
    assert may_take({"metadata": {}, "spec": {"holderIdentity": None}}, "b", 0)


def test_a_lease_that_is_taken_counts_a_transition_and_one_that_is_renewed_does_not():
    first = held_spec(None, "a", NOW, 15)
    renewed = held_spec({"spec": first}, "a", NOW + timedelta(seconds=2), 15)
    taken = held_spec({"spec": renewed}, "b", NOW + timedelta(seconds=20), 15)

    assert (first["leaseTransitions"], renewed["leaseTransitions"], taken["leaseTransitions"]) == (0, 0, 1)
    assert renewed["acquireTime"] == first["acquireTime"] == micro_time(NOW)
    assert renewed["renewTime"] == "2026-01-02T03:04:07.000600Z"
    assert taken["acquireTime"] == taken["renewTime"]


def test_a_released_lease_is_nobodys():
    assert holder_of(new_lease("n", "l", released_spec(NOW))) == ""


def test_a_lease_changes_only_as_it_was_read():
    assert locked(held(), {"holderIdentity": "b"}) == {
        "metadata": {"resourceVersion": "7"},
        "spec": {"holderIdentity": "b"},
    }


@pytest.mark.parametrize("timing", [(15, 15, 2), (15, 10, 10), (10, 15, 2), (15, 10, 0)])
def test_a_timing_that_cannot_be_safe_is_refused(timing):
    with pytest.raises(InvalidInputError):
        Timing(*timing)


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_heartbeat_without_interval_is_refused_before_anything_is_asked(seconds):
    with pytest.raises(InvalidInputError):
        Heartbeat(None, "n", "runtime-gvisor", seconds)
