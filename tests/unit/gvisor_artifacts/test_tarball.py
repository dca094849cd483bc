"""The release tarball with its sidecars: what may be in it, and that a bad one leaves nothing."""

from __future__ import annotations

import tarfile

import pytest
from release_world import RELEASE, SIDECARS, Answer, pin, sha512

from orchestrator.errors import RefusedError
from orchestrator.gvisor.artifacts import resolve


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, 0o777
    return info


def refused(world, entry):
    outside = sorted(path for path in world.root.rglob("*") if world.cache not in path.parents)
    with pytest.raises(RefusedError) as caught:
        resolve(RELEASE, world.arch, world.sources(entry))

    assert world.kept() == []
    left = {path for path in world.root.rglob("*") if world.cache not in path.parents}
    assert left - {*outside} <= {world.cache, world.root / "catalogue.json"}
    assert caught.value.exit_code == 4
    assert caught.value.why
    assert caught.value.remedy
    return caught.value


@pytest.mark.feature("A9")
@pytest.mark.parametrize("prefix", ["", "./"])
def test_a_tarball_is_unpacked_with_all_its_sidecars(world, prefix):
    files = world.full()
    body = world.tarball({f"{prefix}{name}": content for name, content in files.items()})
    world.bucket.put(f"{RELEASE}/{world.arch}/gvisor.tar.bz2", body)
    entry = world.entry({"gvisor.tar.bz2": pin(body)}, "tarball")

    found = resolve(RELEASE, world.arch, world.sources(entry))

    wanted = ["runsc", "containerd-shim-runsc-v1", *(f"gvisor-bin/{name}" for name in SIDECARS)]
    assert wanted == [file.path for file in found.files]
    assert [sha512(files[name]) for name in wanted] == [file.sha512 for file in found.files]
    assert {0o755} == {(found.directory / name).stat().st_mode & 0o7777 for name in [*wanted, "gvisor-bin"]}
    assert found.warnings == ()


def test_set_id_bits_and_odd_modes_of_a_tarball_do_not_survive(world):
    found = resolve(RELEASE, world.arch, world.sources(world.publish_tarball(mode=0o6777)))

    assert {0o755} == {(found.directory / file.path).stat().st_mode & 0o7777 for file in found.files}


def test_member_hashes_of_the_catalogue_are_checked_too(world):
    entry = world.publish_tarball(members_pinned=True)
    assert len(resolve(RELEASE, world.arch, world.sources(entry)).files) == 6

    entry["files"]["gvisor-bin/gvisor_sentry"] = f"sha512:{'0' * 128}"
    world.cache = world.root / "another"
    error = refused(world, entry)

    assert "gvisor-bin/gvisor_sentry failed the check 'sha512'" in error.what


@pytest.mark.feature("A3")
def test_a_tarball_with_another_hash_is_refused_before_it_is_unpacked(world):
    entry = world.publish_tarball()
    world.bucket.answers[f"/releases/release/{RELEASE}/{world.arch}/gvisor.tar.bz2"] = Answer(b"not a tarball")

    assert "wrong hash" in refused(world, entry).what


@pytest.mark.parametrize("name", ["../evil", "gvisor-bin/../../evil", "/evil-of-a-test", "./../evil"])
def test_a_member_that_leaves_the_directory_is_refused(world, name):
    error = refused(world, world.publish_tarball({**world.full(), name: b"evil"}))

    assert repr(name) in error.what
    assert "leaves the directory" in error.why


@pytest.mark.parametrize(
    ("member", "kind"),
    [
        (link("gvisor-bin/runsc-fd-parking", "/bin/sh"), "symbolic link to '/bin/sh'"),
        (link("gvisor-bin", "/etc"), "symbolic link to '/etc'"),
        (link("gvisor-bin/runsc-fd-parking", "runsc", tarfile.LNKTYPE), "hard link to 'runsc'"),
        (link("gvisor-bin/runsc-fd-parking", "", tarfile.FIFOTYPE), "a device, a pipe"),
        (link("gvisor-bin/runsc-fd-parking", "", tarfile.DIRTYPE), "a directory"),
    ],
)
def test_a_member_that_is_no_regular_file_is_refused(world, member, kind):
    error = refused(world, world.publish_tarball(members=[member]))

    assert member.name in error.what
    assert kind in error.why


