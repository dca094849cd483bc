"""The actual state of a node, as the probe brought it: a typed view of the parts that planning looks at."""

from __future__ import annotations

import tomllib
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class _View(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Host(_View):
    """The machine: names, versions, and who the probe ran as."""

    hostname: str
    architecture: str
    kernel: str
    python: str
    uid: int
    max_user_namespaces: str = ""
    shell: bool = True
    root: str = "/"
    live: bool = False
    boot_id: str = ""
    boot_seconds: float = 0.0

    @property
    def is_live(self) -> bool:
        """Whether a host runs there; other roots are plain directories."""
        return self.root == "/" or self.live


class Storage(_View):
    """Where a directory is or would be stored; ``free`` in bytes."""

    path: str
    nearest: str
    free: int
    noexec: bool
    read_only: bool
    writable: bool


class Described(_View):
    """What is at a path."""

    kind: str
    mode: str
    uid: int
    gid: int
    sha256: str | None = None
    target: str | None = None
    group: str | None = None


class Dump(_View):
    """What ``containerd config dump`` said."""

    rc: int
    text: str
    error: str = ""


class DropInFile(_View):
    """The file of ours that the main file imports, as the journal knows it; ``text`` as in `Containerd`."""

    path: str
    file: Described | None = None
    text: str | None = None

    @property
    def content(self) -> bytes | None:
        """Its bytes, None where it is missing."""
        return None if self.text is None else self.text.encode("utf-8", "surrogateescape")

    @property
    def seal(self) -> dict[str, str | None]:
        """What a seal holds of it."""
        return {"path": self.path, "sha256": self.file.sha256 if self.file else None}


class Containerd(_View):
    """containerd: unit, daemon, main configuration file (``text`` with surrogates for bytes that are not UTF-8)."""

    service: str | None = None
    error: str | None = None
    load: str | None = None
    active: str | None = None
    kill_mode: str | None = None
    pid: int = 0
    start_ticks: int | None = None
    binary: str | None = None
    config: str
    config_target: str
    file: Described | None = None
    text: str | None = None
    drop_in: DropInFile | None = None
    version: str = ""
    dump: Dump | None = None

    @property
    def content(self) -> bytes | None:
        """The main file's bytes, None where there is no file."""
        return None if self.text is None else self.text.encode("utf-8", "surrogateescape")

    @property
    def socket(self) -> str:
        """The daemon's socket, from its own dump; containerd's built-in path where the dump says nothing.

        From configuration version 4 on (containerd 2.3) it is a setting of a plugin.
        """
        said = self._values
        plugin = said.get("plugins", {}).get("io.containerd.server.v1.grpc", {})
        address = plugin.get("address") or said.get("grpc", {}).get("address")
        return address if isinstance(address, str) and address.startswith("/") else "/run/containerd/containerd.sock"

    @property
    def state(self) -> str:
        """The directory below which the daemon keeps the pods' bundles, from its own dump likewise."""
        found = self._values.get("state")
        return found if isinstance(found, str) and found.startswith("/") else "/run/containerd"

    @property
    def _values(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self.dump.text if self.dump else "")
        except tomllib.TOMLDecodeError:
            return {}


class Generation(_View):
    """One generation on the node; ``strangers`` are files in it that are not ours."""

    release: str | None
    flags: str | None
    strangers: list[str] = []


class Tree(_View):
    """What is below our directory; ``releases`` maps release to file to [size, mtime in ns, mode]."""

    exists: bool
    releases: dict[str, dict[str, tuple[int, int, str]]]
    generations: dict[str, Generation]
    files: dict[str, Described | None]
    current: str | None


class Pod(_View):
    """A bundle that names our shim. Where its record is lost, ``generation`` is what its shim was told; or empty."""

    id: str
    sandbox: str
    namespace: str
    name: str
    generation: str
    recorded: bool = True


class Users(_View):
    """Who needs our files."""

    processes: list[dict[str, Any]]
    pods: list[Pod]


class Retention(_View):
    """What keeps debug logs below their limits: files by path, the timer's state, why logs are stopped (empty: not)."""

    files: dict[str, Described | None]
    active: str = ""
    stopped: str = ""


class Nvidia(_View):
    """What the NVIDIA driver says of itself.

    ``devices`` are the GPUs' PCI addresses, ``files`` what is in /dev (None where the probe did not look), and
    ``supported`` maps a release on the node to what its own binary lists.
    """

    proc: str | None
    module: str | None
    params_readable: bool
    devices: list[str]
    files: list[str] | None = None
    supported: dict[str, str] = Field(default_factory=dict)


class NodeState(_View):
    """One probe."""

    host: Host
    storage: Storage
    state_storage: Storage
    containerd: Containerd
    tree: Tree
    logs: Described | None
    retention: Retention | None = None
    journal: dict[str, Any] | None
    users: Users
    nvidia: Nvidia

    @property
    def sealed(self) -> dict[str, Any]:
        """What was true when the last proof succeeded; empty if there was none or something was begun since."""
        return (self.journal or {}).get("sealed") or {}
