"""What a lab builds once: gVisor releases, the node image; and that clean removes those and nothing else."""

import subprocess

import pytest

from orchestrator.lab import DEFAULT_RELEASE, capabilities
from orchestrator.lab.artifacts import LabReleases
from orchestrator.lab.builds import Builds
from orchestrator.lab.engine import IMAGE_LABEL, podman
from orchestrator.lab.kinds import KINDS, MASKED_UNITS
from orchestrator.lab.paths import cache_directory, lab_directory
from orchestrator.lab.program import silent
from orchestrator.lab.removal import clean

OFTEN = ("debian12", "debian13", "containerd2.4")


@pytest.mark.slow
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


def test_clean_removes_what_the_lab_made_and_nothing_else(tmp_path, monkeypatch):
    # A storage of its own: clean is about everything of a user, and other runs have labs.
    (tmp_path / "storage.conf").write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/graph"\nrunroot = "{tmp_path}/run"\n'
    )
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(tmp_path / "storage.conf"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    engine = podman()
    (tmp_path / "tree/etc").mkdir(parents=True)
    engine.import_directory(tmp_path / "tree", "localhost/gvisor-nodes-lab/x:1", {IMAGE_LABEL: "x"})
    engine.import_directory(tmp_path / "tree", "localhost/somebody-else:1", {"other": "label"})
    lab_directory("interrupted").mkdir(parents=True)
    (tmp_path / "cache/other").mkdir()
    told = []

    clean(told.append)

    engine = podman()
    assert not engine.has_image("localhost/gvisor-nodes-lab/x:1")
    assert engine.has_image("localhost/somebody-else:1")
    assert not lab_directory("interrupted").exists()
    assert (tmp_path / "cache/other").exists()
    assert {path.name for path in cache_directory().iterdir()} == {"containers.conf"}  # made by podman() above
    assert any(line.startswith("removed image") for line in told)
