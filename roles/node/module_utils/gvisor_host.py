# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: Apache-2.0
"""Reading a node: one pass, nothing written, everything a plan needs.

The answer is raw: texts, hashes and numbers. What they mean is decided on the controller. Standard library only,
Python >= 3.9, no Ansible.
"""

from __future__ import annotations

import grp
import json
import os
import platform
import re
import sys
import time

from ansible.module_utils.gvisor_journal import STAGED_SUFFIX, Journal, NodeError, describe, start_ticks
from ansible.module_utils.gvisor_root import Root, run
from ansible.module_utils.gvisor_units import retention

SHOW = "MainPID,ExecStart,ActiveState,SubState,KillMode,ExecMainStartTimestampMonotonic,LoadState"
SANDBOX_ID = "io.kubernetes.cri.sandbox-id"


def read_text(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None


def facts(root):
    system = os.uname()
    return {
        "hostname": system.nodename if root.is_here else (read_text(root.real("/etc/hostname")) or "").strip(),
        "architecture": system.machine,
        "kernel": system.release,
        "python": platform.python_version(),
        "uid": os.geteuid(),
        "login_uid": int(os.environ.get("SUDO_UID", os.getuid())),
        "boot_id": (read_text("/proc/sys/kernel/random/boot_id") or "").strip(),
        "boot_seconds": round(time.clock_gettime(time.CLOCK_BOOTTIME), 3),
        "max_user_namespaces": (read_text("/proc/sys/user/max_user_namespaces") or "").strip(),
        "root": root.path,
        "live": root.is_live,
        "shell": os.path.exists(root.real("/bin/sh")),
    }


def storage(root, path):
    """Where ``path`` would be stored: the nearest existing directory, its mount's options and free bytes."""
    nearest = path
    while not os.path.isdir(root.real(nearest)):
        nearest = os.path.dirname(nearest)
    real = os.path.realpath(root.real(nearest))
    status = os.statvfs(real)
    return {
        "path": path,
        "nearest": nearest,
        "free": status.f_bavail * status.f_frsize,
        "noexec": bool(status.f_flag & os.ST_NOEXEC),
        "read_only": bool(status.f_flag & os.ST_RDONLY),
        "writable": os.access(real, os.W_OK),
    }


def daemon(root, service):
    """containerd as systemd runs it: unit state, the daemon's own binary and configuration path."""
    rc, out, err = root.run(["systemctl", "show", service, "-p", SHOW])
    if rc != 0:
        return {"service": service, "error": (err or out).strip() or "systemctl exit %d" % rc}
    shown = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
    found = {
        "service": service,
        "load": shown.get("LoadState"),
        "active": shown.get("ActiveState"),
        "sub": shown.get("SubState"),
        "kill_mode": shown.get("KillMode"),
        "started_usec": int(shown.get("ExecMainStartTimestampMonotonic") or 0),
        "pid": int(shown.get("MainPID") or 0),
    }
    argv = []
    match = re.search(r"path=([^ ;]+) ; argv\[\]=([^;]*) ;", shown.get("ExecStart", ""))
    if match:
        found["binary"], argv = match.group(1), match.group(2).split()
    if found["pid"]:
        found["start_ticks"] = start_ticks(found["pid"])
        try:
            binary = os.readlink("/proc/%d/exe" % found["pid"])
            with open("/proc/%d/cmdline" % found["pid"], "rb") as file:
                argv = file.read().decode(errors="replace").split("\0")
        except OSError:
            binary = ""
        binary = binary[: -len(" (deleted)")] if binary.endswith(" (deleted)") else binary
        if os.access(root.real(root.resolve(binary)), os.X_OK):
            found["binary"] = binary
    for index, word in enumerate(argv):
        if word in ("-c", "--config", "-config") and index + 1 < len(argv):
            found["config"] = argv[index + 1]
        elif word.startswith(("--config=", "-config=")):
            found["config"] = word.split("=", 1)[1]
    return found


def containerd(root, service, want_text):
    """containerd's daemon, version, main configuration file and its own dump of the effective configuration."""
    found = daemon(root, service) if root.is_live else {"service": None, "pid": 0, "binary": None}
    if not found.get("binary"):
        for candidate in ("/usr/local/bin/containerd", "/usr/bin/containerd"):
            if os.access(root.real(candidate), os.X_OK):
                found["binary"] = candidate
                break
    found.setdefault("config", "/etc/containerd/config.toml")
    path = root.resolve(found["config"])
    found["config_target"] = path
    found["file"] = describe(root.real(path))
    if want_text and found["file"] is not None and found["file"]["kind"] == "file":
        found["text"] = read_text_exact(root.real(path))
    if found.get("binary"):
        rc, out, err = root.run([*root.jail, found["binary"], "--version"])
        found["version"] = out.split()[2].lstrip("v") if rc == 0 and len(out.split()) > 2 else ""  # noqa: PLR2004
        rc, out, err = dump(root, found["binary"], found["config"])
        found["dump"] = {"rc": rc, "text": out, "error": err.strip()[-2000:]}
    return found


def drop_in(root, journal):
    """The file of ours that containerd's main file imports, where an installation wrote one; ``None`` otherwise."""
    record = journal.data.get("containerd") or {}
    if not record.get("drop_in"):
        return None
    path = record["config"]
    found = {"path": path, "file": describe(root.real(path)), "text": None}
    if found["file"] is not None and found["file"]["kind"] == "file":
        found["text"] = read_text_exact(root.real(path))
    return found


def read_text_exact(path):
    """The file's text with its own line ends; bytes that are not UTF-8 survive as surrogates."""
    with open(path, "rb") as file:
        return file.read().decode("utf-8", "surrogateescape")


def dump(root, binary, config):
    """``containerd --config FILE config dump``; 1.x fails for a missing file, then its defaults are what counts.

    It runs in ``/`` as the daemon does: a relative pattern in ``imports`` is relative to that directory on 1.x.
    """
    if not os.path.exists(root.real(config)):
        return root.run([*root.jail, binary, "config", "default"], cwd="/")
    return root.run([*root.jail, binary, "--config", config, "config", "dump"], cwd="/")


def tree_state(root, directory):
    """What is below our directory: releases with each file's size and times, generations, the small files' hashes."""
    found = {
        "exists": os.path.isdir(root.real(directory)),
        "releases": {},
        "generations": {},
        "files": {},
        "current": None,
    }
    if not found["exists"]:
        return found
    base = os.path.join(directory, "releases")
    for release in listdir(root.real(base)):
        files = {}
        for folder, _, names in os.walk(root.real(os.path.join(base, release))):
            for name in names:
                path = os.path.join(folder, name)
                status = os.lstat(path)
                relative = os.path.relpath(path, root.real(os.path.join(base, release)))
                files[relative] = [status.st_size, status.st_mtime_ns, "%04o" % (status.st_mode & 0o7777)]
        found["releases"][release] = files
    base = os.path.join(directory, "generations")
    for number in listdir(root.real(base)):
        path = root.real(os.path.join(base, number))
        try:
            target = os.path.basename(os.readlink(os.path.join(path, "release")))
        except OSError:
            target = None
        strangers = [n for n in listdir(path) if n not in ("release", "flags") and not n.endswith(STAGED_SUFFIX)]
        flags = read_text(os.path.join(path, "flags"))
        found["generations"][number] = {"release": target, "flags": flags, "strangers": strangers}
    for name in ("runsc", "containerd-shim-runsc-v1", "runsc.toml", "current"):
        found["files"][name] = describe(root.real(os.path.join(directory, name)))
    found["current"] = (read_text(root.real(os.path.join(directory, "current"))) or "").strip() or None
    return found


def listdir(path):
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def told_generation(pid):
    """The generation that the dispatcher told a process, or those it started; empty where it was told none."""
    if not pid.isdigit():
        return ""
    try:
        with open("/proc/%s/environ" % pid, "rb") as file:
            variables = file.read().split(b"\0")
    except OSError:
        return ""
    for variable in variables:
        name, _, value = variable.partition(b"=")
        if name == b"GVISOR_NODES_GENERATION" and value.isdigit():
            return value.decode()
    return ""


def state_directory(found):
    """Where this containerd keeps bundles: ``state`` of its own dump, which writes it on a line of its own."""
    match = re.search(r"""^state = ["'](/[^"']*)["']$""", (found.get("dump") or {}).get("text", ""), re.MULTILINE)
    return match.group(1) if match else "/run/containerd"


def users(root, directory, state="/run/containerd"):
    """Who needs our files: processes that run from the directory, and bundles whose shim is ours, each with its pod.

    ``state`` is containerd's state directory, below which its bundles are.
    """
    if not root.is_live:
        return {"processes": [], "pods": []}
    prefix = os.path.join(directory, "")
    # Our own /proc, from a pod too: it has the host's process ids, and paths of files are those of the process itself.
    processes = []
    for name in listdir("/proc"):
        if name.isdigit():
            try:
                exe = os.readlink("/proc/%s/exe" % name)
            except OSError:
                continue
            if exe.startswith(prefix):
                processes.append({"pid": int(name), "exe": exe, "generation": told_generation(name)})
    base = root.real(os.path.join(state, "io.containerd.runtime.v2.task"))
    bundles = [(n, c) for n in listdir(base) for c in listdir(os.path.join(base, n))]
    pods = [bundle_user(os.path.join(base, namespace, name), prefix) for namespace, name in bundles]
    return {"processes": processes, "pods": [pod for pod in pods if pod]}


def bundle_user(bundle, prefix):
    """The pod that a bundle belongs to and its generation; ``None`` where neither its shim nor a record is ours."""
    shim = (read_text(os.path.join(bundle, "shim-binary-path")) or "").strip()
    generation = read_text(os.path.join(bundle, ".gvisor-nodes-generation"))
    told = ""
    if generation is None:
        # A record that is lost: the dispatcher told the shim in its environment, too.
        told = told_generation((read_text(os.path.join(bundle, "shim.pid")) or "").strip())
    if not shim.startswith(prefix) and generation is None and not told:
        return None
    try:
        with open(os.path.join(bundle, "config.json"), encoding="utf-8") as file:
            annotations = json.load(file).get("annotations") or {}
    except (OSError, ValueError):
        annotations = {}
    name = os.path.basename(bundle)
    return {
        "id": name,
        "sandbox": annotations.get(SANDBOX_ID, name),
        "namespace": annotations.get("io.kubernetes.cri.sandbox-namespace", ""),
        "name": annotations.get("io.kubernetes.cri.sandbox-name", ""),
        "generation": (generation or told).strip(),
        "recorded": generation is not None,
    }


def other_groups(root):
    """Names to numbers of the groups in ``/etc/group`` of another root than ours."""
    fields = [line.split(":") for line in (read_text(root.real("/etc/group")) or "").splitlines()]
    return {field[0]: int(field[2]) for field in fields if len(field) > 2 and field[2].isdigit()}  # noqa: PLR2004


def group_id(root, name):
    """The number of a group of the host by its name or number."""
    if name.isdigit():
        return int(name)
    try:
        return 0 if name == "root" else grp.getgrnam(name).gr_gid if root.is_here else other_groups(root)[name]
    except KeyError:
        raise NodeError(
            "there is no group %s on the node" % name,
            remedy="make it, or set debug_logs_group to another",
            refused=True,
        ) from None


def with_group(root, found):
    """What ``describe`` found, with the name of its group; None where nobody has named it."""
    if found is None:
        return None
    gid = found["gid"]
    if gid == 0:
        names = ["root"]
    elif root.is_here:
        try:
            names = [grp.getgrgid(gid).gr_name]
        except KeyError:
            names = []
    else:
        names = [name for name, number in other_groups(root).items() if number == gid]
    return dict(found, group=names[0] if names else None)


def original(root, journal):
    """The bytes of containerd's configuration as they were before us, if the journal keeps any."""
    name = (journal.data.get("containerd") or {}).get("original")
    if not name:
        return None
    try:
        return read_text_exact(root.real(os.path.join(journal.directory, name)))
    except OSError:
        return None


def nvidia(root, directory):
    """What the NVIDIA driver says of itself, without touching a device.

    Where there is one, every release on the node also says which drivers it supports: some 30 ms each.
    """
    found = {
        "proc": read_text(root.real("/proc/driver/nvidia/version")),
        "module": read_text(root.real("/sys/module/nvidia/version")),
        "params_readable": read_text(root.real("/proc/driver/nvidia/params")) is not None,
        "devices": listdir(root.real("/proc/driver/nvidia/gpus")),
        "files": [name for name in listdir(root.real("/dev")) if name.startswith("nvidia")],
        "supported": {},
    }
    if found["proc"] is None and found["module"] is None:
        return found
    base = root.real(os.path.join(directory, "releases"))
    for release in listdir(base):
        if re.fullmatch(r"[0-9]{8}\.[0-9]+", release):
            text = supported_drivers(os.path.join(base, release, "runsc"))
            if text is not None:
                found["supported"][release] = text
    return found


def supported_drivers(runsc):
    """What a binary lists, one driver a line; None where it does not run or is too old to know the command."""
    rc, out, _ = run([runsc, "nvproxy", "list-supported-drivers"], timeout=10)
    return out if rc == 0 and out.strip() else None


def probe(options):
    """Everything a plan needs to know of a node; one round trip.

    Args:
        options: ``host_root``, ``host_live``, ``state_directory``, ``directory``, ``service``,
            ``debug_logs_directory``.
    """
    begin = time.monotonic()
    root = Root(options["host_root"], options["host_live"])
    journal = Journal(root, options["state_directory"])
    found = containerd(root, options["service"], want_text=True)
    found["drop_in"] = drop_in(root, journal)
    return {
        "host": facts(root),
        "storage": storage(root, options["directory"]),
        "state_storage": storage(root, options["state_directory"]),
        "containerd": found,
        "tree": tree_state(root, options["directory"]),
        "logs": with_group(root, describe(root.real(options["debug_logs_directory"]))),
        "retention": retention(root, options["directory"]),
        "journal": journal.data if journal.exists or journal.begun else None,
        "original": original(root, journal),
        "users": users(root, options["directory"], state_directory(found)),
        "nvidia": nvidia(root, options["directory"]),
        "interpreter": sys.executable,
        "enter": root.enter,
        "milliseconds": round((time.monotonic() - begin) * 1000),
    }
