import hashlib

import pytest

from orchestrator.errors import InvalidInputError
from orchestrator.gvisor.catalogue_entry import read_file
from orchestrator.lab.artifacts import DEFAULT_RELEASE, LabReleases
from orchestrator.lab.program import silent


@pytest.fixture
def releases(tmp_path):
    return LabReleases.of(patched=True, cache=tmp_path)


def put(releases, release, content=b"\x7fELF"):
    """What a build leaves."""
    binaries = releases.directory / release / releases.architecture
    binaries.mkdir(parents=True)
    for name in ("runsc", "containerd-shim-runsc-v1"):
        (binaries / name).write_bytes(content)
    binaries.with_suffix(".key").write_text(releases._key(release))
    releases._write_releases_file()
    return binaries


def test_what_is_built_from_the_same_is_not_built_again(releases):
    binaries = put(releases, DEFAULT_RELEASE)

    assert binaries == releases.ensure(DEFAULT_RELEASE, pytest.fail)


def test_another_way_of_building_makes_it_stale(releases):
    binaries = put(releases, DEFAULT_RELEASE)
    binaries.with_suffix(".key").write_text("other")

    assert not releases._is_current(DEFAULT_RELEASE)


def test_patched_and_published_builds_never_share_a_directory(tmp_path):
    patched, published = (LabReleases.of(patched=each, cache=tmp_path) for each in (True, False))

    assert patched.directory != published.directory
    assert patched._key(DEFAULT_RELEASE) != published._key(DEFAULT_RELEASE)


def test_the_releases_file_is_a_catalogue_with_the_hash_of_every_binary_and_says_what_was_patched(releases):
    put(releases, "20260224.0", b"one")
    put(releases, DEFAULT_RELEASE, b"two")

    entries = {entry.release: entry for entry in read_file(releases.releases_file)}

    assert {"20260224.0", DEFAULT_RELEASE} == set(entries)
    assert f"sha512:{hashlib.sha512(b'one').hexdigest()}" == entries["20260224.0"].files["runsc"]
    assert "oom score" in entries[DEFAULT_RELEASE].source


def test_a_release_that_is_no_known_module_is_refused_with_those_that_are(releases):
    with pytest.raises(InvalidInputError) as caught:
        releases.ensure("20990101.0", silent)

    assert DEFAULT_RELEASE in caught.value.why
