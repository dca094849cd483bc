"""The image that the lab's pods run their containers from: one static busybox, with a link for each of its programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import MissingComponentError
from orchestrator.gvisor.elf import read_elf
from orchestrator.lab.image_archive import Directory, Link, image_archive
from orchestrator.lab.program import PACKAGES, call, require

if TYPE_CHECKING:
    from orchestrator.lab.image_archive import Member

BOX_IMAGE = "localhost/gvisor-nodes-lab/box:1"

# Where a runtime mounts something; it would make them, but a read-only root file system lets it not.
_MOUNT_POINTS = ("proc", "sys", "dev", "etc", "tmp", "root")


def box_archive() -> bytes:
    """Return an archive with the image (same busybox, same bytes).

    Raises:
        MissingComponentError: there is no busybox, or it is not a static one.
    """
    program = Path(require("busybox"))
    if not read_elf(program).static:
        raise MissingComponentError(
            "The image of the lab's pods needs a static busybox",
            why=f"{program} asks for shared libraries",
            remedy=f"apt-get install --no-install-recommends {PACKAGES['busybox']}",
        )
    names = call([str(program), "--list"], what="busybox does not say which programs it has", timeout=30).stdout.split()
    members: dict[str, Member] = {name: Directory() for name in ("bin", *_MOUNT_POINTS)}
    members["etc/passwd"] = b"root:x:0:0:root:/root:/bin/sh\n"
    members["bin/busybox"] = program.read_bytes()
    members |= {f"bin/{name}": Link("busybox") for name in names if name != "busybox"}
    return image_archive(BOX_IMAGE, members, {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]})
