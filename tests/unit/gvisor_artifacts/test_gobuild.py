"""Releases that are known as a Go module: a real ``go build`` of a small module with gVisor's name and packages."""

from __future__ import annotations

import json
import subprocess
import zipfile
from dataclasses import replace

import pytest
from release_world import RELEASE, snapshot

from orchestrator.errors import GvisorNodesError, InvalidInputError, MissingComponentError, RefusedError
from orchestrator.gvisor import gomodule
from orchestrator.gvisor.artifacts import ArtifactSources, resolve
from orchestrator.gvisor.elf import host_architecture, read_elf
from orchestrator.gvisor.gobuild import build
from orchestrator.gvisor.gomodule import ModuleBuild

VERSION = "v0.0.0-20260817000000-0123456789ab"
SOURCES = {
    "go.mod": "module gvisor.dev/gvisor\n\ngo 1.25\n",
    "runsc/version/version.go": (
        'package version\n\nvar version = "VERSION_MISSING"\n\nfunc Version() string { return version }\n'
    ),
    "runsc/main.go": (
        'package main\n\nimport (\n\t"os"\n\n\t"gvisor.dev/gvisor/runsc/version"\n)\n\n'
        'func main() { os.Stdout.WriteString("runsc version " + version.Version() + "\\nspec: 1.2.1\\n") }\n'
    ),
    "shim/main.go": (
        'package main\n\nimport "os"\n\n'
        'func main() { os.Stdout.WriteString("containerd-shim-runsc-v1:\\n  Version:  2.1.5+unknown\\n") }\n'
    ),
}


@pytest.fixture
def module(go_cache, world, monkeypatch):
    """A file-system module proxy with one version, and the sum that the Go command computes for it."""
    folder = world.root / "proxy" / "gvisor.dev" / "gvisor" / "@v"
    folder.mkdir(parents=True)
    (folder / "list").write_text(f"{VERSION}\n")
    (folder / f"{VERSION}.info").write_text(json.dumps({"Version": VERSION, "Time": "2026-08-17T00:00:00Z"}))
    (folder / f"{VERSION}.mod").write_text(SOURCES["go.mod"])
    with zipfile.ZipFile(folder / f"{VERSION}.zip", "w") as archive:
        for name, content in SOURCES.items():
            archive.writestr(f"gvisor.dev/gvisor@{VERSION}/{name}", content)
    monkeypatch.setenv("GOCACHE", go_cache)
    monkeypatch.setenv("GOPROXY", f"file://{world.root / 'proxy'}")
    monkeypatch.setenv("GOSUMDB", "off")
    monkeypatch.setenv("GOMODCACHE", str(world.root / "modules"))
    told = subprocess.run(
        ["go", "mod", "download", "-json", f"gvisor.dev/gvisor@{VERSION}"],
        capture_output=True,
        text=True,
        check=True,
        cwd=world.root,
    )
    yield {"version": VERSION, "sum": json.loads(told.stdout)["Sum"]}
    subprocess.run(["go", "clean", "-modcache"], check=True, cwd=world.root)  # the files are read-only


@pytest.mark.feature("A14")
def test_a_module_with_the_pinned_sum_is_built_static_and_labelled(world, module):
    lines = []
    sources = world.sources(world.entry({}, "module", module=module))

    found = resolve(RELEASE, world.arch, sources, lines.append)

    assert [file.path for file in found.files] == ["runsc", "containerd-shim-runsc-v1"]
    assert f"built here from gvisor.dev/gvisor@{VERSION}" in found.source
    assert found.shim_containerd == "2.1.5+unknown"
    assert "without its sidecars" in found.warnings[0]
    assert read_elf(found.directory / "runsc").static
    assert any("building runsc" in line for line in lines)
    lines.clear()

    assert found == resolve(RELEASE, world.arch, sources, lines.append)
    assert lines == []


@pytest.mark.feature("A8")
@pytest.mark.slow
def test_a_module_is_built_for_the_other_architecture_too(world, module):
    sources = world.sources(world.entry({}, "module", arch=world.foreign, module=module))

    found = resolve(RELEASE, world.foreign, sources)

    assert world.foreign == read_elf(found.directory / "runsc").machine


@pytest.mark.feature("A3")
def test_a_module_with_another_sum_is_refused(world, module):
    pinned = f"h1:{'A' * 43}="
    sources = world.sources(world.entry({}, "module", module={**module, "sum": pinned}))

    with pytest.raises(RefusedError) as caught:
        resolve(RELEASE, world.arch, sources)

    assert "another sum than pinned" in caught.value.what
    assert f"expected {pinned}, found {module['sum']}" == caught.value.why
    assert "GOPROXY" in caught.value.remedy
    assert world.kept() == []


def test_a_module_that_cannot_be_fetched_is_an_error(world, module):
    sources = world.sources(
        world.entry({}, "module", module={**module, "version": "v0.0.0-20200101000000-000000000000"})
    )

    with pytest.raises(GvisorNodesError) as caught:
        resolve(RELEASE, world.arch, sources)

    assert "cannot be fetched" in caught.value.what
    assert caught.value.why
    assert world.kept() == []


