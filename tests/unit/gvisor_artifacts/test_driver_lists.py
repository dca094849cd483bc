"""A release's drivers: by its own binary where it is here or can be fetched, else by the data, and it is said which."""

from __future__ import annotations

import pytest
from release_world import RELEASE

from orchestrator.errors import InvalidInputError
from orchestrator.gvisor.artifacts import resolve
from orchestrator.gvisor.driver_history import listed_by
from orchestrator.gvisor.driver_lists import of_artifacts, of_release
from orchestrator.gvisor.drivers import parse_supported

DRIVERS = ["535.183.06", "570.172.08"]


@pytest.fixture
def files(world):
    """A runsc that lists two drivers; the program prints one text whatever it is asked."""
    text = "".join(f"{driver}\n" for driver in DRIVERS)
    return {**world.loose(), "runsc": world.binary(f"runsc version release-{RELEASE}\nspec: 1.2.1\n{text}")}


def listed(found):
    return list(parse_supported(found.listing).values())


@pytest.mark.feature("E6")
def test_a_release_that_can_be_fetched_is_fetched_and_asked(world, files):
    found = of_release(RELEASE, world.arch, world.sources(world.publish_loose(files)), fetch=True)

    assert ("binary", DRIVERS, "") == (found.basis, listed(found), found.note)


@pytest.mark.feature("E6")
def test_a_release_that_is_not_here_is_not_fetched_unless_asked_for_and_then_asked_from_the_cache(world, files):
    sources = world.sources(world.publish_loose(files))
    before = of_release(RELEASE, world.arch, sources, fetch=False)
    assert ("data", []) == (before.basis, world.bucket.requests)
    assert f"gvisor-nodes releases fetch {RELEASE}" in before.note

    resolve(RELEASE, world.arch, sources)

    assert "binary" == of_release(RELEASE, world.arch, sources, fetch=False).basis


def test_a_module_is_never_built_for_the_question(world):
    found = of_release("20260905.0", world.arch, world.sources(), fetch=True)

    assert ("data", list(listed_by("20260905.0"))) == (found.basis, listed(found))
    assert "builds it" in found.note
    assert not world.cache.exists()


def test_a_binary_of_another_machine_is_not_asked(world):
    found = of_release(RELEASE, world.foreign, world.sources(), fetch=True)

    assert "data" == found.basis
    assert f"a binary for {world.foreign} does not run on this machine" == found.note


@pytest.mark.parametrize(
    "what", ["a release that nobody knows", "a bucket that does not answer", "a binary without a list"]
)
def test_what_goes_wrong_is_told_beside_the_data(world, files, what):
    sources = world.sources(world.publish_loose(files))
    if what == "a release that nobody knows":
        sources = world.sources()
    elif what == "a bucket that does not answer":
        world.bucket.answers.clear()
    else:
        sources = world.sources(world.publish_loose(world.loose()))
    found = of_release(RELEASE, world.arch, sources, fetch=True)

    assert "data" == found.basis
    assert found.note


def test_a_name_that_is_no_release_is_an_error(world):
    with pytest.raises(InvalidInputError):
        of_release("latest", world.arch, world.sources(), fetch=False)


def test_the_files_of_a_release_are_asked_where_they_can_run(world, files):
    ours = resolve(RELEASE, world.arch, world.sources(world.publish_loose(files)))
    theirs = resolve(
        RELEASE, world.foreign, world.sources(world.publish_loose(world.loose(arch=world.foreign), arch=world.foreign))
    )

    assert DRIVERS == list(parse_supported(of_artifacts(ours)).values())
    assert of_artifacts(theirs) is None
