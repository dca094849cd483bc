"""Catalogue files: what they may say, who wins, and what is built in."""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import suppress
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from release_world import RELEASE, pin

from orchestrator.errors import GvisorNodesError, InvalidInputError, RefusedError
from orchestrator.gvisor.catalogue import (
    Catalogue,
    CatalogueEntry,
    GoModule,
    builtin,
    import_file,
    parse,
    read_file,
    render,
    user_file,
)
from orchestrator.gvisor.releases import ARCHITECTURES, DEFAULT_RELEASE, release_key, required_sidecars

LOOSE = {"runsc": pin(b"runsc"), "containerd-shim-runsc-v1": pin(b"shim")}


def entry(**changes):
    data = {
        "release": RELEASE,
        "architecture": "x86_64",
        "layout": "loose",
        "source": "a test",
        "date": "2026-09-01",
        "files": LOOSE,
    }
    return {key: value for key, value in (data | changes).items() if value is not None}


def text(*entries, **more):
    return json.dumps({"schema": 1, "releases": entries, **more})


digests = st.one_of(st.binary(max_size=4).map(pin), st.binary(max_size=4).map(lambda content: pin(content, "sha256")))
releases = st.builds(
    lambda day, number: f"{day:%Y%m%d}.{number}", st.dates(date(2001, 1, 1), date(2098, 12, 31)), st.integers(0, 999)
)
names = st.text("abzAZ019._-", min_size=1, max_size=12).filter(lambda name: name[0] not in ".-")
members = st.dictionaries(
    st.builds(lambda folder, name: folder + name, st.sampled_from(["", "gvisor-bin/"]), names), digests, max_size=4
)
common = {
    "release": releases,
    "architecture": st.sampled_from(ARCHITECTURES),
    "source": st.text(min_size=1, max_size=50).filter(lambda value: value == value.strip() and value),
    "date": st.dates(),
}
modules = st.builds(
    GoModule,
    version=st.integers(0, 2**48 - 1).map(lambda commit: f"v0.0.0-20260905035102-{commit:012x}"),
    sum=st.binary(min_size=32, max_size=32).map(lambda raw: f"h1:{b64encode(raw).decode()}"),
)
entries = st.one_of(
    st.builds(
        CatalogueEntry,
        **common,
        layout=st.just("loose"),
        files=members.map(lambda files: {k: v for k, v in files.items() if k != "gvisor.tar.bz2"} | LOOSE),
    ),
    st.builds(
        CatalogueEntry,
        **common,
        layout=st.just("tarball"),
        files=members.map(lambda files: files | {"gvisor.tar.bz2": pin(b"tarball")}),
    ),
    st.builds(CatalogueEntry, **common, layout=st.just("module"), module=modules),
)


@given(st.lists(entries, max_size=5, unique_by=lambda item: (item.release, item.architecture)))
def test_what_is_rendered_is_parsed_to_the_same_entries_and_rendered_to_the_same_bytes(items):
    written = render(items)

    again = parse(written, "a file")

    key = lambda item: (release_key(item.release), item.architecture)  # noqa: E731
    assert sorted(items, key=key) == sorted(again, key=key)
    assert written == render(reversed(again))


@given(st.text(max_size=200))
def test_any_text_is_a_catalogue_or_invalid_input(content):
    with suppress(InvalidInputError):
        parse(content, "a file")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "not JSON"),
        ('{"schema": 1,\n "releases": [}', "line 2"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "file"),
        ('{"releases": []}', "schema"),
        ('{"schema": 2, "releases": []}', "schema"),
        (text(entry(), extra=1), "extra"),
        (text(entry(extra=1)), "releases.0.extra"),
        (text(entry(release="latest")), "YYYYMMDD.N"),
        (text(entry(architecture="amd64")), "'x86_64' or 'aarch64'"),
        (text(entry(layout="zip")), "layout"),
        (text(entry(source=" ")), "source"),
        (text(entry(source=None)), "source"),
        (text(entry(date="yesterday")), "date"),
        (text(entry(date=None)), "date"),
        (text(entry(files={"runsc": LOOSE["runsc"]})), "needs the hashes of runsc and containerd-shim-runsc-v1"),
        (text(entry(files=LOOSE | {"gvisor.tar.bz2": pin(b"")})), "tarball only"),
        (text(entry(files=LOOSE | {"../x": pin(b"")})), "'../x' is not a path below"),
        (text(entry(files=LOOSE | {"/etc/x": pin(b"")})), "is not a path below"),
        (text(entry(files=LOOSE | {"runsc": "0" * 128})), "files.runsc"),
        (text(entry(files=LOOSE | {"runsc": pin(b"").upper()})), "files.runsc"),
        (text(entry(files=LOOSE | {"runsc": "md5:" + "0" * 32})), "files.runsc"),
        (text(entry(layout="tarball", files={})), "needs the hash of gvisor.tar.bz2"),
        (text(entry(layout="module", files={})), "needs 'module'"),
        (text(entry(layout="module", files={"runsc": LOOSE["runsc"]})), "needs the hashes"),
        (text(entry(module={"version": "v0.0.0-1", "sum": "h1:" + "A" * 43 + "="})), "layout module only"),
        (text(entry(layout="module", files={}, module={"version": "go", "sum": "x"})), "module.version"),
        (text(entry(), entry()), "is there twice"),
    ],
)
def test_a_bad_catalogue_file_is_invalid_and_says_where(content, reason):
    with pytest.raises(InvalidInputError) as caught:
        parse(content, "hashes.json")

    assert caught.value.what == "hashes.json is not a catalogue of gVisor releases"
    assert reason in caught.value.why
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("content", "reason"), [(b"\xff\xfe", "not UTF-8"), (b" " * (4 * 1024 * 1024 + 1), "larger than")]
)
def test_a_file_that_is_no_text_is_invalid(tmp_path, content, reason):
    (tmp_path / "file").write_bytes(content)

    with pytest.raises(InvalidInputError) as caught:
        read_file(tmp_path / "file")

    assert reason in caught.value.why


