"""The desired state of a node: a pure value with a fingerprint, made from the variables of a playbook or an object.

What comes in is not trusted: it is looked at as raw text, before any template engine sees it. What leaves is complete,
normalised and ordered, so equal wishes have equal fingerprints. The next step is :mod:`orchestrator.planning.plan`.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.errors import InvalidInputError
from orchestrator.gvisor import dispatchers
from orchestrator.gvisor.flag_policy import read_policy
from orchestrator.gvisor.flags import parse_flags, render
from orchestrator.planning.debug_logs import Limits, retention_files, writes_logs

SCHEMA = 1
"""Part of every fingerprint: raised when the same wish leads to other files on a node."""

DEFAULTS: Mapping[str, Any] = {
    "node_host_root": "/",
    "node_host_live": False,
    "node_state_directory": "/var/lib/gvisor-nodes",
    "node_lock_timeout": 300,
    "node_lock_ttl": 180,
    "runsc_release": "",
    "runsc_flags": {},
    "runsc_flags_policy": {},
    "runsc_keep_generations": 1,
    "runsc_rollback_generation": 0,
    "runsc_directory": "/opt/gvisor-nodes",
    "runsc_artifacts_directory": "",
    "runsc_releases_files": [],
    "runsc_bucket": "",
    "runsc_offline": False,
    "containerd_handler": "runsc",
    "containerd_service": "containerd",
    "containerd_rollback_seconds": 180,
    "containerd_restart_timeout": 60,
    "debug_logs_directory": "/var/log/runsc",
    "debug_logs_mode": "0755",
    "nvproxy_check_releases": [],
    "debug_logs_group": "root",
    "debug_logs_max_age": 7,
    "debug_logs_max_size": 1024,
    "debug_logs_min_free": 512,
    "debug_logs_interval": 5,
    "debug_logs_collect_to": "",
    "debug_logs_collect_pod": "",
    "debug_logs_collect_container": "",
    "debug_logs_collect_since": "",
    "debug_logs_collect_size": 256,
    "proof_timeout": 60,
}
"""Every variable a playbook knows, with its default; the roles' ``defaults/main.yml`` say the same (tested)."""

_PATH = re.compile(r"/[A-Za-z0-9._+@/-]*")
_HANDLER = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_RELEASE = re.compile(r"\d{8}\.\d+")
_SERVICE = re.compile(r"[A-Za-z0-9:_.@-]+")
_MODE = re.compile(r"0?[0-7][0145][0145]")
_GROUP = re.compile(r"[a-z_][a-z0-9_-]{0,31}|[0-9]{1,9}")
_URL = re.compile(r"https?://[A-Za-z0-9.:_~/%+-]+")
_TEMPLATE = ("{{", "{%", "{#")