@pytest.mark.feature("A7")
def test_offline_a_module_is_built_from_the_module_cache_only(world, module, monkeypatch):
    entry = world.entry({}, "module", module=module)
    assert len(resolve(RELEASE, world.arch, world.sources(entry, offline=True)).files) == 2

    monkeypatch.setenv("GOMODCACHE", str(world.root / "empty"))
    world.cache = world.root / "another"
    with pytest.raises(GvisorNodesError) as caught:
        resolve(RELEASE, world.arch, world.sources(entry, offline=True))

    assert "GOPROXY=off" in caught.value.why


def test_where_building_is_switched_off_a_module_is_refused(world):
    entry = world.entry({}, "module", module={"version": VERSION, "sum": f"h1:{'A' * 43}="})

    with pytest.raises(RefusedError) as caught:
        resolve(RELEASE, world.arch, world.sources(entry, go_module=False))

    assert "building is switched off" in caught.value.what
    assert "choose another release" in caught.value.remedy


def test_without_go_the_error_names_the_command_that_installs_it(world, monkeypatch):
    entry = world.entry({}, "module", module={"version": VERSION, "sum": f"h1:{'A' * 43}="})
    monkeypatch.setenv("PATH", str(world.root))

    with pytest.raises(MissingComponentError) as caught:
        resolve(RELEASE, world.arch, world.sources(entry))

    assert "no program `go`" in caught.value.why
    assert "apt-get install golang-go" in caught.value.remedy
    assert world.kept() == []


def test_a_patched_copy_is_built_in_place_of_the_published_module(world, module):
    copy = world.write({name: text.encode() for name, text in SOURCES.items()}, "patched", mode=0o644)
    (copy / "shim" / "main.go").write_text(SOURCES["shim/main.go"].replace("2.1.5", "9.9.9"))
    before = snapshot(copy)

    build("20260905.0", world.arch, world.root / "out", module_directory=copy)

    printed = subprocess.run([world.root / "out" / "containerd-shim-runsc-v1"], capture_output=True, check=True)
    assert b"9.9.9" in printed.stdout
    printed = subprocess.run([world.root / "out" / "runsc", "--version"], capture_output=True, check=True)
    assert b"runsc version release-20260905.0\n" in printed.stdout
    assert before == snapshot(copy)
    assert sorted(path.name for path in (world.root / "out").iterdir()) == ["containerd-shim-runsc-v1", "runsc"]


def test_a_release_that_was_written_for_an_older_go_is_built_with_that_go(world, module):
    copy = world.root / "copy"
    for name, content in SOURCES.items():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_text(content.replace("go 1.25", "go 1.23.1"))
    said = []

    # The proxy of this test has no Go, so the error shows which one was asked for.
    with pytest.raises(GvisorNodesError) as raised:
        build("20260905.0", world.arch, world.root / "out", module_directory=copy, progress=said.append)

    assert "go1.23.1" in raised.value.why
    assert "using Go 1.23.1, for which gVisor release-20260905.0 was written" in said


def test_a_build_that_fails_keeps_what_was_there_and_shows_the_compilers_words(world, module):
    copy = world.write({name: text.encode() for name, text in SOURCES.items()}, "patched", mode=0o644)
    (copy / "shim" / "main.go").write_text("package main\n\nfunc main() { undefined() }\n")
    out = world.write({"runsc": b"old"}, "out")

    with pytest.raises(GvisorNodesError) as caught:
        build("20260905.0", world.arch, out, module_directory=copy)

    assert "undefined: undefined" in caught.value.why
    assert (out / "runsc").read_bytes() == b"old"
    assert [path.name for path in out.iterdir()] == ["runsc"]


@pytest.fixture
def files(world, module):
    """What copies a file of the module's, and where to."""
    wanted = ModuleBuild("it", "gvisor.dev/gvisor", VERSION, module["sum"], {}, "", files={"named": "runsc/main.go"})
    return wanted, world.root / "out"


def test_a_file_of_a_module_comes_as_it_is_and_writable(world, files):
    wanted, out = files

    gomodule.build(wanted, world.arch, out)

    assert (out / "named").read_text() == SOURCES["runsc/main.go"]
    assert (out / "named").stat().st_mode & 0o777 == 0o644


def test_a_file_that_a_module_does_not_have_is_an_error_that_names_it(world, files):
    wanted, out = files

    with pytest.raises(GvisorNodesError, match=r"none\.go of it cannot be copied"):
        gomodule.build(replace(wanted, files={"named": "runsc/none.go"}), world.arch, out)

    assert list(out.iterdir()) == []


def test_a_release_that_is_no_known_module_cannot_be_built(world):
    with pytest.raises(InvalidInputError) as caught:
        build("20251201.0", world.arch, world.root / "out")

    assert "not known as a Go module" in caught.value.what


@pytest.mark.slow
@pytest.mark.feature("A14")
def test_the_published_module_of_20260905_is_built_and_checked(tmp_path, monkeypatch):
    """The real thing: seconds where Go's caches have it, minutes and a module proxy where not."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    arch = host_architecture()

    found = resolve("20260905.0", arch, ArtifactSources(cache=tmp_path / "cache"))

    assert found.shim_containerd == "2.1.5+unknown"
    assert len(found.warnings) == 1
