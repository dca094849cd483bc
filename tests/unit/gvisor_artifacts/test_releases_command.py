"""``gvisor-nodes releases``: the sub-commands, their formats and their errors."""

from __future__ import annotations

import json

import pytest
import yaml
from release_world import RELEASE, pin, snapshot
from typer.testing import CliRunner

from orchestrator.cli.releases import app
from orchestrator.errors import GvisorNodesError, InvalidInputError
from orchestrator.gvisor.catalogue import user_file
from orchestrator.gvisor.releases import DEFAULT_RELEASE

SHIM = "containerd-shim-runsc-v1"


def run(*arguments):
    """Run a sub-command; errors of ours come out as the main program sees them."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "250"})
    if isinstance(result.exception, GvisorNodesError):
        return result, result.exception
    assert result.exit_code == 0, result.output
    return result, None


@pytest.mark.feature("A1")
def test_list_shows_every_known_release_with_source_and_date(world):
    rows = json.loads(run("list", "--output", "json")[0].stdout)

    assert {DEFAULT_RELEASE} == {row["release"] for row in rows if row["default"]}
    assert all(row["source"] and row["date"] for row in rows)
    assert rows == yaml.safe_load(run("list", "--output", "yaml")[0].stdout)
    assert DEFAULT_RELEASE in run("list")[0].stdout


def test_list_shows_the_files_of_the_run(world):
    catalogue = world.catalogue(world.publish_loose())

    rows = json.loads(run("list", "-o", "json", "--releases-file", catalogue)[0].stdout)

    assert [str(catalogue)] == [row["catalogue"] for row in rows if row["release"] == RELEASE]


def test_fetch_shows_the_files_and_list_then_shows_it_as_cached(world):
    catalogue = world.catalogue(world.publish_loose())
    arguments = (RELEASE, "--releases-file", catalogue, "--bucket", world.bucket.url)

    result, _ = run("fetch", *arguments, "--output", "json")

    summary = json.loads(result.stdout)
    assert [file["file"] for file in summary["files"]] == ["runsc", SHIM]
    assert summary["shim_containerd"] == "2.1.5+unknown"
    assert "downloading" in result.stderr
    assert "warning: " in result.stderr
    rows = json.loads(run("list", "-o", "json", "--releases-file", catalogue)[0].stdout)
    assert [row["cached"] for row in rows if row["release"] == RELEASE] == [True]
    assert "runsc" in run("fetch", *arguments, "--offline")[0].stdout


@pytest.mark.feature("A7")
@pytest.mark.parametrize("layout", ["loose", "tarball"])
def test_what_fetch_copies_for_an_air_gapped_site_is_accepted_there(world, layout):
    entry = world.publish_loose() if layout == "loose" else world.publish_tarball()
    target = world.root / "carried"
    run("fetch", RELEASE, "--releases-file", world.catalogue(entry), "--bucket", world.bucket.url, "--to", target)
    world.bucket.requests.clear()

    arguments = ("--releases-file", target / "releases.json")
    result, error = run("verify", target, RELEASE, *arguments, "--output", "json")

    assert error is None
    checks = json.loads(result.stdout)
    assert all(check["ok"] for check in checks)
    assert {"sha512", "static", "architecture", "executable", "version"} <= {check["check"] for check in checks}
    assert error is run("fetch", RELEASE, *arguments, "--directory", target, "--offline")[1]
    assert world.bucket.requests == []


def test_a_second_copy_replaces_the_first_and_leaves_nothing_else(world):
    target = world.root / "carried"
    stale = world.write({"gvisor-bin/old": b"x"}, "carried", RELEASE, world.arch)
    arguments = ("--releases-file", world.catalogue(world.publish_loose()), "--bucket", world.bucket.url)

    run("fetch", RELEASE, *arguments, "--to", target)

    assert sorted(snapshot(stale)) == [SHIM, "runsc"]
    assert [path.name for path in target.iterdir() if path.is_file()] == ["releases.json"]
    assert [world.arch] == [path.name for path in (target / RELEASE).iterdir()]


def test_a_target_that_cannot_be_written_is_an_error(world):
    (world.root / "carried").write_text("a file")
    arguments = ("--releases-file", world.catalogue(world.publish_loose()), "--bucket", world.bucket.url)

    _, error = run("fetch", RELEASE, *arguments, "--to", world.root / "carried")

    assert "cannot be copied" in error.what
    assert "writable" in error.remedy


@pytest.mark.feature("A14")
def test_verify_shows_every_check_and_fails_if_one_fails(world):
    files = world.loose()
    where = world.write({**files, SHIM: world.shim(program=world.dynamic)}, "mirror")
    (where / "runsc").chmod(0o644)
    catalogue = world.catalogue(world.entry({name: pin(body) for name, body in files.items()}))

    result, error = run("verify", where, RELEASE, "--releases-file", catalogue, "--output", "json")

    assert isinstance(error, InvalidInputError)
    failed = {(check["file"], check["check"]) for check in json.loads(result.stdout) if not check["ok"]}
    assert {("runsc", "executable"), (SHIM, "sha512"), (SHIM, "static")} == failed
    table = run("verify", where, RELEASE, "--releases-file", catalogue)[0].stdout
    assert "no" in table
    assert "mode 0644" in table


@pytest.mark.feature("A10")
def test_verify_looks_into_a_tarball(world):
    entry = world.publish_tarball()
    body = world.tarball(world.full())
    world.write({"gvisor.tar.bz2": body}, "mirror")

    result, error = run(
        "verify", world.root / "mirror", RELEASE, "--releases-file", world.catalogue(entry), "-o", "yaml"
    )

    assert error is None
    assert "gvisor-bin/gvisor_sentry" in {check["file"] for check in yaml.safe_load(result.stdout)}


def test_import_adds_the_entries_and_says_where(world):
    catalogue = world.catalogue(world.publish_loose())

    result, _ = run("import", catalogue)

    assert RELEASE in result.stdout
    assert str(user_file()) in result.stderr
    assert RELEASE in run("list", "-o", "json")[0].stdout


def test_import_of_a_bad_file_is_invalid_and_writes_nothing(world):
    (world.root / "bad.json").write_text("{}")

    _, error = run("import", world.root / "bad.json")

    assert isinstance(error, InvalidInputError)
    assert error.exit_code == 2
    assert not user_file().exists()


def test_an_unknown_release_is_invalid_for_every_command_that_takes_one(world):
    for arguments in (("fetch", "20990101.0"), ("verify", world.root, "20990101.0")):
        _, error = run(*arguments)

        assert isinstance(error, InvalidInputError)
        assert "20990101.0" in error.what
