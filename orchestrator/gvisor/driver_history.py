"""Which gVisor releases listed which NVIDIA drivers: data with sources, for predictions and ways out. Pure.

The list of the release's own binary decides (``drivers.py``). This data answers where the binary is not at hand: which
release to choose for a driver, and what a switch would do to a node. It lives in ``driver_history.json``: lifetimes of
drivers read at every release tag, and whole lists as they were on single days. A driver can go and come back:
535.129.03 was absent from 29 releases.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Final, Literal

from orchestrator.gvisor.drivers import Version, padded, parse_version
from orchestrator.gvisor.releases import release_key

if TYPE_CHECKING:
    from collections.abc import Iterable

type Support = Literal["supported", "known-unsupported", "unsupported", "undecided"]

FIRST_WITH_UNSUPPORTED: Final = 20260615
"""The first day with drivers that are known and not supported (``nvproxy-allow-unsupported-driver``)."""


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Days of releases: the first and the last that list a driver, and spans without it in between.

    ``first`` is None where only later releases were looked at closely, ``last`` is None where the newest lists it.
    """

    driver: str
    first: int | None
    last: int | None
    absent: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Observation:
    """The whole list on one day: drivers that are supported, and drivers that are only known."""

    day: int
    supported: dict[Version, str]
    known: frozenset[Version]


@dataclass(frozen=True, slots=True)
class History:
    """All of the data; ``begin`` and ``end`` are the days between which lifetimes were read at every tag."""

    begin: int
    end: int
    lifetimes: dict[Version, Lifetime]
    observations: tuple[Observation, ...]


@cache
def history() -> History:
    """The data that comes with this version of gvisor-nodes."""
    data = json.loads(resources.files(__package__).joinpath("driver_history.json").read_text())
    lives = data["lifetimes"]
    return History(
        begin=lives["begin"],
        end=lives["end"],
        lifetimes={
            _key(one["driver"]): Lifetime(
                one["driver"], one["first"], one["last"], tuple((a, b) for a, b in one["absent"])
            )
            for one in lives["drivers"]
        },
        observations=tuple(
            Observation(one["day"], {_key(d): d for d in one["supported"]}, frozenset(map(_key, one["known"])))
            for one in data["observed"]
        ),
    )


def data_end() -> int:
    """The last day that the data knows of; later releases are not predicted."""
    return history().observations[-1].day


def predict(driver: str, release: str) -> Support:
    """Whether a release lists a driver, as far as the data knows.

    Args:
        driver: a version of two or three parts; anything else is ``undecided``.
        release: ``YYYYMMDD.N``.

    Returns:
        ``undecided`` where the data does not reach or two observations around the release disagree.
    """
    version, day = parse_version(driver), release_key(release)[0]
    if version is None or day > data_end():
        return "undecided"
    version = padded(version)
    listed = _by_lifetime(version, day)
    if listed is None:
        listed = _by_observations(version, day)
    if listed is None:
        return "undecided"
    if listed:
        return "supported"
    known = any(version in one.known for one in _around(day))
    return "known-unsupported" if known and day >= FIRST_WITH_UNSUPPORTED else "unsupported"


def listed_by(release: str) -> tuple[str, ...]:
    """The drivers that a release lists by the data, oldest first."""
    data = history()
    names = {version: life.driver for version, life in data.lifetimes.items()}
    for one in data.observations:
        names.update(one.supported)
    return tuple(names[version] for version in sorted(names) if predict(names[version], release) == "supported")


def releases_listing(driver: str, known: Iterable[str]) -> tuple[str, ...]:
    """Those of the known releases that list a driver by the data, newest first."""
    return tuple(
        release for release in sorted(known, key=release_key, reverse=True) if predict(driver, release) == "supported"
    )


def lifetime(driver: str) -> str:
    """What the data says of a driver's time in gVisor, for people; "" where it says nothing."""
    version = parse_version(driver)
    life = history().lifetimes.get(padded(version)) if version else None
    if life is None:
        return ""
    text = f"from {life.first} " if life.first else ""
    text += f"to {life.last}" if life.last else "on"
    gaps = ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in life.absent)
    return f"{text}, absent {gaps}" if gaps else text


def _by_lifetime(version: Version, day: int) -> bool | None:
    data = history()
    life = data.lifetimes.get(version)
    if life is None or day < data.begin:
        return None
    if any(first <= day <= last for first, last in life.absent) or (life.last is not None and day > life.last):
        return False
    if life.first is None or (life.last is None and day > data.end):
        return None
    return day >= life.first


def _by_observations(version: Version, day: int) -> bool | None:
    around = _around(day)
    answers = {version in one.supported for one in around}
    exact = any(one.day == day for one in around)
    return answers.pop() if len(answers) == 1 and (exact or len(around) > 1) else None


def _around(day: int) -> list[Observation]:
    """The observation of the day, else the last one before and the first one after it, as far as there are any."""
    observations = history().observations
    if exact := [one for one in observations if one.day == day]:
        return exact
    before = [one for one in observations if one.day < day][-1:]
    return [*before, *[one for one in observations if one.day > day][:1]]


def _key(driver: str) -> Version:
    version = parse_version(driver)
    if version is None:
        raise ValueError(f"{driver!r} in driver_history.json is no version")
    return padded(version)
