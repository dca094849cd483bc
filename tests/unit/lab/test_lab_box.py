import hashlib
import io
import json
import os
import subprocess
import tarfile

import pytest

from orchestrator.errors import MissingComponentError
from orchestrator.lab.box import BOX_IMAGE, box_archive


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The image's only layer, unpacked as a runtime would."""
    target = tmp_path_factory.mktemp("box")
    with tarfile.open(fileobj=io.BytesIO(box_archive())) as archive:
        (manifest,) = json.loads(archive.extractfile("manifest.json").read())
        configuration = json.loads(archive.extractfile(manifest["Config"]).read())
        layer = archive.extractfile(manifest["Layers"][0]).read()
    assert manifest["RepoTags"] == [BOX_IMAGE]
    assert [f"sha256:{hashlib.sha256(layer).hexdigest()}"] == configuration["rootfs"]["diff_ids"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as archive:
        archive.extractall(target, filter="tar")
    return target


def test_the_same_busybox_gives_the_same_bytes():
    assert box_archive() == box_archive()


@pytest.mark.parametrize("name", ["sh", "cat", "sleep", "dmesg", "ls", "env"])
def test_every_program_a_pod_is_asked_for_is_there_and_needs_nothing_else(root, name):
    assert "busybox" == os.readlink(root / "bin" / name)

    headers = subprocess.run(["readelf", "-l", root / "bin/busybox"], capture_output=True, check=True).stdout
    assert b"INTERP" not in headers


def test_what_a_runtime_mounts_over_is_there(root):
    assert {"bin", "dev", "etc", "proc", "root", "sys", "tmp"} == {path.name for path in root.iterdir()}


def test_a_busybox_with_shared_libraries_is_refused_with_the_package_to_install(tmp_path, monkeypatch):
    (tmp_path / "busybox").symlink_to("/bin/ls")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    with pytest.raises(MissingComponentError) as raised:
        box_archive()

    assert "busybox-static" in raised.value.remedy
