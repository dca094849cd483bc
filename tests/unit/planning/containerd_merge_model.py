"""What containerd 2.x makes of its files, small: per-file or late migration, deep merge, imports by glob, built-in runc.

Read from LoadConfig of 2.0.14, 2.2.9, 2.3.4 and 2.4.2; `test_containerd_dumps.py` holds it against recorded dumps, and
`tests/nodes/test_containerd_config.py` asks the real ones.
"""

from __future__ import annotations

import copy
import fnmatch
import posixpath
import tomllib

import tomlrt

V1, V2, V3 = "cri", "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime"
CONFIG = "/etc/containerd/config.toml"
FIRST_WITH_VERSION_4 = (2, 3)
ZERO_RUNTIME = {
    "runtime_type": "",
    "runtime_path": "",
    "pod_annotations": [],
    "privileged_without_host_devices": False,
    "snapshotter": "",
    "sandboxer": "",
}
RUNC = {**ZERO_RUNTIME, "runtime_type": "io.containerd.runc.v2", "sandboxer": "podsandbox", "options": {}}


class DoesNotStartError(Exception):
    """containerd ends with exit code 1."""


def dump_of(files: dict[str, bytes], daemon: str = "2.4.2") -> str:
    """The dump of the files by absolute path, the main file at ``CONFIG`` or missing."""
    release = tuple(int(part) for part in daemon.split(".")[:2])
    per_file = release >= FIRST_WITH_VERSION_4
    newest = 4 if per_file else 3
    merged: dict = {}
    pending, loaded = [CONFIG] if CONFIG in files else [], set()
    version, root = newest, None
    while pending:
        path = pending.pop(0)
        if path in loaded:
            continue
        loaded.add(path)
        values = tomllib.loads(files.get(path, b"").removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape"))
        own = values.pop("version", 0)
        root = own if root is None else root or own
        if own > newest or (release == FIRST_WITH_VERSION_4 and own > root):
            raise DoesNotStartError(path)
        if own <= 1:
            _rename(values, V1, V2, keep=False)
        if per_file:
            _rename(values, V2, V3, keep=True)
        if per_file or own <= 1:  # 2.0 to 2.2 rename version 1's tables and then forget to migrate them (run)
            own = newest
        version = own
        imports = values.get("imports", [])
        _merge(merged, values)
        for pattern in imports:
            where = posixpath.normpath(posixpath.join(posixpath.dirname(path), pattern))
            pending += sorted(f for f in files if fnmatch.fnmatchcase(f, where)) if "*" in where else [where]
    if version == 2:
        _rename(merged, V2, V3, keep=True)
    return _rendered(merged, newest, default_import=release >= (2, 2))


def _rename(values: dict, old: str, new: str, *, keep: bool) -> None:
    plugins = values.get("plugins", {})
    if old in plugins and not (keep and new in plugins):
        plugins[new] = plugins[old] if keep else plugins.pop(old)
    values["disabled_plugins"] = [new if name == old else name for name in values.get("disabled_plugins", [])]


def _merge(target: dict, values: dict) -> None:
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        elif isinstance(value, list) and isinstance(target.get(key), list):
            target[key] += [item for item in value if item not in target[key]]
        else:
            target[key] = copy.deepcopy(value)


def _rendered(merged: dict, version: int, *, default_import: bool) -> str:
    effective: dict = {
        "version": version,
        "root": "/var/lib/containerd",
        "disabled_plugins": [],
        "imports": ["/etc/containerd/conf.d/*.toml"] if default_import else [],
        "plugins": {
            V3: {
                "containerd": {
                    "default_runtime_name": "runc",
                    "runtimes": {"runc": copy.deepcopy(RUNC)},
                }
            }
        },
    }
    plugins = merged.get("plugins", {})
    known = {key: value for key, value in merged.items() if key in {"root", "disabled_plugins", "imports", "metrics"}}
    cri = {
        key: value
        for key, value in plugins.get(V3, {}).items()
        if key in {"containerd", "cni", "sandbox_image"} and isinstance(value, dict | str)
    }
    _merge(effective, {**known, "plugins": {V3: cri}})
    runtimes = effective["plugins"][V3]["containerd"]["runtimes"]
    for name, table in runtimes.items():
        runtimes[name] = {**ZERO_RUNTIME, **table}
    return tomlrt.dumps(effective)
