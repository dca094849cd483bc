"""An operator's directory (air gap): what is accepted, in which places, and that no network is touched."""

from __future__ import annotations

import pytest
from release_world import RELEASE, pin, sha512, snapshot

from orchestrator.errors import InvalidInputError, RefusedError
from orchestrator.gvisor.artifacts import resolve

SHIM = "containerd-shim-runsc-v1"


def places(world):
    return {
        "release and architecture": ("mirror", RELEASE, world.arch),
        "release": ("mirror", RELEASE),
        "architecture": ("mirror", world.arch),
        "directory": ("mirror",),
    }


def hashes(files):
    return {name: pin(body) for name, body in files.items()}


def refused(world, entry, error=InvalidInputError):
    mirror = world.root / "mirror"
    before = snapshot(mirror) if mirror.is_dir() else None
    with pytest.raises(error) as caught:
        resolve(RELEASE, world.arch, world.sources(entry, directory=mirror))

    assert world.bucket.requests == []
    assert world.kept() == []
    assert before == (snapshot(mirror) if mirror.is_dir() else None)
    assert caught.value.what
    assert caught.value.why
    assert caught.value.remedy
    return caught.value


@pytest.mark.feature("A7")
@pytest.mark.parametrize("place", ["release and architecture", "release", "architecture", "directory"])
def test_files_are_found_in_every_documented_place_and_stay_there(world, place):
    files = world.loose()
    where = world.write(files, *places(world)[place])
    entry = world.publish_loose(files)

    found = resolve(RELEASE, world.arch, world.sources(entry, directory=world.root / "mirror"))

    assert where == found.directory
    assert sha512(files["runsc"]) == found.files[0].sha512
    assert world.bucket.requests == []
    assert str(where) in found.source


@pytest.mark.feature("A7")
def test_a_tarball_in_the_directory_is_unpacked_into_the_cache(world):
    body = world.tarball(world.full())
    where = world.write({"gvisor.tar.bz2": body}, "mirror", RELEASE, world.arch, mode=0o644)
    entry = world.entry({"gvisor.tar.bz2": pin(body)}, "tarball")
    before = snapshot(world.root / "mirror")

    found = resolve(RELEASE, world.arch, world.sources(entry, directory=world.root / "mirror"))

    assert len(found.files) == 6
    assert world.cache in found.directory.parents
    assert str(where) in found.source
    assert world.bucket.requests == []
    assert before == snapshot(world.root / "mirror")


def test_a_full_directory_with_sidecars_is_taken(world):
    files = world.full()
    world.write(files, "mirror")
    body = world.tarball(files)
    entry = world.entry({"gvisor.tar.bz2": pin(body), **hashes(files)}, "tarball")

    assert len(resolve(RELEASE, world.arch, world.sources(entry, directory=world.root / "mirror")).files) == 6


def test_a_local_build_with_its_hashes_is_taken_from_its_directory(world):
    files = world.loose()
    world.write(files, "mirror", RELEASE, world.arch)
    entry = world.entry(hashes(files), "module")

    found = resolve(RELEASE, world.arch, world.sources(entry, directory=world.root / "mirror"))

    assert [file.path for file in found.files] == ["runsc", SHIM]
    assert len(found.warnings) == 1


def test_a_local_build_without_its_directory_says_that_the_directory_is_needed(world):
    entry = world.entry(hashes(world.loose()), "module")

    with pytest.raises(InvalidInputError) as caught:
        resolve(RELEASE, world.arch, world.sources(entry))

    assert "is a local build and is not here" in caught.value.what
    assert "runsc_artifacts_directory" in caught.value.remedy
    assert world.kept() == []


def test_a_tarball_with_another_hash_is_invalid(world):
    body = world.tarball(world.full())
    world.write({"gvisor.tar.bz2": body + b"\0"}, "mirror")

    error = refused(world, world.entry({"gvisor.tar.bz2": pin(body)}, "tarball"))

    assert "has the wrong hash" in error.what
    assert sha512(body) in error.why
    assert sha512(body + b"\0") in error.why


def test_a_bad_tarball_with_the_right_hash_is_refused(world):
    body = world.tarball({**world.full(), "../evil": b"x"})
    world.write({"gvisor.tar.bz2": body}, "mirror")

    refused(world, world.entry({"gvisor.tar.bz2": pin(body)}, "tarball"), RefusedError)

    assert not (world.root / "evil").exists()