def test_a_file_that_cannot_be_read_is_invalid(tmp_path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InvalidInputError) as caught:
            read_file(path)

        assert str(path) in caught.value.what


def test_every_built_in_hash_has_a_source_and_a_date():
    assert builtin()
    for item in builtin():
        assert len(item.source) > 20, item
        assert item.date <= date.today(), item  # noqa: DTZ011 - a day is enough
        assert item.files or item.module, item


def test_the_default_release_is_the_newest_with_hashes_for_every_architecture():
    known = [{item.release for item in builtin() if item.architecture == arch and item.files} for arch in ARCHITECTURES]

    assert max(set.intersection(*known), key=release_key) == DEFAULT_RELEASE


def test_no_two_built_in_releases_share_a_runsc():
    hashes = [item.files["runsc"] for item in builtin() if "runsc" in item.files]

    assert len(hashes) == len(set(hashes))


@pytest.mark.parametrize(
    ("release", "names"),
    [
        ("20260720.0", []),
        ("20260721.0", ["checkpointgofer", "runsc-metric-server"]),
        ("20260810.0", ["checkpointgofer", "gvisor_sentry", "runsc-metric-server"]),
        ("20260905.0", ["checkpointgofer", "gvisor-sentry-prewarmer", "gvisor_sentry", "runsc-metric-server"]),
        (
            "20261005.0",
            ["checkpointgofer", "gvisor-sentry-prewarmer", "gvisor_sentry", "runsc-fd-parking", "runsc-metric-server"],
        ),
    ],
)
@pytest.mark.feature("A9")
def test_a_release_requires_the_sidecars_that_existed_then(release, names):
    assert names == sorted(sidecar.name for sidecar in required_sidecars(release))


def test_a_file_of_the_run_wins_over_an_imported_one_and_that_over_the_built_in_one(world):
    release = DEFAULT_RELEASE
    files = {"runsc": pin(b"a"), "containerd-shim-runsc-v1": pin(b"b")}
    imported = world.catalogue(world.entry(files, "module", release), name="imported.json")
    run = world.catalogue(world.entry(files, "module", release, source="the run"), name="run.json")
    assert Catalogue.load().entry(release, world.arch).layout == "loose"

    import_file(imported)

    assert Catalogue.load().entry(release, world.arch).source == "a test"
    assert Catalogue.load([run]).entry(release, world.arch).source == "the run"
    assert Catalogue.load([run, imported]).entry(release, world.arch).source == "a test"


def test_importing_keeps_what_was_imported_before_and_replaces_the_same_release(world):
    import_file(world.catalogue(world.entry(LOOSE), world.entry(LOOSE, arch=world.foreign)))
    import_file(world.catalogue(world.entry(LOOSE, source="newer"), world.entry(LOOSE, release="20991231.0")))

    imported = {(item.release, item.architecture): item.source for item in read_file(user_file())}

    assert {
        (RELEASE, world.arch): "newer",
        (RELEASE, world.foreign): "a test",
        ("20991231.0", world.arch): "a test",
    } == imported


def test_a_bad_file_is_not_imported_and_leaves_the_catalogue_as_it_was(world):
    import_file(world.catalogue(world.entry(LOOSE)))
    before = user_file().read_bytes()

    with pytest.raises(InvalidInputError):
        import_file(world.catalogue(world.entry({}), world.entry(LOOSE, release="20991231.0")))

    assert before == user_file().read_bytes()
    assert [user_file()] == list(user_file().parent.iterdir())


@pytest.mark.feature("A3")
def test_a_file_that_contradicts_a_built_in_hash_is_refused(world):
    path = world.catalogue(world.entry(LOOSE, release=DEFAULT_RELEASE))

    for act in (lambda: import_file(path), lambda: Catalogue.load([path])):
        with pytest.raises(RefusedError) as caught:
            act()

        assert caught.value.exit_code == 4
        assert "contradicts the built-in hash" in caught.value.what
        assert LOOSE["runsc"] in caught.value.why
        assert "kubespray" in caught.value.why
        assert "layout 'module'" in caught.value.remedy
    assert not user_file().exists()


def test_a_catalogue_that_cannot_be_written_is_an_error(world):
    (world.root / "data").write_text("a file")

    with pytest.raises(GvisorNodesError) as caught:
        import_file(world.catalogue(world.entry(LOOSE)))

    assert str(user_file()) in caught.value.what
    assert "per run" in caught.value.remedy


def test_releases_are_listed_newest_first(world):
    numbers = [release_key(item.release) for _, item in Catalogue.load().entries()]

    assert sorted(numbers, reverse=True) == numbers


def test_other_hashes_have_another_place_in_the_cache():
    one = CatalogueEntry.model_validate(entry())
    other = CatalogueEntry.model_validate(entry(files=LOOSE | {"runsc": pin(b"other")}))
    renamed = CatalogueEntry.model_validate(entry(source="somebody else"))

    assert one.key != other.key
    assert one.key == renamed.key
