"""What a lab builds once: gVisor releases, the node image; and that clean removes those and nothing else."""

import io
import json
import shutil
import subprocess
import tarfile

import pytest

from orchestrator.errors import GvisorNodesError
from orchestrator.lab import DEFAULT_RELEASE, capabilities
from orchestrator.lab.artifacts import LabReleases
from orchestrator.lab.builds import Builds
from orchestrator.lab.engine import BUILD_LABEL, IMAGE_LABEL, podman
from orchestrator.lab.kinds import KINDS, MASKED_UNITS
from orchestrator.lab.paths import cache_directory, lab_directory
from orchestrator.lab.program import require, silent
from orchestrator.lab.removal import clean

OFTEN = ("debian12", "debian13", "containerd2.4")


@pytest.mark.slow
@pytest.mark.exhaustive  # tests of gobuild build one by default, and every lab on a new machine all of them
@pytest.mark.timeout(1800)  # without Go's build cache it takes minutes
def test_a_release_is_built_static_labelled_and_not_built_again(tmp_path):
    told = []
    patched = not capabilities.probe().lowers_oom_score
    built = LabReleases.of(patched=patched, cache=tmp_path).ensure(DEFAULT_RELEASE, told.append)

    assert any("go build" in line for line in told)
    for name in ("runsc", "containerd-shim-runsc-v1"):
        headers = subprocess.run(["readelf", "-l", built / name], capture_output=True, text=True, check=True).stdout
        assert "LOAD" in headers
        assert "INTERP" not in headers
    version = subprocess.run([built / "runsc", "--version"], capture_output=True, text=True, check=True).stdout
    assert f"runsc version release-{DEFAULT_RELEASE}" in version
    assert built == LabReleases.of(patched=patched, cache=tmp_path).ensure(DEFAULT_RELEASE, pytest.fail)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # without a cache
@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=[] if kind in OFTEN else pytest.mark.exhaustive) for kind in KINDS],
)
def test_a_node_image_holds_no_identity_no_key_and_nothing_that_runs_by_the_clock(kind):
    engine = podman()
    with Builds(engine, capabilities.probe(), silent) as builds:
        tag = builds.images([kind])[kind].result()
    look = "cat /etc/machine-id; ls /etc/ssh | grep host_; cat /home/*/.ssh/* /root/.ssh/*; cd /etc/systemd/system; "
    look += "for unit in *; do [ $(readlink $unit) = /dev/null ] && echo masked $unit; done 2>/dev/null; true"

    seen = engine.call("run", "--rm", "--runtime=runc", "--network=none", tag, "sh", "-c", look, what="look").stdout

    assert sorted(seen.splitlines()) == sorted(f"masked {unit}" for unit in MASKED_UNITS)


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """An engine with a storage of its own: clean is about everything of a user, and other runs have labs."""
    (tmp_path / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/graph"\nrunroot = "{tmp_path}/run"\n'
    )
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(tmp_path / "storage.conf"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return podman()


@pytest.fixture
def small(engine, tmp_path):
    """An image of a few files that has a shell and tar."""
    tree = tmp_path / "tree"
    (tree / "etc/old").mkdir(parents=True)
    (tree / "etc/old/file").write_text("old")
    (tree / "bin").mkdir()
    shutil.copy(require("busybox"), tree / "bin/busybox")
    for name in ("sh", "rm", "tar"):
        (tree / "bin" / name).symlink_to("busybox")
    engine.import_directory(tree, "localhost/gvisor-nodes-lab/small:1", {IMAGE_LABEL: "small"})
    return "localhost/gvisor-nodes-lab/small:1"


def layer(tmp_path, **files):
    with tarfile.open(tmp_path / "layer.tar", "w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return tmp_path / "layer.tar"


def test_a_layer_takes_paths_away_adds_files_and_leaves_no_container(engine, small, tmp_path):
    tag = "localhost/gvisor-nodes-lab/layered:1"

    engine.add_layer(small, layer(tmp_path, new="new"), ["/etc/old", "/no/such"], tag, {IMAGE_LABEL: "layered"})

    options = ["--rm", "--runtime=runc", "--network=none"]
    look = "cat /new; cd /etc/old"
    seen = engine.call("run", *options, tag, "/bin/sh", "-c", look, what="look", check=False)
    assert "new" in seen.stdout
    assert seen.returncode != 0
    inspected = json.loads(engine.call("image", "inspect", tag, what="inspect").stdout)[0]["Config"]
    assert (inspected["Cmd"], inspected["StopSignal"]) == (["/sbin/init"], "37")  # SIGRTMIN+3
    assert inspected["Labels"][IMAGE_LABEL] == "layered"
    assert engine.call("ps", "--all", "--quiet", what="ps").stdout == ""


def test_a_layer_that_cannot_be_made_leaves_neither_image_nor_container(engine, small, tmp_path):
    (tmp_path / "layer.tar").write_text("not a tar file")

    with pytest.raises(GvisorNodesError, match="layered:1"):
        engine.add_layer(small, tmp_path / "layer.tar", [], "localhost/gvisor-nodes-lab/layered:1", {})

    assert not engine.has_image("localhost/gvisor-nodes-lab/layered:1")
    assert engine.call("ps", "--all", "--quiet", what="ps").stdout == ""


def test_clean_removes_what_the_lab_made_and_nothing_else(engine, small, tmp_path):
    layered = "localhost/gvisor-nodes-lab/layered:1"
    engine.add_layer(small, layer(tmp_path, new="new"), [], layered, {IMAGE_LABEL: "layered"})
    (tmp_path / "other").mkdir()
    engine.import_directory(tmp_path / "other", "localhost/somebody-else:1", {"other": "label"})
    engine.call("create", f"--label={BUILD_LABEL}=x", small, what="an interrupted build")
    (cache_directory() / "containerd/2.4.2").mkdir(parents=True)
    lab_directory("interrupted").mkdir(parents=True)
    (tmp_path / "cache/other").mkdir()
    told = []

    clean(told.append)

    engine = podman()
    assert not engine.has_image(small)
    assert not engine.has_image(layered)
    assert engine.call("ps", "--all", "--quiet", what="ps").stdout == ""
    assert engine.has_image("localhost/somebody-else:1")
    assert not lab_directory("interrupted").exists()
    assert (tmp_path / "cache/other").exists()
    assert {path.name for path in cache_directory().iterdir()} == {"containers.conf"}  # made by podman() above
    assert sum(line.startswith("removed image") for line in told) == 2
    assert not any("stays" in line for line in told)
