"""Probes of a node: as they were recorded on a real one, and of one where all is as it is wanted."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

from orchestrator.planning.debug_logs import retention_files
from orchestrator.planning.desired import read_variables

DATA = Path(__file__).parent / "data"
VARIABLES = {"runsc_release": "20260905.0", "runsc_flags": {"debug": "true"}}


def wanted(**variables):
    return read_variables({**VARIABLES, **variables}, "20260817.0")[0]


def probe(name):
    return json.loads((DATA / f"probe-{name}.json").read_text())


def retained(desired):
    """What a probe finds of the retention of debug logs, where it is as it should be."""
    found = {}
    for file in retention_files(desired.directory, desired.debug_logs_directory, desired.debug_logs_limits):
        found[file["path"]] = {"kind": file["kind"], "mode": file.get("mode", "0777"), "uid": 0, "gid": 0}
        if file["kind"] == "link":
            found[file["path"]]["target"] = file["target"]
        else:
            found[file["path"]]["sha256"] = hashlib.sha256(base64.b64decode(file["content"])).hexdigest()
    return found


def installed(desired=None):
    """A probe of a node where exactly this was installed and proved."""
    desired = desired or wanted()
    raw = probe("installed")
    raw["tree"]["generations"] = {"1": {"release": desired.release, "flags": desired.flags_file}}
    for name, data in {**desired.dispatchers, "runsc.toml": desired.runsc_toml}.items():
        mode = "0644" if name.endswith("toml") else "0755"
        raw["tree"]["files"][name] = {
            "kind": "file",
            "mode": mode,
            "uid": 0,
            "gid": 0,
            "sha256": hashlib.sha256(data).hexdigest(),
        }
    raw["logs"] = {"kind": "directory", "mode": "0755", "uid": 0, "gid": 0, "group": "root"}
    raw["retention"] = {"files": retained(desired), "active": "active", "stopped": ""}
    raw["journal"]["entries"] += [{"path": path, "before": None} for path in raw["retention"]["files"]]
    raw["journal"]["entries"].append({"path": "/var/log/runsc", "before": None, "made": "directory", "tree": True})
    raw["journal"]["sealed"]["fingerprint"] = desired.fingerprint
    return raw
