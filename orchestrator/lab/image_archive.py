"""A container image as one archive that ``ctr images import`` reads, made here, so that a node needs no registry.

The format of ``docker save``. Source: the image specification of Docker v1.2 (manifest.json names a configuration and
layers, each a file of the archive). Same input, same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.gvisor.gomodule import GOARCH

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link in an image."""

    target: str


@dataclass(frozen=True, slots=True)
class Directory:
    """An empty directory in an image."""


type Member = bytes | Link | Directory


def image_archive(name: str, members: Mapping[str, Member], config: Mapping[str, Any]) -> bytes:
    """Return an archive with an image of one layer.

    Args:
        name: the image's name, with its tag.
        members: what the layer holds, by path without a leading slash; files are executable.
        config: how a container of it runs, in the names of the image specification (Entrypoint, User, Env …).
    """
    layer = _tar(members, mode=0o755)
    layer_digest = hashlib.sha256(layer).hexdigest()
    configuration = json.dumps(
        {
            "architecture": GOARCH.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": dict(config),
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


def _tar(members: Mapping[str, Member], *, mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.mode = mode
            if isinstance(content, bytes):
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
                continue
            member.type = tarfile.SYMTYPE if isinstance(content, Link) else tarfile.DIRTYPE
            member.linkname = content.target if isinstance(content, Link) else ""
            archive.addfile(member)
    return buffer.getvalue()
