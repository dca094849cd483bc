import hashlib
import io
import json
import signal
import subprocess
import tarfile

import pytest

from orchestrator.lab.pause import pause_archive


@pytest.fixture(scope="module")
def archive():
    return pause_archive("example.test/pause:1")


def members(content):
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar.getmembers()}


def test_the_same_name_gives_the_same_bytes(archive):
    assert archive == pause_archive("example.test/pause:1")


def test_manifest_configuration_and_layer_belong_together(archive):
    files = members(archive)
    (manifest,) = json.loads(files["manifest.json"])
    configuration = json.loads(files[manifest["Config"]])
    (layer,) = manifest["Layers"]

    assert manifest["RepoTags"] == ["example.test/pause:1"]
    assert [f"sha256:{hashlib.sha256(files[layer]).hexdigest()}"] == configuration["rootfs"]["diff_ids"]


def test_the_program_needs_nothing_else_in_the_image_and_ends_when_told(archive, tmp_path):
    files = members(archive)
    (manifest,) = json.loads(files["manifest.json"])
    (name,) = members(files[manifest["Layers"][0]])
    program = tmp_path / name
    program.write_bytes(members(files[manifest["Layers"][0]])[name])
    program.chmod(0o755)

    assert b"INTERP" not in subprocess.run(["readelf", "-l", program], capture_output=True, check=True).stdout
    for number in (signal.SIGTERM, signal.SIGINT):
        process = subprocess.Popen([program])
        # A signal that comes before the program has blocked it ends the program too, with the signal's number.
        process.send_signal(number)

        assert process.wait(timeout=10) in {0, -number}