@dataclass(frozen=True, slots=True)
class DesiredState:
    """How a node shall be. Paths are absolute and normalised; ``flags`` are rendered lines, sorted."""

    release: str
    flags: tuple[str, ...]
    nvproxy: bool
    directory: str
    handler: str
    service: str
    state_directory: str
    debug_logs_directory: str
    debug_logs_mode: str
    debug_logs_group: str
    debug_logs_limits: Limits
    host_root: str
    host_live: bool = False
    """Whether a host runs whose root ``host_root`` is, where that is not ``/``."""
    keep_generations: int = 1
    """How many earlier generations stay for a rollback; no part of the fingerprint, it needs no proof."""

    @property
    def is_live(self) -> bool:
        """Whether a host runs there, with daemons to ask and sandboxes to start."""
        return self.host_root == "/" or self.host_live

    @property
    def shim(self) -> str:
        """The handler's absolute ``runtime_type``: the only form that works on containerd 1.6, 1.7 and 2.x."""
        return posixpath.join(self.directory, "containerd-shim-runsc-v1")

    @property
    def config_path(self) -> str:
        """The file that the handler's ``ConfigPath`` names."""
        return posixpath.join(self.directory, "runsc.toml")

    @property
    def release_directory(self) -> str:
        """Where the release's files are."""
        return posixpath.join(self.directory, "releases", self.release)

    @property
    def dispatchers(self) -> dict[str, bytes]:
        """The two scripts that containerd and the shim call, by file name."""
        return {
            "containerd-shim-runsc-v1": dispatchers.render_shim(self.directory),
            "runsc": dispatchers.render_runsc(self.directory),
        }

    @property
    def runsc_toml(self) -> bytes:
        """The shim's options file. Constant: the flags are the generation's, and need no restart of anything."""
        path = posixpath.join(self.directory, "runsc")
        return (
            "# Written by gvisor-nodes. Flags are not kept here but in generations/<n>/flags.\n"
            f'binary_name = "{path}"\n\n[runsc_config]\n'
        ).encode()

    @property
    def flags_file(self) -> str:
        """The content of a generation's ``flags``: one ``--name=value`` a line."""
        return "".join(f"{flag}\n" for flag in self.flags)

    @property
    def _retention(self) -> list[dict[str, Any]]:
        return retention_files(self.directory, self.debug_logs_directory, self.debug_logs_limits)

    @property
    def fingerprint(self) -> str:
        """A sha256 over everything that decides what is on the node; equal wishes, equal fingerprints."""
        content = {
            "schema": SCHEMA,
            "release": self.release,
            "flags": self.flags,
            "directory": self.directory,
            "handler": self.handler,
            "service": self.service,
            "state_directory": self.state_directory,
            "logs": [self.debug_logs_directory, self.debug_logs_mode, self.debug_logs_group],
            "retention": self._retention if writes_logs(self.flags) else asdict(self.debug_logs_limits),
            "files": {name: hashlib.sha256(data).hexdigest() for name, data in self.dispatchers.items()},
            "runsc.toml": hashlib.sha256(self.runsc_toml).hexdigest(),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How a run behaves; no part of the fingerprint. Times in seconds, paths on the controller."""

    lock_timeout: int
    lock_ttl: int
    rollback_seconds: int
    restart_timeout: int
    proof_timeout: int
    artifacts_directory: str
    releases_files: tuple[str, ...]
    bucket: str
    offline: bool
    check_releases: tuple[str, ...] = ()
    rollback_generation: int = 0


def refuse_templates(name: str, value: object) -> None:
    """Raise for a value that holds Jinja, wherever it is nested: values of objects and inventories are never evaluated.

    Raises:
        InvalidInputError: naming the variable.
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            refuse_templates(f"{name}.{key}", key)
            refuse_templates(f"{name}.{key}", inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            refuse_templates(name, inner)
    elif isinstance(value, str) and any(mark in value for mark in _TEMPLATE):
        raise InvalidInputError(
            f"{name} holds a template",
            why=f"{value!r} would be evaluated by Jinja, and values are never evaluated",
            remedy=f"write the plain value of {name}; nothing was changed",
        )


def _text(values: Mapping[str, Any], name: str, pattern: re.Pattern[str], meaning: str) -> str:
    value = values[name]
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise InvalidInputError(
            f"{name} is not {meaning}", why=f"found {value!r}", remedy=f"correct {name}; nothing was changed"
        )
    return value


def _path(values: Mapping[str, Any], name: str) -> str:
    path = posixpath.normpath(_text(values, name, _PATH, "an absolute path of letters, digits and ._+@/-"))
    if ".." in values[name].split("/") or path == "//":
        raise InvalidInputError(
            f"{name} is not a plain path", why=f"found {values[name]!r}", remedy="write it without .."
        )
    return path


def _is_true(value: object) -> bool:
    return value in (True, "true", "yes")


def _number(values: Mapping[str, Any], name: str, lowest: int, highest: int) -> int:
    value = values[name]
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise InvalidInputError(
            f"{name} is not a number from {lowest} to {highest}",
            why=f"found {values[name]!r}",
            remedy=f"correct {name}; nothing was changed",
        )
    return value


def _releases(values: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """A list of release names; YAML reads an unquoted one as a number."""
    found = values[name]
    texts = [f"{one:.1f}" if isinstance(one, float) else one for one in found] if isinstance(found, list) else None
    if texts is None or not all(isinstance(one, str) and _RELEASE.fullmatch(one) for one in texts):
        raise InvalidInputError(
            f"{name} is not a list of releases such as 20260817.0",
            why=f"found {found!r}",
            remedy=f"correct {name}; nothing was changed",
        )
    return tuple(texts)


def _bucket(values: Mapping[str, Any]) -> str:
    bucket = values["runsc_bucket"] or ""
    if bucket:
        _text(values, "runsc_bucket", _URL, "an http or https address")
    return str(bucket).rstrip("/")


def read_variables(variables: Mapping[str, Any], default_release: str) -> tuple[DesiredState, RunSettings]:
    """Make the desired state from raw variables (names as in :data:`DEFAULTS`; others are not looked at).

    Args:
        variables: name to value, as YAML or JSON gave them, untemplated.
        default_release: the release where ``runsc_release`` is not set.

    Raises:
        InvalidInputError: for the first value that is not valid; nothing was changed.
    """
    values = {name: variables.get(name, default) for name, default in DEFAULTS.items()}
    for name, value in values.items():
        refuse_templates(name, value)
    if values["runsc_release"] in ("", None):
        values["runsc_release"] = default_release
    release = values["runsc_release"]
    if isinstance(release, float):  # YAML reads an unquoted 20260817.0 as a number
        values["runsc_release"] = f"{release:.1f}"
    if not isinstance(values["runsc_flags"], Mapping):
        raise InvalidInputError(
            "runsc_flags is not a mapping",
            why=f"found {values['runsc_flags']!r}",
            remedy='write it as runsc_flags: {debug: "true"}; nothing was changed',
        )
    logs = _path(values, "debug_logs_directory")
    wanted_release = _text(values, "runsc_release", _RELEASE, "a release such as 20260817.0")
    policy = read_policy(values["runsc_flags_policy"])
    flags = parse_flags(values["runsc_flags"], wanted_release, policy)
    directory = _path(values, "runsc_directory")
    state_directory = _path(values, "node_state_directory")
    for name, path in (
        ("runsc_directory", directory),
        ("node_state_directory", state_directory),
        ("debug_logs_directory", logs),
    ):
        if path.count("/") < 2:  # noqa: PLR2004 - /x is a top-level directory, never a place of ours
            raise InvalidInputError(
                f"{name} is a top-level directory", why=f"found {path!r}", remedy="choose one below it"
            )
    rendered = render(flags, logs)
    desired = DesiredState(
        release=wanted_release,
        flags=rendered,
        nvproxy="--nvproxy=true" in rendered,
        directory=directory,
        handler=_text(values, "containerd_handler", _HANDLER, "a handler name (lower case letters, digits and -)"),
        service=_text(values, "containerd_service", _SERVICE, "a systemd unit"),
        state_directory=state_directory,
        debug_logs_directory=logs,
        debug_logs_mode=_text(values, "debug_logs_mode", _MODE, "an octal mode that only the owner can write").zfill(4),
        debug_logs_group=_text(values, "debug_logs_group", _GROUP, "the name or number of a group"),
        debug_logs_limits=Limits(
            max_age=_number(values, "debug_logs_max_age", 0, 3650),
            max_size=_number(values, "debug_logs_max_size", 1, 10**8),
            min_free=_number(values, "debug_logs_min_free", 0, 10**8),
            interval=_number(values, "debug_logs_interval", 1, 1440),
        ),
        host_root=_path(values, "node_host_root"),
        host_live=_is_true(values["node_host_live"]),
        keep_generations=_number(values, "runsc_keep_generations", 0, 50),
    )
    if desired.handler == "runc":
        raise InvalidInputError("containerd_handler is runc", why="that is the node's default", remedy="choose another")
    files = values["runsc_releases_files"]
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        raise InvalidInputError("runsc_releases_files is not a list of paths", why=f"found {files!r}")
    settings = RunSettings(
        lock_timeout=_number(values, "node_lock_timeout", 0, 86400),
        lock_ttl=_number(values, "node_lock_ttl", 5, 3600),
        rollback_seconds=_number(values, "containerd_rollback_seconds", 20, 3600),
        restart_timeout=_number(values, "containerd_restart_timeout", 5, 600),
        proof_timeout=_number(values, "proof_timeout", 1, 600),
        artifacts_directory=str(values["runsc_artifacts_directory"] or ""),
        releases_files=tuple(files),
        bucket=_bucket(values),
        offline=_is_true(values["runsc_offline"]),
        check_releases=_releases(values, "nvproxy_check_releases"),
        rollback_generation=_number(values, "runsc_rollback_generation", 0, 10**9),
    )
    return desired, settings