@pytest.mark.parametrize("name", ["gvisor-bin/gvisor_surprise", "install.sh", "gvisor-bin/sub/gvisor_sentry"])
def test_a_file_that_no_release_has_is_refused(world, name):
    error = refused(world, world.publish_tarball({**world.full(), name: b"x"}))

    assert name in error.what
    assert "update gvisor-nodes" in error.remedy


def test_a_new_sidecar_that_the_catalogue_names_is_taken(world):
    new = world.binary("new\n")
    entry = world.publish_tarball({**world.full(), "gvisor-bin/gvisor_new": new})
    entry["files"]["gvisor-bin/gvisor_new"] = pin(new)

    found = resolve(RELEASE, world.arch, world.sources(entry))

    assert "gvisor-bin/gvisor_new" in [file.path for file in found.files]


def test_a_file_that_is_there_twice_is_refused(world):
    twice = tarfile.TarInfo("runsc")

    assert refused(world, world.publish_tarball(members=[twice])).why == "it is there twice"


@pytest.mark.feature("A9")
@pytest.mark.parametrize("missing", [f"gvisor-bin/{name}" for name in SIDECARS])
def test_a_missing_sidecar_is_refused(world, missing):
    files = world.full()
    del files[missing]

    error = refused(world, world.publish_tarball(files))

    assert f"{missing} failed the check 'present'" in error.what
    assert f"take all files of release {RELEASE}" == error.remedy


def test_a_tarball_without_runsc_is_refused(world):
    error = refused(world, world.publish_tarball({"containerd-shim-runsc-v1": world.shim()}))

    assert "holds no runsc" in error.what


@pytest.mark.feature("A10")
@pytest.mark.parametrize("name", ["gvisor_sentry", "checkpointgofer", "runsc-metric-server"])
def test_a_sidecar_of_another_release_is_refused(world, name):
    files = {**world.full(), f"gvisor-bin/{name}": world.binary(f"{name} release-20260810.0\n")}

    error = refused(world, world.publish_tarball(files))

    assert f"gvisor-bin/{name} failed the check 'label'" in error.what
    assert f"expected release-{RELEASE}, found release-20260810.0" == error.why
    assert "all from one place" in error.remedy


@pytest.mark.feature("A10")
def test_a_longer_number_is_not_taken_for_the_release(world):
    files = {**world.full(), "gvisor-bin/gvisor_sentry": world.binary(f"release-{RELEASE}2\n")}

    assert "label" in refused(world, world.publish_tarball(files)).what


def test_a_sidecar_without_a_label_is_refused_where_the_release_labels_it(world):
    files = {**world.full(), "gvisor-bin/gvisor_sentry": world.binary("sentry\n")}

    assert "no release label" in refused(world, world.publish_tarball(files)).why


def test_a_dynamic_sidecar_is_refused(world):
    files = world.full()
    files["gvisor-bin/checkpointgofer"] = world.binary(f"release-{RELEASE}\n", program=world.dynamic)

    assert "gvisor-bin/checkpointgofer failed the check 'static'" in refused(world, world.publish_tarball(files)).what


@pytest.mark.feature("A14")
def test_members_that_are_not_executable_are_refused(world):
    error = refused(world, world.publish_tarball(mode=0o644))

    assert "runsc failed the check 'executable'" in error.what
    assert "mode 0644" in error.why


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_a_truncated_archive_with_a_matching_hash_is_refused(world, cut):
    whole = world.tarball(world.full())
    body = whole[: int(len(whole) * cut)]
    world.bucket.put(f"{RELEASE}/{world.arch}/gvisor.tar.bz2", body)

    error = refused(world, world.entry({"gvisor.tar.bz2": pin(body)}, "tarball"))

    assert "gvisor.tar.bz2" in error.what


def test_something_that_is_no_archive_is_refused(world):
    body = b"no archive"
    world.bucket.put(f"{RELEASE}/{world.arch}/gvisor.tar.bz2", body)

    error = refused(world, world.entry({"gvisor.tar.bz2": pin(body)}, "tarball"))

    assert "is not a usable tar archive" in error.what


@pytest.mark.feature("A14")
def test_a_loose_release_that_has_sidecars_warns_that_they_are_missing(world):
    found = resolve(RELEASE, world.arch, world.sources(world.publish_loose()))

    assert len(found.warnings) == 1
    assert "gvisor_sentry" in found.warnings[0]


def test_a_member_that_is_absurdly_big_is_refused_before_it_is_written(world, monkeypatch):
    monkeypatch.setattr("orchestrator.gvisor.archive._MAX_MEMBER", 1000)

    assert "more than 1000" in refused(world, world.publish_tarball()).why
