"""Where the playbooks and roles are: beside the package in a checkout, inside it when installed from a wheel.

They are looked up from this file, never from the working directory, so that a command means the same wherever it is
typed. ``orchestrator.execution.runner`` starts what is found here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import GvisorNodesError, MissingComponentError


@dataclass(frozen=True, slots=True)
class Content:
    """A directory with ``playbooks/``, ``roles/`` and ``ansible.cfg``."""

    root: Path

    @property
    def config(self) -> Path:
        """The Ansible configuration that every run uses."""
        return self.root / "ansible.cfg"

    def playbook(self, name: str) -> Path:
        """Return the path of playbook ``name`` (without ``.yml``).

        Raises:
            GvisorNodesError: there is no such playbook here.
        """
        path = self.root / "playbooks" / f"{name}.yml"
        if not path.is_file():
            raise GvisorNodesError(
                f"there is no playbook {name}",
                why=f"{path} does not exist",
                remedy="install gvisor-nodes again: its files are incomplete",
            )
        return path


def locate() -> Content:
    """Find the content that belongs to this package.

    Raises:
        MissingComponentError: neither a checkout nor a complete installation is around this file.
    """
    package = Path(__file__).resolve().parents[1]
    for root in (package / "_ansible", package.parent):
        if (root / "ansible.cfg").is_file() and (root / "playbooks").is_dir():
            return Content(root)
    raise MissingComponentError(
        "the playbooks of gvisor-nodes are missing",
        why=f"neither {package / '_ansible'} nor {package.parent} holds ansible.cfg and playbooks/",
        remedy="install gvisor-nodes again: pip install --force-reinstall gvisor-nodes",
    )
