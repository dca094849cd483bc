"""What containerd 1.7 makes of a main file, small: defaults, and a runtimes table that is replaced as a whole.

Used where a real containerd would make a property test take hours; `tests/nodes/test_containerd_config.py` asks the
real one.
"""

from __future__ import annotations

import copy
import tomllib

import tomlrt

from orchestrator.planning.containerd_config import Handler

CRI = "io.containerd.grpc.v1.cri"
HANDLER = Handler("runsc", "/opt/gvisor-nodes/containerd-shim-runsc-v1", "/opt/gvisor-nodes/runsc.toml")
DAEMON = "1.7.24~ds1"

ZERO_RUNTIME = {
    "base_runtime_spec": "",
    "pod_annotations": [],
    "privileged_without_host_devices": False,
    "runtime_type": "",
    "sandbox_mode": "",
    "options": {},
}
DEFAULT_RUNC = {
    **ZERO_RUNTIME,
    "runtime_type": "io.containerd.runc.v2",
    "sandbox_mode": "podsandbox",
    "options": {"BinaryName": "", "IoGid": 0, "NoNewKeyring": False, "SystemdCgroup": False},
}


def dump_of(main: bytes | None, *, imported: tuple[str, ...] = (), cri: dict | None = None) -> str:
    """The dump of a main file; ``cri`` stands for a CRI table that an import puts in its place."""
    values = tomllib.loads((main or b"").removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape"))
    name = CRI if values.get("version", 1) == 2 else "cri"
    given = cri if cri is not None else values.get("plugins", {}).get(name, {})
    containerd = given.get("containerd", {})
    effective = {
        "version": 2,
        "root": values.get("root", "/var/lib/containerd"),
        "disabled_plugins": values.get("disabled_plugins", []),
        "imports": ["/etc/containerd/config.toml", *imported] if main is not None else [],
        "plugins": {
            "io.containerd.internal.v1.opt": {"path": "/opt/containerd"},
            CRI: {
                "sandbox_image": given.get("sandbox_image", "registry.k8s.io/pause:3.8"),
                "containerd": {
                    "default_runtime_name": containerd.get("default_runtime_name", "runc"),
                    "default_runtime": {**ZERO_RUNTIME, **containerd.get("default_runtime", {})},
                    "runtimes": {"runc": copy.deepcopy(DEFAULT_RUNC)},
                },
            },
        },
    }
    if "runtimes" in containerd:
        effective["plugins"][CRI]["containerd"]["runtimes"] = {
            runtime: {**copy.deepcopy(ZERO_RUNTIME), **table} for runtime, table in containerd["runtimes"].items()
        }
    return tomlrt.dumps(effective)
