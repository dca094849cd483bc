"""The node's own code, imported here as Ansible would bundle it: below ``ansible.module_utils``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import ansible.module_utils
import pytest

ROLE = Path(__file__).parents[3] / "roles" / "node"

ansible.module_utils.__path__.append(str(ROLE / "module_utils"))
sys.path.insert(0, str(ROLE / "library"))
sys.path.insert(0, str(Path(__file__).parent))  # importlib mode finds no sibling modules by itself


@pytest.fixture
def root(tmp_path):
    """A host's root directory with what every host has."""
    from ansible.module_utils.gvisor_root import Root

    directory = tmp_path / "host"
    for path in ("opt", "var/lib", "var/log", "etc/containerd", "run", "proc", "sys"):
        (directory / path).mkdir(parents=True)
    return Root(str(directory))


@pytest.fixture
def call(root, capsys):
    """Run a module's main with arguments; its answer, with ``failed`` as Ansible would see it."""

    def run(module, check=False, **arguments):
        with pytest.raises(SystemExit) as end:
            module.main({"host_root": root.path, "_ansible_check_mode": check, **arguments})
        answer = json.loads(capsys.readouterr().out)
        assert end.value.code == (1 if answer.get("failed") else 0)
        return answer

    return run
