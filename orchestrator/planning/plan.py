"""What a node needs and why: desired state and probe in, an ordered list of changes out. Pure.

The same function answers ``plan``, ``apply``, ``--check`` and the fast path: a node whose plan is empty costs the one
probe it was made from. Refusals come out beside the changes: everything known to forbid the change is known before
anything is touched. The next step is the action plugins of ``roles/node``.
"""

from __future__ import annotations

import base64
import hashlib
import posixpath
import tomllib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.errors import GvisorNodesError
from orchestrator.gvisor import compatibility
from orchestrator.planning import generations, gpu
from orchestrator.planning.containerd_config import DropIn, Edit, Handler, add_handler, check_main
from orchestrator.planning.debug_logs import log_changes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.gvisor.finding import Finding
    from orchestrator.planning.desired import DesiredState
    from orchestrator.planning.state import Containerd, NodeState

SPACE_FOR_A_RELEASE = 400 * 1024 * 1024
"""Bytes: a release is 110 MB as two loose files, about 250 MB with its sidecars, plus the upload beside it."""

MACHINES = ("x86_64", "aarch64")
OLDEST_KERNEL = (5, 6)
"""gVisor's own requirement for current releases (gvisor.dev, "Requirements", 2026)."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is not as it should be.

    ``step``: release, generation, files, logs, containerd, proof, seal; or collect, for what nothing needs any more.
    """

    step: str
    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reason not to begin."""

    what: str
    why: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do on one node; ``needed`` is False on the fast path."""

    changes: tuple[Change, ...]
    refusals: tuple[Refusal, ...]
    generation: int
    edits: tuple[Edit, ...] = field(default=())
    warnings: tuple[str, ...] = ()
    unused: tuple[generations.Unused, ...] = field(default=())
    stays: tuple[generations.PodView, ...] = field(default=())

    @property
    def installs(self) -> bool:
        """Whether anything changes that has to be proved; a collection alone has not."""
        return any(change.step != "collect" for change in self.changes)

    @property
    def needed(self) -> bool:
        """Whether anything has to be done."""
        return bool(self.changes)

    @property
    def restart(self) -> bool:
        """Whether containerd's configuration changes, which is the only reason to restart it."""
        return self.needs("containerd")

    def needs(self, *steps: str) -> bool:
        """Whether a change of one of these steps is in the plan."""
        return any(change.step in steps for change in self.changes)

    def as_data(self) -> dict[str, Any]:
        """The plan as JSON-ready data for results and tables."""
        return {
            "needed": self.needed,
            "installs": self.installs,
            "collects": bool(self.unused),
            "restart": self.restart,
            "generation": self.generation,
            "changes": [{"step": c.step, "what": c.what, "why": c.why} for c in self.changes],
            "refusals": [{"what": r.what, "why": r.why, "remedy": r.remedy} for r in self.refusals],
            "warnings": list(self.warnings),
            "pods": generations.pod_data(self.stays),
        }


def handler(desired: DesiredState) -> Handler:
    """The handler that containerd shall know."""
    return Handler(name=desired.handler, runtime_type=desired.shim, config_path=desired.config_path)


def plan(desired: DesiredState, state: NodeState, known: Sequence[str] = ()) -> Plan:
    """Compare a node with what it shall be.

    Args:
        desired: how it shall be.
        state: how it is.
        known: the releases that can be named as a way out.
    """
    found = findings(desired, state, known)
    refusals = preflight(desired, state)
    refusals += [Refusal(one.what, one.why, one.remedy) for one in found if one.effect == "refuse"]
    changes = [*_release(desired, state), *_generation(desired, state), *_files(desired, state), *_logs(desired, state)]
    edits: tuple[Edit, ...] = ()
    if not refusals:
        try:
            edits = tuple(_edits(desired, state))
        except GvisorNodesError as error:
            refusals = [*refusals, Refusal(error.what, error.why, error.remedy)]
        else:
            if edits[0].changes:
                why = "containerd does not know the handler" if not edits[0].note else edits[0].note
                file = edits[0].drop_in or state.containerd.config
                changes.append(Change("containerd", f"handler {desired.handler} in {file}", why))
    if state.host.is_live:
        changes.extend(_proof(desired, state, changed=bool(changes)))
    elif state.sealed.get("fingerprint") != desired.fingerprint:
        changes.append(Change("seal", "record of the installation", "nothing was recorded for this state"))
    warnings = tuple(str(one) for one in found if one.effect == "warn")
    number = generation_number(desired, state)
    # Nothing is taken away from a node that is refused.
    unused = () if refusals else generations.unused(needs(desired, state))
    changes.extend(Change("collect", one.what, one.why) for one in unused)
    return Plan(tuple(changes), tuple(refusals), number, edits, warnings, unused, generations.staying(state, number))


def findings(desired: DesiredState, state: NodeState, known: Sequence[str] = ()) -> list[Finding]:
    """What is known against this release on this node, before its binaries are at hand."""
    pair = compatibility.judge(state.containerd.version, desired.release, known=known)
    return [*pair, *gpu.findings(desired, state, known=known)]


