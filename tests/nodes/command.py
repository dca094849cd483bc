"""The product as a person runs it: the command in a process of its own, its JSON document, the nodes around it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMMAND = Path(sys.executable).with_name("gvisor-nodes")
STARTED = "MESSAGE_ID=39f53479d3a045ac8e11786248231fbf"  # systemd: "a start job for a unit has finished successfully"


@dataclass(frozen=True)
class Answer:
    """What a run of the command ended with."""

    rc: int
    document: dict[str, Any]
    stderr: str
    hosts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def host(self, node) -> dict[str, Any]:
        return self.hosts[node.name]

    def step(self, node, name) -> dict[str, Any]:
        return next(step for step in self.host(node)["steps"] if step["step"] == name)

    def bad_step(self, node) -> dict[str, Any]:
        return next(
            s for s in self.host(node)["steps"] if s["status"] in {"failed", "refused", "invalid", "unreachable"}
        )


def gvisor_nodes(*arguments, inventory=None, output=True, env=None, timeout=300) -> Answer:
    argv = [str(COMMAND), *map(str, arguments)]
    if inventory is not None:
        argv += ["-i", str(inventory)]
    if output:
        argv += ["--output", "json"]
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, timeout=timeout, env={**os.environ, **(env or {})}
    )
    document = json.loads(done.stdout) if output and done.stdout.strip().startswith("{") else {}
    return Answer(done.returncode, document, done.stderr, {h["host"]: h for h in document.get("hosts", [])})


def starts(node) -> int:
    """How often systemd started containerd on this node, by its own journal."""
    # What systemd has said by now may still be on its way to the journal.
    argv = f"journalctl --sync; journalctl -q -o cat UNIT=containerd.service {STARTED} | wc -l"
    return int(node.run(argv, check=True).stdout)
