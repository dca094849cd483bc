import contextlib
import hashlib
import io
import json
import signal
import subprocess
import tarfile
import time

import pytest

from orchestrator.lab.pause import pause_archive


@pytest.fixture(scope="module")
def archive():
    return pause_archive("example.test/pause:1")


def members(content):
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar.getmembers()}


def tell_to_end(process, number):
    """Send the signal until it is heard: started where it is ignored, as in a shell's background, the first is lost."""
    end = time.monotonic() + 60
    while process.poll() is None:
        assert time.monotonic() < end, "the program did not end"
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.05)


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
        try:
            tell_to_end(process, number)
        finally:
            process.kill()
            process.wait()

        # A signal that comes before the program has blocked it ends the program too, with the signal's number.
        assert process.returncode in {0, -number}