def needs(desired: DesiredState, state: NodeState) -> generations.Needs:
    """What keeps generations and releases on the node once the desired state is there."""
    number = generation_number(desired, state)
    return generations.Needs(state, number, desired.release, desired.keep_generations)


def _edits(desired: DesiredState, state: NodeState) -> Sequence[Edit]:
    daemon = state.containerd
    return add_handler(
        daemon.content,
        daemon.dump.text if daemon.dump else "",
        handler(desired),
        daemon.version,
        config=daemon.config,
        drop_in=DropIn(daemon.drop_in.path, daemon.drop_in.content) if daemon.drop_in else None,
    )


def preflight(desired: DesiredState, state: NodeState) -> list[Refusal]:  # noqa: C901 - a list of rules, one if each
    """Everything that forbids a change of this node, whatever the plan is."""
    found: list[Refusal] = []

    def refuse(what: str, why: str, remedy: str) -> None:
        found.append(Refusal(what, why, remedy))

    host, store, daemon = state.host, state.storage, state.containerd
    if host.uid != 0:
        refuse("not root on the node", f"the modules ran as uid {host.uid}", "use --become, or log in as root")
    if host.architecture not in MACHINES:
        refuse("gVisor does not exist for this architecture", host.architecture, "use x86_64 or aarch64 nodes")
    if _kernel(host.kernel) < OLDEST_KERNEL:
        refuse("the kernel is too old for gVisor", host.kernel, "upgrade to Linux 5.6 or newer")
    if host.max_user_namespaces == "0":
        refuse(
            "user namespaces are switched off",
            "user.max_user_namespaces is 0",
            "sysctl -w user.max_user_namespaces=15000",
        )
    if not host.shell:
        refuse("there is no /bin/sh", "the dispatchers are shell scripts", "see docs/limits.md")
    for storage, name in ((store, "runsc_directory"), (state.state_storage, "node_state_directory")):
        if storage.read_only or (host.uid == 0 and not storage.writable):
            refuse(
                f"{storage.path} cannot be written",
                f"the file system of {storage.nearest} is read-only",
                f"remount it writable, or choose another {name}",
            )
    if store.noexec:
        refuse(
            f"programs in {store.path} cannot be executed",
            f"the file system of {store.nearest} is mounted noexec",
            "remount it exec, or choose another runsc_directory",
        )
    if _release(desired, state) and store.free < SPACE_FOR_A_RELEASE:
        refuse(
            f"no space for a release in {store.path}",
            f"{store.free // 2**20} MiB are free, {SPACE_FOR_A_RELEASE // 2**20} MiB are needed",
            "free some space, or choose another runsc_directory",
        )
    found.extend(_containerd_preflight(state))
    installed = (state.journal or {}).get("settings", {})
    for key, wanted in (("directory", desired.directory), ("handler", desired.handler)):
        if installed.get(key, wanted) != wanted:
            refuse(
                f"gVisor is installed here with another {key}",
                f"the journal says {installed[key]}, wanted is {wanted}",
                "remove it first (gvisor-nodes remove), then apply again",
            )
    if daemon.file is not None and daemon.file.kind != "file":
        refuse(f"{daemon.config} is a {daemon.file.kind}", "only a regular file can be changed", "make it a file")
    return found


def _containerd_preflight(state: NodeState) -> list[Refusal]:
    found: list[Refusal] = []
    daemon = state.containerd
    if not daemon.binary:
        found.append(
            Refusal(
                "there is no containerd on the node", daemon.error or "no binary was found", "install containerd first"
            )
        )
        return found
    if state.host.is_live:
        if daemon.error or daemon.load == "not-found":
            found.append(
                Refusal(
                    "containerd is not a systemd unit here",
                    daemon.error or f"{daemon.service} is not found",
                    "set containerd_service to the unit that runs it",
                )
            )
        elif daemon.kill_mode and daemon.kill_mode != "process":
            found.append(
                Refusal(
                    "a restart of containerd would kill every pod",
                    f"the unit has KillMode={daemon.kill_mode}",
                    "set KillMode=process in the unit, as containerd's own unit does",
                )
            )
    if daemon.dump is None or daemon.dump.rc != 0:
        found.append(_unreadable(daemon))
    return found


