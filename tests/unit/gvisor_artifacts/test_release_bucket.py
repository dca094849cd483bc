"""Loose files from the release bucket: what is accepted, and that nothing else is ever kept."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from release_world import HTML, RELEASE, Answer, pin, sha512

import orchestrator
from orchestrator.errors import GvisorNodesError, InvalidInputError, RefusedError
from orchestrator.gvisor.artifacts import ArtifactSources, resolve
from orchestrator.gvisor.elf import host_architecture

SHIM = "containerd-shim-runsc-v1"


def path(world, name):
    return f"/releases/release/{RELEASE}/{world.arch}/{name}"


def refused(world, entry, error, **more):
    """Resolve, expect the error, and see that nothing was kept."""
    with pytest.raises(error) as caught:
        resolve(RELEASE, world.arch, world.sources(entry, **more))

    assert type(caught.value) is error
    assert world.kept() == []
    assert caught.value.what
    assert caught.value.why
    assert caught.value.remedy
    return caught.value


@pytest.mark.feature("A1")
@pytest.mark.feature("A3")
def test_published_files_with_the_pinned_hashes_are_taken(world):
    files = world.loose()
    lines = []

    found = resolve(RELEASE, world.arch, world.sources(world.publish_loose(files)), lines.append)

    assert (RELEASE, world.arch) == (found.release, found.architecture)
    assert [file.path for file in found.files] == ["runsc", SHIM]
    assert [sha512(files["runsc"]), sha512(files[SHIM])] == [file.sha512 for file in found.files]
    assert [len(files["runsc"]), len(files[SHIM])] == [file.size for file in found.files]
    assert files["runsc"] == (found.directory / "runsc").read_bytes()
    assert (found.directory / "runsc").stat().st_mode & 0o7777 == 0o755
    assert found.directory.stat().st_mode & 0o7777 == 0o755
    assert found.shim_containerd == "2.1.5+unknown"
    assert found.source.startswith(world.bucket.url)
    assert any("downloading" in line for line in lines)


@pytest.mark.feature("A15")
def test_a_release_in_the_cache_is_not_asked_for_again(world):
    sources = world.sources(world.publish_loose())
    first = resolve(RELEASE, world.arch, sources)
    world.bucket.requests.clear()

    second = resolve(RELEASE, world.arch, sources)

    assert first == second
    assert world.bucket.requests == []


def test_a_changed_file_in_the_cache_is_fetched_again(world):
    entry = world.publish_loose()
    found = resolve(RELEASE, world.arch, world.sources(entry))
    original = (found.directory / "runsc").read_bytes()
    (found.directory / "runsc").write_bytes(original[:-1] + b"x")

    again = resolve(RELEASE, world.arch, world.sources(entry))

    assert original == (again.directory / "runsc").read_bytes()


def test_a_cache_slot_without_its_manifest_is_not_used(world):
    entry = world.publish_loose()
    found = resolve(RELEASE, world.arch, world.sources(entry))
    found.directory.with_suffix(".json").unlink()
    world.bucket.requests.clear()

    assert found == resolve(RELEASE, world.arch, world.sources(entry))
    assert path(world, "runsc") in world.bucket.requests


@pytest.mark.feature("A6")
def test_a_404_with_an_html_body_is_an_error_and_no_file(world):
    entry = world.publish_loose()
    for name in ("runsc", "runsc.sha512"):
        del world.bucket.answers[path(world, name)]

    error = refused(world, entry, GvisorNodesError)

    assert error.exit_code == 1
    assert "HTTP status 404" in error.why
    assert path(world, "runsc") in error.what
    assert "operator's directory" in error.remedy


@pytest.mark.feature("A6")
@pytest.mark.parametrize("status", [500, 503])
def test_a_server_error_is_an_error_and_no_file(world, status):
    entry = world.publish_loose()
    world.bucket.answers[path(world, SHIM)] = Answer(HTML, status, "text/html")

    error = refused(world, entry, GvisorNodesError)

    assert f"HTTP status {status}" in error.why
    assert SHIM in error.what


@pytest.mark.feature("A6")
def test_a_login_page_with_status_200_is_refused_and_named(world):
    entry = world.publish_loose()
    world.bucket.answers[path(world, "runsc")] = Answer(HTML, 200, "text/html")

    error = refused(world, entry, RefusedError)

    assert error.exit_code == 4
    assert "the server called it text/html" in error.why


@pytest.mark.feature("A3")
def test_other_bytes_than_pinned_are_refused(world):
    entry = world.publish_loose()
    expected = entry["files"]["runsc"].removeprefix("sha512:")
    other = world.runsc() + b"\0"
    world.bucket.answers[path(world, "runsc")] = Answer(other)

    error = refused(world, entry, RefusedError)

    assert "has the wrong hash" in error.what
    assert expected in error.why
    assert sha512(other) in error.why
    assert "nothing was kept" in error.remedy


@pytest.mark.feature("A3")
def test_a_release_published_anew_with_other_hashes_is_refused_before_it_is_downloaded(world):
    entry = world.publish_loose()
    other = world.runsc() + b"\0"
    world.bucket.put(f"{RELEASE}/{world.arch}/runsc", other)

    error = refused(world, entry, RefusedError)

    assert "publisher's hash" in error.what
    assert sha512(other) in error.why
    assert [path(world, "runsc.sha512")] == world.bucket.requests


def test_a_checksum_file_without_a_checksum_is_an_error(world):
    entry = world.publish_loose()
    world.bucket.answers[path(world, "runsc.sha512")] = Answer(HTML, 200, "text/html")

    error = refused(world, entry, GvisorNodesError)

    assert "holds no SHA-512" in error.what
    assert "DOCTYPE" in error.why


def test_a_sha256_in_the_catalogue_still_needs_the_published_sha512(world):
    files = world.loose()
    world.publish_loose(files)
    entry = world.entry({name: pin(body, "sha256") for name, body in files.items()})
    assert len(resolve(RELEASE, world.arch, world.sources(entry)).files) == 2

    world.bucket.answers[path(world, "runsc.sha512")] = Answer(b"0" * 128)
    other = world.entry({name: pin(body, "sha256") for name, body in files.items()}, source="another")
    world.cache = world.root / "empty"
    error = refused(world, other, RefusedError)

    assert "expected sha512 000" in error.why


def test_half_a_download_is_an_error_and_no_file(world):
    entry = world.publish_loose()
    whole = world.bucket.answers[path(world, "runsc")].body
    world.bucket.answers[path(world, "runsc")] = Answer(whole[: len(whole) // 2], length=len(whole))

    error = refused(world, entry, GvisorNodesError)

    assert "was cut off" in error.what
    assert f"expected {len(whole)} bytes, got {len(whole) // 2}" in error.why
    assert "try again" in error.remedy


def test_a_server_that_is_not_there_is_an_error(world):
    entry = world.publish_loose()
    world.bucket.close()

    error = refused(world, entry, GvisorNodesError)

    assert "refused" in error.why
    assert "check the network" in error.remedy
    world.bucket.__init__()  # the fixture closes it once more


def test_a_redirect_within_the_scheme_is_followed(world):
    entry = world.publish_loose()
    body = world.bucket.answers[path(world, "runsc")].body
    world.bucket.put("elsewhere", body)
    world.bucket.answers[path(world, "runsc")] = Answer(status=302, location="/releases/release/elsewhere")

    assert len(resolve(RELEASE, world.arch, world.sources(entry)).files) == 2


@pytest.mark.parametrize("location", ["https://127.0.0.1:1/runsc", "ftp://127.0.0.1/runsc", "file:///etc/passwd"])
def test_a_redirect_to_another_scheme_is_not_followed(world, location):
    entry = world.publish_loose()
    world.bucket.answers[path(world, "runsc")] = Answer(status=302, location=location)

    error = refused(world, entry, GvisorNodesError)

    assert location.partition(":")[0] in error.why + error.what


@pytest.mark.parametrize("address", ["file:///srv", "/srv/gvisor", "https://user:secret@127.0.0.1/x", "https://"])
def test_a_bucket_that_is_no_plain_http_url_is_invalid_and_not_echoed(world, address):
    sources = ArtifactSources(
        releases_files=(world.catalogue(world.publish_loose()),), cache=world.cache, bucket=address
    )

    with pytest.raises(InvalidInputError) as caught:
        resolve(RELEASE, world.arch, sources)

    assert caught.value.exit_code == 2
    assert "secret" not in str(caught.value)


@pytest.mark.feature("A14")
def test_a_dynamic_binary_is_refused_though_its_hash_is_right(world):
    files = {**world.loose(), "runsc": world.runsc(program=world.dynamic)}

    error = refused(world, world.publish_loose(files), RefusedError)

    assert "runsc failed the check 'static'" in error.what
    assert "libc.so.6" in error.why
    assert "CGO_ENABLED=0" in error.remedy


@pytest.mark.feature("A8")
def test_a_binary_for_another_machine_is_refused(world):
    files = {**world.loose(), SHIM: world.shim(arch=world.foreign)}

    error = refused(world, world.publish_loose(files), RefusedError)

    assert f"{SHIM} failed the check 'architecture'" in error.what
    assert f"expected {world.arch}, found {world.foreign}" == error.why


@pytest.mark.parametrize(
    ("content", "reason"),
    [(HTML, "HTML"), (b"#!/bin/sh\n", "a script"), (b"\x1f\x8b0000", "not with an ELF header"), (b"", "empty")],
)
def test_something_that_is_no_elf_file_is_refused_and_named(world, content, reason):
    error = refused(world, world.publish_loose({**world.loose(), "runsc": content}), RefusedError)

    assert "'elf'" in error.what
    assert reason in error.why


def test_half_an_elf_header_is_refused(world):
    error = refused(world, world.publish_loose({**world.loose(), "runsc": world.runsc()[:40]}), RefusedError)

    assert "'elf'" in error.what


@pytest.mark.feature("A14")
def test_a_runsc_that_says_another_release_is_refused(world):
    error = refused(world, world.publish_loose({**world.loose(), "runsc": world.runsc("20250101.0")}), RefusedError)

    assert "runsc failed the check 'version'" in error.what
    assert f"expected release-{RELEASE}, found release-20250101.0" == error.why


def test_a_shim_that_prints_no_version_is_refused(world):
    error = refused(world, world.publish_loose({**world.loose(), SHIM: world.binary("hello\n")}), RefusedError)

    assert f"{SHIM} failed the check 'version'" in error.what
    assert "hello" in error.why


@pytest.mark.feature("A8")
def test_files_of_the_other_architecture_are_checked_by_their_label(world):
    entry = world.publish_loose(world.loose(arch=world.foreign), arch=world.foreign)

    found = resolve(RELEASE, world.foreign, world.sources(entry))

    assert world.foreign == found.architecture
    assert not found.shim_containerd

    wrong = world.publish_loose(world.loose("20250101.0", arch=world.foreign), arch=world.foreign)
    with pytest.raises(RefusedError) as caught:
        resolve(RELEASE, world.foreign, world.sources(wrong))

    assert caught.value.why == "expected release-20260817.1, found release-20250101.0"


def test_the_library_of_a_foreign_shim_is_read_from_its_build_information(world):
    shim = world.binary("dep\tgithub.com/containerd/containerd/v2\tv2.1.5\th1:x", arch=world.foreign)
    entry = world.publish_loose({**world.loose(arch=world.foreign), SHIM: shim}, arch=world.foreign)

    assert resolve(RELEASE, world.foreign, world.sources(entry)).shim_containerd == "2.1.5"


@pytest.mark.parametrize("release", ["20990101.0", "20250101.0"])
def test_an_unknown_release_is_invalid_and_says_what_is_known(world, release):
    with pytest.raises(InvalidInputError) as caught:
        resolve(release, world.arch, world.sources())

    assert caught.value.exit_code == 2
    assert release in caught.value.what
    assert "known for" in caught.value.why
    assert "releases import FILE" in caught.value.remedy
    assert not world.cache.exists()


@pytest.mark.parametrize("release", ["latest", "20260905", "20261305.0", "2026090५.0", "../../etc", "", "20260905.0\n"])
def test_a_malformed_release_is_invalid(world, release):
    with pytest.raises(InvalidInputError) as caught:
        resolve(release, world.arch, world.sources())

    assert "YYYYMMDD.N" in caught.value.why
    assert not world.cache.exists()


def test_an_architecture_without_gvisor_is_invalid(world):
    with pytest.raises(InvalidInputError) as caught:
        resolve(RELEASE, "riscv64", world.sources())

    assert "x86_64 and aarch64" in caught.value.why


def test_a_release_known_for_the_other_architecture_only_says_so(world):
    with pytest.raises(InvalidInputError) as caught:
        resolve(RELEASE, world.foreign, world.sources(world.publish_loose()))

    assert f"it is known for {world.arch} only" == caught.value.why


@pytest.mark.feature("A7")
def test_offline_uses_the_cache_and_never_the_network(world):
    entry = world.publish_loose()
    error = refused(world, entry, RefusedError, offline=True)
    assert "network must not be used" in error.what
    assert "operator's directory" in error.remedy
    assert world.bucket.requests == []

    resolve(RELEASE, world.arch, world.sources(entry))
    world.bucket.requests.clear()

    assert len(resolve(RELEASE, world.arch, world.sources(entry, offline=True)).files) == 2
    assert world.bucket.requests == []


def test_a_cache_that_cannot_be_written_is_an_error_that_names_it(world):
    entry = world.publish_loose()
    world.cache.write_text("a file where the directory should be")

    with pytest.raises(GvisorNodesError) as caught:
        resolve(RELEASE, world.arch, world.sources(entry))

    assert str(world.cache) in caught.value.why + caught.value.remedy
    assert "XDG_CACHE_HOME" in caught.value.remedy


@pytest.mark.feature("A11")
def test_two_processes_that_want_the_same_release_download_it_once(world):
    entry = world.publish_loose()
    answer = world.bucket.answers[path(world, "runsc")]
    answer.gate = threading.Event()
    code = (
        "import sys; from pathlib import Path; from orchestrator.gvisor.artifacts import ArtifactSources, resolve\n"
        "catalogue, cache, bucket, release, arch = sys.argv[1:]\n"
        "s = ArtifactSources(releases_files=(Path(catalogue),), cache=Path(cache), bucket=bucket)\n"
        "print(resolve(release, arch, s, lambda line: print(line, flush=True)).directory)\n"
    )
    argv = [sys.executable, "-c", code, str(world.catalogue(entry)), str(world.cache), world.bucket.url, RELEASE]
    argv.append(host_architecture())

    environment = {**os.environ, "PYTHONPATH": str(Path(orchestrator.__file__).parents[1])}

    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as first:
        assert answer.asked.wait(30)
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as second:
            assert "waiting for another process" in second.stdout.readline()
            answer.gate.set()
            outputs = [process.stdout.read().splitlines()[-1] for process in (first, second)]

    assert (first.returncode, second.returncode) == (0, 0)
    assert outputs[0] == outputs[1]
    assert sorted({*world.bucket.requests}) == sorted(world.bucket.requests)


def test_a_server_that_sends_without_end_is_refused(world, monkeypatch):
    monkeypatch.setattr("orchestrator.gvisor.download._MAX_FILE", 1000)

    assert "is too big" in refused(world, world.publish_loose(), RefusedError).what


def test_a_download_that_does_not_finish_in_time_is_an_error(world, monkeypatch):
    monkeypatch.setattr("orchestrator.gvisor.download._DEADLINE", -1.0)

    assert "not finished after" in refused(world, world.publish_loose(), GvisorNodesError).why


def test_an_answer_that_is_neither_file_nor_error_is_an_error(world):
    entry = world.publish_loose()
    world.bucket.answers[path(world, "runsc")] = Answer(b"x", 206)

    assert "HTTP status 206" in refused(world, entry, GvisorNodesError).why
