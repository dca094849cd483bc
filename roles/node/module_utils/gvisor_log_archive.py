# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: Apache-2.0
"""Debug logs of a node as one archive with a manifest: what there is, what is taken, and what is left out and why.

Logs are read as files that may be written, emptied or deleted meanwhile, and as names that anybody may have chosen:
directories and files are opened without following links, and only plain names get into the archive. Standard library
only, Python >= 3.9, no Ansible.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import stat
import tarfile
import time

IDENTITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,75}")
PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")
# runsc logs a container's whole configuration when it starts, names of the pod included. A quote inside a JSON string
# is escaped there, so that nothing of a pod's author can look like one of these keys.
NAMES = re.compile(rb'^\s*"io\.kubernetes\.cri\.sandbox-(name|namespace)": "([^"\\]+)"', re.MULTILINE)
NAMED_IN = ("gofer-gvisor.log", "boot-gvisor.log")
HEAD = 256 * 1024
SMALLEST_PART = 1 << 20
"""Bytes: of a log that is larger than what is left of the limit, a part below this is not worth taking."""


def containers(directory, bundles, pods):
    """Every container with logs: id, pod (None where nobody knows it any more), whether it runs, and its files.

    Args:
        directory: of the logs, on this file system.
        bundles: the ids of all containers that containerd has now.
        pods: those of them that run in gVisor, as the probe describes them.
    """
    known = {pod["id"]: pod for pod in pods}
    found = []
    for identity in _listdir(directory):
        if not IDENTITY.fullmatch(identity):
            continue
        try:
            handle = os.open(os.path.join(directory, identity), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            files = _files(handle)
            pod = known.get(identity)
            names = (pod["namespace"], pod["name"]) if pod else _names(handle, files)
        finally:
            os.close(handle)
        if files:
            found.append(
                {
                    "id": identity,
                    "sandbox": pod["sandbox"] if pod else None,
                    "pod": "%s/%s" % names if all(names) else None,
                    "generation": pod["generation"] if pod else None,
                    "running": identity in bundles,
                    "files": files,
                }
            )
    return found


def select(found, pod="", container="", since=None):
    """Those that are asked for; of their files those that changed after ``since`` (seconds of the node's clock)."""
    chosen = []
    for one in found:
        if (pod and one["pod"] != pod) or (container and not one["id"].startswith(container)):
            continue
        chosen.append(dict(one, files=[file for file in one["files"] if since is None or file["modified"] >= since]))
    return chosen


def pack(path, directory, chosen, limit, facts):
    """Write the archive; return its manifest. Newest files first, ``limit`` bytes of logs in all.

    The manifest is the archive's last member, since it has what was really read.
    """
    files = [(one["id"], file) for one in chosen for file in one["files"]]
    files.sort(key=lambda pair: (-pair[1]["modified"], pair[0], pair[1]["name"]))
    manifest = dict(facts, files=[], left_out=[], limit=limit)
    manifest["containers"] = [{key: one[key] for key in one if key != "files"} for one in chosen]
    remaining = limit
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as raw, tarfile.open(fileobj=raw, mode="w:gz", format=tarfile.PAX_FORMAT) as tar:
        for identity, file in files:
            name = "%s/%s" % (identity, file["name"])
            reason = _reason(file, remaining)
            if reason:
                manifest["left_out"].append({"path": name, "size": file["size"], "reason": reason})
                continue
            taken = _add(tar, directory, identity, file, min(file["size"], remaining))
            if taken is None:
                manifest["left_out"].append({"path": name, "size": file["size"], "reason": "it went meanwhile"})
                continue
            remaining -= taken["bytes"]
            manifest["files"].append(dict(taken, path=name, container=identity))
        text = json.dumps(manifest, indent=1, sort_keys=True).encode() + b"\n"
        member = tarfile.TarInfo("gvisor-logs/manifest.json")
        member.size, member.mode, member.mtime = len(text), 0o600, int(time.time())
        tar.addfile(member, io.BytesIO(text))
    return manifest


def _reason(file, remaining):
    if not PLAIN.fullmatch(file["name"]):
        return "its name is not plain"
    if not file["regular"]:
        return "it is not a regular file"
    if file["size"] > remaining and remaining < SMALLEST_PART:
        return "the limit is reached"
    return ""


def _add(tar, directory, identity, file, take):
    try:
        folder = os.open(os.path.join(directory, identity), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            handle = os.open(file["name"], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        finally:
            os.close(folder)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as source:
        source.seek(file["size"] - take)
        part = _Part(source, take)
        member = tarfile.TarInfo("gvisor-logs/%s/%s" % (identity, file["name"]))
        member.size, member.mode, member.mtime = take, 0o600, int(file["modified"])
        tar.addfile(member, part)
    taken = {
        "size": file["size"],
        "bytes": take,
        "modified": file["modified"],
        "sha256": part.digest.hexdigest(),
        "note": "",
    }
    if take < file["size"]:
        taken["note"] = "the end of it: the limit is reached"
    if part.padded:
        taken["note"] = "it was emptied while it was read; the last %d bytes here are zeros" % part.padded
    return taken


class _Part:
    """Exactly ``size`` bytes of a file that others write; what is missing at its end is read as zeros."""

    def __init__(self, source, size):
        self.source = source
        self.left = size
        self.digest = hashlib.sha256()
        self.padded = 0

    def read(self, size=-1):
        wanted = self.left if size < 0 else min(size, self.left)
        data = self.source.read(wanted)
        if len(data) < wanted:
            self.padded += wanted - len(data)
            data += bytes(wanted - len(data))
        self.left -= wanted
        self.digest.update(data)
        return data


def _files(handle):
    files = []
    for name in sorted(os.listdir(handle)):
        with contextlib.suppress(OSError):
            status = os.stat(name, dir_fd=handle, follow_symlinks=False)
            files.append(
                {
                    "name": name.encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
                    "size": status.st_size,
                    "modified": round(status.st_mtime, 3),
                    "regular": stat.S_ISREG(status.st_mode),
                }
            )
    return files


def _names(handle, files):
    """Namespace and name of the pod, as runsc logged them when the container started; empty where it did not."""
    there = {file["name"] for file in files if file["regular"]}
    for name in NAMED_IN:
        if name not in there:
            continue
        with contextlib.suppress(OSError):
            opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=handle)
            with os.fdopen(opened, "rb") as file:
                found = dict(reversed(NAMES.findall(file.read(HEAD))))
            if len(found) == 2:  # noqa: PLR2004 - both names
                return found[b"namespace"].decode(errors="replace"), found[b"name"].decode(errors="replace")
    return "", ""


def _listdir(path):
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []
