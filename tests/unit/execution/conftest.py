"""Playbooks of the tests' own, run by the real ansible-playbook on this machine."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from orchestrator.execution.content import Content

ROOT = Path(__file__).resolve().parents[3]

# A module that answers what it is told to, as our own action plugins do.
ANSWER = """#!/usr/bin/python3
# WANT_JSON
import json, sys
arguments = json.load(open(sys.argv[1]))
status = arguments["status"]
print(json.dumps({
    "changed": status == "changed",
    "failed": status in ("failed", "refused", "invalid"),
    "msg": arguments.get("message", ""),
    "gvisor": {key: value for key, value in arguments.items() if not key.startswith("_")},
}))
"""


@pytest.fixture(scope="session")
def make_content(tmp_path_factory):
    """Return a function that makes a content directory of playbooks given as task lists."""

    def make(**playbooks):
        root = tmp_path_factory.mktemp("content")
        shutil.copy(ROOT / "ansible.cfg", root)
        (root / "roles").mkdir()
        library = root / "playbooks" / "library"
        library.mkdir(parents=True)
        (library / "answer.py").write_text(ANSWER)
        for name, tasks in playbooks.items():
            play = {"name": name, "hosts": "all", "gather_facts": False, "tasks": tasks}
            text = tasks if isinstance(tasks, str) else json.dumps([play])
            (root / "playbooks" / f"{name}.yml").write_text(text)
        return Content(root)

    return make


@pytest.fixture(scope="session")
def make_inventory(tmp_path_factory):
    """Return a function that writes an inventory of hosts and their variables; hosts are local unless they say else."""

    def make(**hosts):
        path = tmp_path_factory.mktemp("inventory") / "hosts.json"
        entries = {name: own or {"ansible_connection": "local"} for name, own in hosts.items()}
        path.write_text(json.dumps({"all": {"hosts": entries}}))
        return path

    return make


@pytest.fixture(scope="session")
def closed_port():
    """Return a loopback address on which nothing listens: port 1 is nobody's."""
    return {"ansible_host": "127.0.0.1", "ansible_port": 1}
