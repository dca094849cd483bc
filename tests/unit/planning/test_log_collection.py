"""Which logs are fetched and where to: what people write, checked before any host is asked."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from orchestrator.errors import InvalidInputError
from orchestrator.planning.log_collection import file_name, read_collection

TO = {"debug_logs_collect_to": "/tmp/x"}


def wanted(**variables):
    return read_collection({**TO, **{f"debug_logs_collect_{name}": value for name, value in variables.items()}})


@pytest.mark.feature("F9")
def test_what_is_not_said_is_not_asked_for():
    found = wanted()

    assert ("/tmp/x", "", "", {}, 256 * 1024 * 1024) == (
        found.to,
        found.pod,
        found.container,
        found.since,
        found.size,
    )


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("90s", {"ago": 90.0}),
        ("5m", {"ago": 300.0}),
        ("2h", {"ago": 7200.0}),
        ("1d", {"ago": 86400.0}),
        ("2026-11-25T10:00:00Z", {"at": datetime(2026, 11, 25, 10, tzinfo=UTC).timestamp()}),
        ("2026-11-25T10:00:00+02:00", {"at": datetime(2026, 11, 25, 8, tzinfo=UTC).timestamp()}),
        (datetime(2026, 11, 25, 10, tzinfo=UTC), {"at": datetime(2026, 11, 25, 10, tzinfo=UTC).timestamp()}),
    ],
)
def test_a_time_is_an_age_or_a_moment(written, meant):
    assert meant == wanted(since=written).since


@pytest.mark.parametrize(
    ("variables", "what"),
    [
        ({"to": "here"}, "debug_logs_collect_to is not an absolute path"),
        ({"to": ""}, "debug_logs_collect_to is not an absolute path"),
        ({"pod": "cart"}, "debug_logs_collect_pod is not a pod"),
        ({"pod": "shop/../etc"}, "debug_logs_collect_pod is not a pod"),
        ({"pod": "{{ x }}/a"}, "debug_logs_collect_pod holds a template"),
        ({"container": "abc"}, "debug_logs_collect_container is not"),
        ({"container": "../../etc/x"}, "debug_logs_collect_container is not"),
        ({"pod": "a/b", "container": "abcdef"}, "a pod and a container"),
        ({"since": "yesterday"}, "debug_logs_collect_since is no time"),
        ({"since": "0h"}, "debug_logs_collect_since is no time"),
        ({"size": 0}, "debug_logs_collect_size"),
        ({"size": "many"}, "debug_logs_collect_size"),
    ],
)
def test_a_bad_value_is_an_error_that_names_it(variables, what):
    with pytest.raises(InvalidInputError) as raised:
        wanted(**variables)

    assert what in raised.value.what


@pytest.mark.parametrize("host", ["../../etc/x", "a/b", "...", "", "a b\n", "worker-1", "$(id)"])
def test_the_name_of_the_file_is_a_plain_name_whatever_the_host_is_called(host):
    name = file_name(host, datetime(2026, 11, 25, 10, tzinfo=UTC))

    assert "/" not in name
    assert not name.startswith(".")
    assert name.endswith("-gvisor-logs-20261125T100000Z.tar.gz")
