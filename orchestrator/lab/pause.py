"""The image of the container that every pod begins with, made here, so that a node needs no registry.

One static C program in the format of ``docker save``, which ``ctr images import`` reads. Format: the image
specification of Docker v1.2 (manifest.json names a configuration and layers, each a file of the archive).
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
import tempfile
from pathlib import Path

from orchestrator.lab.program import call, require

SOURCE = Path(__file__).parent / "files" / "pause.c"

# What the OCI image specification (GOARCH) calls what uname calls …
GO_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def pause_archive(name: str) -> bytes:
    """Build the program and return an archive with it as the image ``name`` (same input, same bytes).

    Raises:
        MissingComponentError: there is no gcc.
        GvisorNodesError: gcc failed, as a rule because the static C library is not there.
    """
    gcc = require("gcc")
    with tempfile.TemporaryDirectory(prefix="gvisor-nodes-pause-") as directory:
        program = Path(directory) / "pause"
        call(
            [gcc, "-static", "-Os", "-s", "-Wall", "-Wextra", "-o", str(program), str(SOURCE)],
            what="The pause program cannot be built",
            remedy="apt-get install --no-install-recommends gcc libc6-dev",
        )
        layer = _tar({"pause": program.read_bytes()}, mode=0o755)
    layer_digest = hashlib.sha256(layer).hexdigest()
    configuration = json.dumps(
        {
            "architecture": GO_ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
        },
        sort_keys=True,
    ).encode()
    configuration_name = hashlib.sha256(configuration).hexdigest() + ".json"
    manifest = [{"Config": configuration_name, "RepoTags": [name], "Layers": [f"{layer_digest}/layer.tar"]}]
    return _tar(
        {
            configuration_name: configuration,
            f"{layer_digest}/layer.tar": layer,
            "manifest.json": json.dumps(manifest).encode(),
        },
        mode=0o644,
    )


def _tar(files: dict[str, bytes], *, mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = mode
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