def test_a_wrong_hash_names_file_expected_and_found(world):
    files = world.loose()
    world.write({**files, "runsc": world.runsc() + b"\0"}, "mirror")

    error = refused(world, world.entry(hashes(files)))

    assert error.exit_code == 2
    assert "runsc failed the check 'sha512'" in error.what
    assert f"expected {sha512(files['runsc'])}, found {sha512(files['runsc'] + bytes(1))}" == error.why


def test_a_file_that_is_changed_after_a_good_run_is_noticed(world):
    files = world.loose()
    where = world.write(files, "mirror")
    sources = world.sources(world.entry(hashes(files)), directory=where)
    resolve(RELEASE, world.arch, sources)
    (where / "runsc").write_bytes(files["runsc"][:-1] + b"x")

    with pytest.raises(InvalidInputError) as caught:
        resolve(RELEASE, world.arch, sources)

    assert "sha512" in caught.value.what


def test_a_binary_with_a_wrong_hash_is_never_run(world):
    files = world.loose()
    marker = world.root / "ran"
    world.write({**files, "runsc": f"#!/bin/sh\ntouch {marker}\n".encode()}, "mirror")

    refused(world, world.entry(hashes(files)))

    assert not marker.exists()


def test_a_file_whose_hash_nobody_knows_is_invalid(world):
    files = world.full()
    body = world.tarball(files)
    world.write(files, "mirror")

    error = refused(world, world.entry({"gvisor.tar.bz2": pin(body)}, "tarball"))

    assert "none for runsc" in error.why
    assert "releases import FILE" in error.remedy


@pytest.mark.feature("A14")
def test_a_file_without_the_exec_bit_is_invalid_and_the_remedy_is_the_command(world):
    files = world.loose()
    where = world.write(files, "mirror", mode=0o644)

    error = refused(world, world.entry(hashes(files)))

    assert "runsc failed the check 'executable'" in error.what
    assert f"chmod 0755 {where / 'runsc'}" == error.remedy


def test_a_symbolic_link_in_place_of_a_file_is_invalid(world):
    files = world.loose()
    where = world.write(files, "mirror")
    (where / SHIM).rename(where / "elsewhere")
    (where / SHIM).symlink_to("elsewhere")

    assert f"{SHIM} failed the check 'regular'" in refused(world, world.entry(hashes(files))).what


def test_a_missing_shim_is_invalid(world):
    files = world.loose()
    (world.write(files, "mirror") / SHIM).unlink()

    assert f"{SHIM} failed the check 'present'" in refused(world, world.entry(hashes(files))).what


@pytest.mark.feature("A10")
def test_some_sidecars_are_worse_than_none(world):
    files = world.loose()
    sentry = {"gvisor-bin/gvisor_sentry": world.binary(f"release-{RELEASE}\n")}
    world.write({**files, **sentry}, "mirror")

    error = refused(world, world.entry(hashes({**files, **sentry})))

    assert "gvisor-bin/checkpointgofer failed the check 'present'" in error.what


def test_a_stray_file_among_the_sidecars_is_invalid(world):
    files = world.full()
    world.write({**files, "gvisor-bin/gvisor_sentry.bak": b"x"}, "mirror")

    error = refused(world, world.entry({"gvisor.tar.bz2": pin(b""), **hashes(files)}, "tarball"))

    assert "gvisor-bin/gvisor_sentry.bak failed the check 'known'" in error.what


def test_a_release_that_refuses_to_run_without_sidecars_needs_them_in_every_layout(world):
    release = "20261005.0"
    files = world.loose(release)
    world.write(files, "mirror")
    sources = world.sources(world.entry(hashes(files), "module", release), directory=world.root / "mirror")

    with pytest.raises(InvalidInputError) as caught:
        resolve(release, world.arch, sources)

    assert "gvisor-bin/checkpointgofer failed the check 'present'" in caught.value.what


def test_a_dynamic_binary_is_invalid(world):
    files = {**world.loose(), "runsc": world.runsc(program=world.dynamic)}
    world.write(files, "mirror")

    assert "'static'" in refused(world, world.entry(hashes(files))).what


def test_a_directory_without_the_release_says_where_it_looked(world):
    (world.root / "mirror").mkdir()

    error = refused(world, world.entry(hashes(world.loose())))

    assert str(world.root / "mirror" / RELEASE / world.arch) in error.why
    assert "releases fetch" in error.remedy


def test_a_directory_that_is_not_there_is_invalid(world):
    error = refused(world, world.entry(hashes(world.loose())))

    assert "does not exist" in error.why
    assert "not on the nodes" in error.remedy
