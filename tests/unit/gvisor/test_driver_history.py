"""What the data says of drivers and releases agrees with itself, with the table it is from, and says what it is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.gvisor.driver_history import (
    data_end,
    history,
    lifetime,
    listed_by,
    predict,
    releases_listing,
)
from orchestrator.gvisor.drivers import KNOWN_UNSUPPORTED, padded, parse_version


@pytest.mark.feature("E8")
@pytest.mark.parametrize(
    ("driver", "release", "expected"),
    [
        ("525.125.06", "20240311.0", "supported"),
        ("525.125.06", "20240318.0", "unsupported"),
        ("535.104.05", "20231009.0", "unsupported"),
        ("535.104.05", "20231016.0", "supported"),
        ("535.104.05", "20240513.0", "supported"),
        ("535.104.05", "20240520.0", "unsupported"),
        ("535.104.05", "20260817.0", "known-unsupported"),
        ("535.129.03", "20240909.0", "supported"),
        ("535.129.03", "20240916.0", "unsupported"),  # it goes …
        ("535.129.03", "20250205.0", "unsupported"),
        ("535.129.03", "20250512.0", "unsupported"),
        ("535.129.03", "20250519.0", "supported"),  # … and comes back
        ("535.129.03", "20260905.0", "supported"),
        ("550.54.14", "20250205.0", "supported"),
        ("550.54.14", "20250811.0", "supported"),
        ("550.54.14", "20250820.0", "unsupported"),
        ("550.54.14", "20260701.0", "known-unsupported"),
        ("570.86.15", "20250127.0", "unsupported"),
        ("570.86.15", "20250203.0", "supported"),
        ("570.86.15", "20260406.0", "supported"),
        ("570.86.15", "20260413.0", "unsupported"),
        ("580.65.06", "20260420.0", "supported"),
        ("580.65.06", "20260427.0", "unsupported"),
        ("580.65.06", "20260504.0", "supported"),
        ("580.82.07", "20251011.0", "supported"),
        ("570.172.08", "20260209.1", "supported"),
        ("570.172.8", "20260224.0", "supported"),
        ("620.06", "20260905.0", "supported"),
        ("580.178.04", "20260905.0", "supported"),
        ("580.178.04", "20260817.0", "unsupported"),
        ("999.99.99", "20260224.0", "unsupported"),
        ("580.178.04", "20261005.0", "undecided"),  # later than the data
        ("590.48.01", "20260301.0", "undecided"),  # it came somewhere between two observations
        ("525.125.06", "20230101.0", "undecided"),  # earlier than the data
        ("garbage", "20260224.0", "undecided"),
        ("", "20260224.0", "undecided"),
    ],
)
def test_a_driver_is_predicted_as_far_as_the_data_knows(driver, release, expected):
    assert expected == predict(driver, release)


def as_date(day):
    return datetime.strptime(str(day), "%Y%m%d").replace(tzinfo=UTC)


def test_lifetimes_and_observations_do_not_contradict_each_other():
    for one in history().observations:
        for version, life in history().lifetimes.items():
            # Most observations are of a branch, which no release was cut from on that very day.
            if any(
                day and abs(as_date(day) - as_date(one.day)) <= timedelta(days=8) for day in (life.first, life.last)
            ):
                continue
            predicted = predict(life.driver, f"{one.day}.0")
            assert (predicted == "supported") == (version in one.supported), (one.day, life.driver)


def test_the_table_of_known_drivers_is_that_of_the_newest_observation():
    assert {padded(version) for version in KNOWN_UNSUPPORTED} == history().observations[-1].known


def test_the_data_is_in_order_and_every_observation_names_its_source():
    days = [one.day for one in history().observations]

    assert sorted(set(days)) == days
    assert data_end() == days[-1]
    for one in history().observations:
        assert not set(one.supported) & one.known, one.day


@pytest.mark.parametrize("release", ["20250205.0", "20260224.0", "20260905.0"])
def test_the_list_of_an_observed_day_is_the_list_that_the_data_gives(release):
    observed = next(one for one in history().observations if one.day == int(release[:8]))

    assert tuple(observed.supported[version] for version in sorted(observed.supported)) == listed_by(release)
    assert all(parse_version(driver) for driver in listed_by(release))


def test_releases_that_list_a_driver_come_newest_first():
    known = ["20250205.0", "20260224.0", "20260905.0", "20260209.1"]

    assert ("20250205.0",) == releases_listing("550.54.14", known)
    assert ("20260224.0", "20260209.1", "20250205.0") == releases_listing("570.86.15", known)
    assert () == releases_listing("999.1.1", known)


@pytest.mark.parametrize(
    ("driver", "text"),
    [
        ("535.129.03", "from 20231204 on, absent 20240916 to 20250512"),
        ("580.65.06", "from 20250820 on, absent 20260427"),
        ("550.54.14", "to 20250811"),
        ("570.86.15", "from 20250203 to 20260406"),
        ("999.1.1", ""),
        ("garbage", ""),
    ],
)
def test_a_lifetime_is_told_to_people(driver, text):
    assert text == lifetime(driver)
