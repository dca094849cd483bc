"""The image of the container that every pod begins with: one static C program."""

from __future__ import annotations

import tempfile
from pathlib import Path

from orchestrator.lab.image_archive import image_archive
from orchestrator.lab.program import call, require

SOURCE = Path(__file__).parent / "files" / "pause.c"


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
        content = program.read_bytes()
    return image_archive(name, {"pause": content}, {"Entrypoint": ["/pause"], "User": "65535:65535"})
