"""The product's image: complete without a network, nobody in particular by default, and it says what is in it."""

from __future__ import annotations

import json
import tarfile

import pytest

from orchestrator.execution.job_result import parse
from orchestrator.lab import product_image
from orchestrator.lab.artifacts import DEFAULT_RELEASE
from orchestrator.lab.engine import find_engine

FILES = "/usr/share/gvisor-nodes"
PYTHON = "/opt/gvisor-nodes/bin/python3"
RESOLVE = f"""
from pathlib import Path
from orchestrator.gvisor.artifacts import ArtifactSources, resolve
import platform
here = Path("{FILES}/artifacts")
sources = ArtifactSources(here, (here / "releases.json",), cache=Path("/tmp/cache"), offline=True)
print(*sorted(file.path for file in resolve("{DEFAULT_RELEASE}", platform.machine(), sources).files))
"""
UNCOMPILED = """
import importlib.util, pathlib, sys
root = pathlib.Path("/opt/gvisor-nodes/lib")
sources = [p for p in root.rglob("*.py") if "lib2to3" not in p.parts]
print(*[p for p in sources if not pathlib.Path(importlib.util.cache_from_source(str(p))).exists()])
"""


@pytest.fixture(scope="module")
def engine():
    return find_engine()


@pytest.fixture(scope="module")
def image(engine):
    return product_image.ensure(engine)


@pytest.fixture
def run(engine, image):
    """Run a program in a container without a network and with a read-only root; what it printed, and its exit code."""

    def call(program, *arguments, options=()):
        done = engine.call(
            *("run", "--rm", "--network=none", "--read-only", "--tmpfs=/tmp", *engine.build_options, *options),
            *(f"--entrypoint={program}", image.name, *arguments),
            what="container",
            check=False,
            timeout=120,
        )
        return done.returncode, (done.stdout + done.stderr).strip()

    return call


def test_it_runs_as_nobody_in_particular_and_starts_the_command(run):
    assert (0, "65532") == run("id", "-u")
    rc, text = run("gvisor-nodes", "--version")

    assert (0, "gvisor-nodes") == (rc, text.split()[0])
    assert run("gvisor-nodes", "controller", "--help")[1].startswith("Usage: gvisor-nodes controller")


def test_every_module_is_compiled_and_there_is_nothing_to_install_more_with(run):
    assert (0, "") == run(PYTHON, "-c", UNCOMPILED)
    assert "No module named pip" in run(PYTHON, "-m", "pip")[1]
    assert 0 != run("sh", "-c", "command -v gcc go curl")[0]


def test_releases_are_found_and_whole_without_a_network(run):
    assert (0, "containerd-shim-runsc-v1 runsc") == run(PYTHON, "-c", RESOLVE)


def test_a_job_that_sees_no_host_starts_ansible_and_is_refused(run, tmp_path):
    wish = {"runsc_release": DEFAULT_RELEASE, "runsc_flags": {}, "runsc_directory": "/opt/gvisor-nodes"}
    (tmp_path / "variables.json").write_text(json.dumps(wish))
    message = tmp_path / "message"
    message.write_text("")
    options = (
        *("--user=0", "--env=NODE_NAME=node-1", "--tmpfs=/host", "--tmpfs=/root"),
        *(f"--volume={tmp_path / 'variables.json'}:/variables.json:ro", f"--volume={message}:/dev/termination-log"),
    )
    rc, text = run("gvisor-nodes", "job", "apply", "--variables", "/variables.json", options=options)

    assert 4 == rc, text
    assert "refused" == parse(message.read_text()).outcome


def test_it_says_what_is_in_it_inside_and_beside(run, image):
    document = json.loads(image.sbom.read_text())
    parts = {part["name"]: part["purl"].split(":")[1].split("/")[0] for part in document["components"]}

    assert "CycloneDX" == document["bomFormat"]
    assert {
        "ansible-core": "pypi",
        "libc6": "deb",
        "runsc": "generic",
        "gvisor.dev/gvisor": "golang",
    }.items() <= parts.items()
    assert document == json.loads(run("cat", f"{FILES}/sbom.cdx.json")[1])


def test_its_archive_carries_its_name_and_its_version(image):
    with tarfile.open(image.archive) as archive:
        (manifest,) = json.load(archive.extractfile("manifest.json"))
        config = json.load(archive.extractfile(manifest["Config"]))["config"]

    assert [image.name] == manifest["RepoTags"]
    assert ("65532:65532", ["/opt/gvisor-nodes/bin/gvisor-nodes"]) == (config["User"], config["Entrypoint"])
    assert config["Labels"]["org.opencontainers.image.version"]
    assert len(config["Labels"]["org.opencontainers.image.revision"]) in {7, 40}


def test_the_same_checkout_is_not_built_twice(engine, image):
    before = image.archive.stat().st_mtime_ns

    assert image == product_image.ensure(engine)
    assert before == image.archive.stat().st_mtime_ns