def _unreadable(daemon: Containerd) -> Refusal:
    """What is wrong with a configuration that has no dump: of a file that is TOML we know better, else it is told."""
    try:
        tomllib.loads((daemon.text or "").removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError:
        pass
    else:
        try:
            check_main(daemon.content, daemon.version)
        except GvisorNodesError as error:
            return Refusal(error.what, error.why, error.remedy)
    why = daemon.dump.error.strip() if daemon.dump else "config dump was not run"
    return Refusal(
        f"containerd cannot read its configuration {daemon.config}",
        why.splitlines()[-1] if why else "exit code without a text",
        f"repair it first: {daemon.binary} --config {daemon.config} config dump must succeed",
    )


def _kernel(release: str) -> tuple[int, int]:
    major, _, rest = release.partition(".")
    minor = "".join(c for c in rest.partition(".")[0] if c.isdigit())
    return (int(major) if major.isdigit() else 0, int(minor) if minor else 0)


def _release(desired: DesiredState, state: NodeState) -> list[Change]:
    what = f"release {desired.release}"
    files = state.tree.releases.get(desired.release)
    if not files or "runsc" not in files:
        return [Change("release", what, "it is not on the node")]
    sealed = state.sealed.get("releases", {}).get(desired.release)
    if sealed is None:
        return [Change("release", what, "its files were never proved")]
    if {name: tuple(found) for name, found in sealed.items()} != files:
        return [Change("release", what, "its files were changed since they were proved")]
    return []


def generation_number(desired: DesiredState, state: NodeState) -> int:
    """The generation for this release and these flags: the one that is there, else the next free number.

    A number whose files are incomplete (a run was killed while it made them) is taken again. One that was ever current
    is never given to something else, even when nothing of it is left.
    """
    tree = state.tree
    whole = {n: g for n, g in tree.generations.items() if n.isdecimal() and generations.is_whole(g)}
    for number in sorted(whole, key=int, reverse=True):
        if (whole[number].release, whole[number].flags) == (desired.release, desired.flags_file):
            return int(number)
    taken = {int(n) for n in whole} | {int(p.generation) for p in state.users.pods if p.generation.isdecimal()}
    return max({generations.records(state).last, *taken}) + 1


def _generation(desired: DesiredState, state: NodeState) -> list[Change]:
    tree = state.tree
    current = tree.generations.get(tree.current or "")
    number = generation_number(desired, state)
    what = f"generation {number}"
    if tree.current is None or current is None:
        return [Change("generation", what, "there is no current generation")]
    if current.release != desired.release:
        return [
            Change("generation", what, f"the current one is release {current.release}, wanted is {desired.release}")
        ]
    if current.flags != desired.flags_file:
        had = " ".join((current.flags or "").split("\n")).strip() or "none"
        return [Change("generation", what, f"flags are {had}, wanted are {' '.join(desired.flags) or 'none'}")]
    return []


def _files(desired: DesiredState, state: NodeState) -> list[Change]:
    wanted = {**desired.dispatchers, "runsc.toml": desired.runsc_toml}
    changes = []
    for name, data in sorted(wanted.items()):
        found = state.tree.files.get(name)
        mode = "0644" if name.endswith(".toml") else "0755"
        if found is None:
            changes.append(Change("files", posixpath.join(desired.directory, name), "it is missing"))
        elif found.sha256 != hashlib.sha256(data).hexdigest() or found.mode != mode:
            changes.append(Change("files", posixpath.join(desired.directory, name), "it is not as it should be"))
    return changes


def _logs(desired: DesiredState, state: NodeState) -> list[Change]:
    return [Change("logs", what, why) for what, why in log_changes(desired, state)]


def _proof(desired: DesiredState, state: NodeState, *, changed: bool) -> list[Change]:
    sealed = state.sealed
    if changed:
        return [Change("proof", "a sandbox that starts", "something changes")]
    if not sealed:
        return [Change("proof", "a sandbox that starts", "the last change was never proved")]
    if sealed.get("fingerprint") != desired.fingerprint:
        return [Change("proof", "a sandbox that starts", "the last proof was of another state")]
    daemon = state.containerd
    if sealed.get("daemon") != {"pid": daemon.pid, "start_ticks": daemon.start_ticks} or not daemon.pid:
        return [Change("proof", "a sandbox that starts", "containerd was started anew since the last proof")]
    beside = daemon.drop_in.seal if daemon.drop_in else None
    if daemon.file is None or sealed.get("config_sha256") != daemon.file.sha256 or sealed.get("drop_in") != beside:
        file = daemon.drop_in.path if daemon.drop_in and sealed.get("drop_in") != beside else daemon.config
        return [Change("proof", "a sandbox that starts", f"{file} was changed since the last proof")]
    return []


def _file(path: str, data: bytes, mode: str) -> dict[str, Any]:
    return {"path": path, "kind": "file", "mode": mode, "content": base64.b64encode(data).decode()}


def generation_files(desired: DesiredState, number: int) -> list[dict[str, Any]]:
    """What the module ``gvisor_files`` shall make, in this order; the last one, ``current``, is the switch."""
    base = posixpath.join(desired.directory, "generations", str(number))
    return [
        {"path": base, "kind": "directory", "mode": "0755"},
        {"path": f"{base}/release", "kind": "link", "target": f"../../releases/{desired.release}"},
        _file(f"{base}/flags", desired.flags_file.encode(), "0644"),
        _file(desired.config_path, desired.runsc_toml, "0644"),
        *(_file(posixpath.join(desired.directory, n), d, "0755") for n, d in sorted(desired.dispatchers.items())),
        _file(posixpath.join(desired.directory, "current"), f"{number}\n".encode(), "0644"),
    ]
