"""The inventory of a lab: what makes its nodes hosts that every playbook and command takes as they are. Pure."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orchestrator.lab.artifacts import LabReleases
    from orchestrator.lab.node import LabNode


def render_inventory(
    nodes: Sequence[LabNode], *, release: str, releases: LabReleases, user: str = "root", identity: Path
) -> str:
    """Return the YAML of the inventory: same input, same text.

    Args:
        nodes: the hosts, in this order.
        release: the release that the nodes are to have.
        releases: where its binaries and their hashes are.
        user: who logs in; ``admin`` may use sudo without a password, ``operator`` with one.
        identity: the private key.
    """
    # Imported here: the command line starts faster without it.
    import yaml  # noqa: PLC0415

    hosts = {node.name: {"ansible_host": "127.0.0.1", "ansible_port": node.port} for node in nodes}
    options = nodes[0].ssh_options() if nodes else []
    variables: dict[str, object] = {
        "ansible_user": user,
        "ansible_ssh_private_key_file": str(identity),
        "ansible_ssh_common_args": shlex.join(options),
        "ansible_python_interpreter": "/usr/bin/python3",
        "runsc_release": release,
        "runsc_artifacts_directory": str(releases.directory),
        "runsc_releases_files": [str(releases.releases_file)],
    }
    if user != "root":
        variables["ansible_become"] = True
    text: str = yaml.safe_dump({"all": {"hosts": hosts, "vars": variables}}, sort_keys=False, width=1000)
    return text
