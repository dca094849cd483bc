import pytest

from orchestrator.errors import NotReadyError
from orchestrator.kube.api_error import from_answer, silent, unreachable
from orchestrator.kube.reflector import goes_on, jittered, reason, without_managed_fields


@pytest.mark.parametrize(
    ("error", "watches_on", "word"),
    [
        (unreachable("watching", "reset"), True, "broken"),
        (from_answer("watching", 429, b""), True, "broken"),
        (from_answer("watching", 503, b""), True, "broken"),
        (from_answer("watching", 500, b""), False, "broken"),
        (from_answer("watching", 410, b""), False, "expired"),
        (from_answer("watching", 403, b""), False, "refused"),
        (silent("watching"), False, "silent"),
        (NotReadyError("no token"), False, "refused"),
    ],
)
def test_a_watch_goes_on_after_a_broken_connection_and_else_the_list_is_read_again(error, watches_on, word):
    assert goes_on(error) is watches_on
    assert reason(error) == word


def test_watches_end_between_one_and_two_times_their_time():
    assert jittered(60, 0.0) == 60
    assert jittered(60, 0.999) == 119


def test_the_record_of_fields_is_dropped_and_the_object_not_changed():
    raw = {"metadata": {"name": "a", "managedFields": [1]}, "spec": {}}

    assert without_managed_fields(raw) == {"metadata": {"name": "a"}, "spec": {}}
    assert raw["metadata"]["managedFields"] == [1]
    assert without_managed_fields({"metadata": {"name": "a"}}) == {"metadata": {"name": "a"}}
