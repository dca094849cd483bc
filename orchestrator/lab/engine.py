"""The container engine behind a lab: podman, or docker where there is no podman. One face, two sets of options.

Why the options are what they are (each was found by a node that did not work without it):

- podman gets ``--runtime runc``: crun fails on hybrid cgroups. Its ``--systemd=always`` breaks runc's pod containers on
  cgroup v1 (and hides it, because gVisor's work), so systemd is started as if it were any program, with a private
  cgroup namespace.
- containerd's state is a volume: overlay does not work on overlay.
- podman reads a ``containers.conf`` of the lab's own instead of the user's: the limits that it sets by default need a
  capability that may be missing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

from orchestrator.errors import GvisorNodesError, MissingComponentError
from orchestrator.lab.entry import Entry
from orchestrator.lab.paths import cache_directory, replace_file
from orchestrator.lab.ports import LOOPBACK, free_ports
from orchestrator.lab.program import PACKAGES, call

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

VARIABLE = "GVISOR_NODES_LAB_ENGINE"
LABEL = "gvisor-nodes.lab"  # on everything of a lab: its name
CLUSTER_LABEL = "gvisor-nodes.cluster"  # on everything of a cluster that has nodes, in its place: the cluster's mark
NODE_LABEL = "gvisor-nodes.node"  # on nodes: their number
KIND_LABEL = "gvisor-nodes.kind"  # on nodes
STATE_LABEL = "gvisor-nodes.state"  # on everything: the directory of the labs or clusters it was made from
IMAGE_LABEL = "gvisor-nodes.lab-image"
BUILD_LABEL = "gvisor-nodes.lab-build"  # on the containers in which images are made
SSH_PORT = "22/tcp"

_CONTAINERS_CONF = """\
# Written by gvisor-nodes; used by its lab only, through CONTAINERS_CONF.
[containers]
default_ulimits = ["nofile=16384:16384", "nproc=30000:30000"]

[network]
network_backend = "netavark"
"""

_COMMON_RUN_OPTIONS = (
    "--privileged",
    "--cgroupns=private",
    "--tmpfs=/run",
    "--tmpfs=/run/lock",
    "--tmpfs=/tmp:exec",
    "--env=container=podman",  # systemd then knows that it is in a container
    "--stop-signal=37",  # SIGRTMIN+3: systemd ends in order
    "--volume=/var/lib/containerd",
)


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a lab as the engine sees it; whose making was interrupted has never run."""

    name: str
    running: bool
    ssh_port: int | None
    labels: dict[str, str]
    has_run: bool = True


@dataclass(frozen=True, slots=True)
class Subnet:
    """The addresses of a network, and the one of them that is this machine's."""

    addresses: IPv4Network
    gateway: IPv4Address


@dataclass(frozen=True, slots=True)
class Engine:
    """A container engine; every method raises :class:`GvisorNodesError` with the engine's own words."""

    name: str
    run_options: tuple[str, ...]
    remove_options: tuple[str, ...]
    build_options: tuple[str, ...]
    commit_options: tuple[str, ...]
    network_options: tuple[str, ...]
    image_options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    _entries: dict[str, Entry] = field(default_factory=dict, init=False, repr=False, compare=False)
    """The ways into running nodes, as they were found."""

    def call(
        self,
        *arguments: str,
        what: str,
        stdin: str | None = None,
        timeout: float | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run the engine's client with ``arguments``."""
        return call(
            [self.name, *arguments],
            what=what,
            stdin=stdin,
            environment=self.environment,
            timeout=timeout,
            check=check,
        )

    def has_image(self, tag: str) -> bool:
        """Tell whether the image is there."""
        return self.call("image", "inspect", tag, what=f"Looking for {tag}", check=False).returncode == 0

    def import_directory(self, directory: Path, tag: str, labels: dict[str, str]) -> None:
        """Make the tree ``directory`` the image ``tag`` in which systemd is process 1."""
        options = _image_options(labels)
        with subprocess.Popen(
            ["tar", "--numeric-owner", "--xattrs", "--sort=name", "-C", str(directory), "-c", "."],
            stdout=subprocess.PIPE,
        ) as archive:
            done = subprocess.run(
                [self.name, "import", *options, "-", tag],
                stdin=archive.stdout,
                env={**os.environ, **self.environment},
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode != 0 or archive.returncode != 0:
            raise GvisorNodesError(
                f"{self.name} did not take the image {tag}",
                why=done.stderr.strip() or f"tar exited with {archive.returncode}",
                remedy=f"is there space? {self.name} system df",
            )

    def add_layer(self, base: str, archive: Path, remove: Sequence[str], tag: str, labels: dict[str, str]) -> None:
        """Make the image ``tag``: ``base`` without the paths ``remove``, then with what the tar file ``archive`` holds.

        The caller makes sure that one process at a time does this for a tag.
        """
        name = "gvisor-nodes-build-" + tag.rpartition(":")[2]
        self.remove_builds(name)  # of an interrupted run
        what = f"{self.name} did not make the image {tag}"
        script = 'rm -rf -- "$@" && exec tar -x -C / --numeric-owner'
        options = ["-i", f"--name={name}", f"--label={BUILD_LABEL}={name}", "--network=none", *self.build_options]
        try:
            with archive.open("rb") as content:
                done = subprocess.run(
                    [self.name, "run", *options, base, "/bin/sh", "-c", script, "sh", *remove],
                    stdin=content,
                    env={**os.environ, **self.environment},
                    capture_output=True,
                    text=True,
                    check=False,
                )
            if done.returncode != 0:
                raise GvisorNodesError(
                    what, why=done.stderr.strip(), remedy=f"is there space? {self.name} system df; then run it again"
                )
            self.call("commit", *self.commit_options, *_image_options(labels), name, tag, what=what)
        finally:
            self.remove_builds(name)

    def build(
        self,
        context: Path,
        tag: str,
        arguments: Mapping[str, str],
        labels: Mapping[str, str],
        *,
        platform: str,
        target: str = "",
    ) -> None:
        """Make the image ``tag`` of the Containerfile in ``context``, up to the stage ``target`` if one is named."""
        self.call(
            "build",
            *self.image_options,
            f"--platform={platform}",
            *([f"--target={target}"] if target else []),
            f"--file={context / 'Containerfile'}",
            f"--tag={tag}",
            *(f"--build-arg={name}={value}" for name, value in arguments.items()),
            *(f"--label={name}={value}" for name, value in labels.items()),
            str(context),
            what=f"{self.name} did not build the image {tag}",
            timeout=1800,
        )

    def save(self, tag: str, archive: Path) -> None:
        """Write the image as an archive in docker's format."""
        options = ["--format=docker-archive"] if self.name == "podman" else []
        self.call("save", *options, f"--output={archive}", tag, what=f"The image {tag} was not written", timeout=600)

    def remove_builds(self, name: str | None = None) -> None:
        """Remove the container in which an image was being made, or all of them."""
        label = BUILD_LABEL if name is None else f"{BUILD_LABEL}={name}"
        listed = self.call(
            "ps", "--all", "--filter", f"label={label}", "--format", "{{.Names}}", what="Listing containers failed"
        )
        if names := listed.stdout.split():
            self.call("rm", *self.remove_options, *names, what="A container was not removed", timeout=120)

    def images(self) -> list[str]:
        """Return the ids of all node images that a lab made."""
        done = self.call(
            "images", "--filter", f"label={IMAGE_LABEL}", "--format", "{{.ID}}", what="Listing images failed"
        )
        return sorted(set(done.stdout.split()))

    def remove_image(self, identity: str) -> bool:
        """Remove one image; tell whether it is gone. One that a container uses stays, and so does the container."""
        return self.call("image", "rm", identity, what="Removing an image", check=False).returncode == 0

    def containers(self, lab: str | None = None, *, label: str = LABEL) -> list[Container]:
        """Return the containers of the lab, or of all labs, by name; of clusters with the label of those."""
        label = label if lab is None else f"{label}={lab}"
        listed = self.call(
            "ps", "--all", "--filter", f"label={label}", "--format", "{{.Names}}", what="Listing containers failed"
        )
        names = sorted(listed.stdout.split())
        if not names:
            return []
        # One may go between the two calls; the engine then says so and still tells of the others.
        inspected = self.call("container", "inspect", *names, what="Looking at containers failed", check=False)
        return [_container(found) for found in json.loads(inspected.stdout or "[]")]

    def start_node(
        self, name: str, image: str, *, network: str, labels: dict[str, str], options: Sequence[str] = ()
    ) -> None:
        """Start a new container that is a node; ``options`` are what this one has beside what all have."""
        self.call(
            "run",
            "--detach",
            f"--name={name}",
            f"--hostname={name}",
            f"--network={network}",
            *(f"--label={key}={value}" for key, value in labels.items()),
            *self.run_options,
            # Not one that podman finds: between its look and its use of a port, anybody's connection can take that.
            f"--publish={LOOPBACK}:{free_ports(1)[0]}:{SSH_PORT}",
            *options,
            image,
            "/sbin/init",
            what=f"The node {name} did not start",
            timeout=120,
        )

    def hold_network(self, name: str, image: str, *, network: str, labels: dict[str, str]) -> None:
        """Start a container that does nothing: podman gives the machine an address in a network that somebody is in."""
        self.call(
            "run",
            "--detach",
            f"--name={name}",
            f"--network={network}",
            *(f"--label={key}={value}" for key, value in labels.items()),
            *self.build_options,
            image,
            "/bin/sleep",
            "infinity",
            what=f"Nobody holds the network {network}",
            timeout=120,
        )

    def start_again(self, name: str) -> None:
        """Start a container that was stopped."""
        self.call("start", name, what=f"The node {name} did not start again", timeout=120)

    def execute_arguments(self, name: str, argv: Sequence[str]) -> list[str]:
        """Return the command that runs ``argv`` on the node with our standard input: at once, while it is running."""
        entry = self._entries.get(name)
        if entry is None or not entry.is_open:
            entry = self._find_entry(name)
        return entry.arguments(tuple(argv)) if entry is not None else [self.name, "exec", "-i", name, *argv]

    def _find_entry(self, name: str) -> Entry | None:
        form = "{{.State.Pid}} {{.Id}}"
        said = self.call("container", "inspect", "--format", form, name, what=f"Looking at {name}", check=False).stdout
        pid, _, container = said.strip().partition(" ")
        entry = Entry.find(int(pid), container) if container and pid.isdigit() else None
        if entry is not None:
            self._entries[name] = entry
        return entry

    def remove_containers(self, names: Sequence[str]) -> None:
        """Kill and remove containers with their volumes; those that are gone are no error."""
        if not names:
            return
        # Asked twice: podman gives up on a container that ends by itself between its look and its kill.
        what = "A container was not removed"
        if self.call("rm", *self.remove_options, *names, what=what, timeout=120, check=False).returncode != 0:
            listed = self.call("ps", "--all", "--format", "{{.Names}}", what="Listing containers failed")
            there = set(listed.stdout.split())
            if rest := [name for name in names if name in there]:
                self.call("rm", *self.remove_options, *rest, what=what, timeout=120)

    def add_network(self, name: str, labels: dict[str, str], more: Sequence[str] = ()) -> None:
        """Make the network unless it is there; ``more`` are options beside what all networks have."""
        if self.call("network", "inspect", name, what="Looking for a network", check=False).returncode == 0:
            return
        options = [f"--label={key}={value}" for key, value in labels.items()]
        self.call("network", "create", *self.network_options, *options, *more, name, what=f"No network {name}")

    def subnet(self, network: str) -> Subnet:
        """The addresses of a network of podman's."""
        done = self.call("network", "inspect", network, what=f"Looking at the network {network}")
        (found,) = json.loads(done.stdout)[0]["subnets"]
        return Subnet(IPv4Network(found["subnet"]), IPv4Address(found["gateway"]))

    def networks(self, lab: str | None = None, *, label: str = LABEL) -> list[str]:
        """Return the names of the networks of the lab, or of all labs; of clusters with the label of those."""
        label = label if lab is None else f"{label}={lab}"
        listed = self.call(
            "network", "ls", "--filter", f"label={label}", "--format", "{{.Name}}", what="Listing networks failed"
        )
        return sorted(listed.stdout.split())

    def remove_network(self, name: str) -> None:
        """Remove the network."""
        self.call("network", "rm", name, what=f"The network {name} was not removed")


def _image_options(labels: dict[str, str]) -> list[str]:
    """Return the options of import and commit with which systemd is process 1 and ends in order."""
    changes = ['CMD ["/sbin/init"]', "STOPSIGNAL SIGRTMIN+3", *(f"LABEL {k}={v}" for k, v in labels.items())]
    return [word for change in changes for word in ("--change", change)]


def _container(found: dict[str, Any]) -> Container:
    bindings = (found.get("NetworkSettings", {}).get("Ports") or {}).get(SSH_PORT) or []
    return Container(
        name=found["Name"].lstrip("/"),
        running=found["State"]["Status"] == "running",
        ssh_port=int(bindings[0]["HostPort"]) if bindings else None,
        labels=found["Config"].get("Labels") or {},
        has_run=found["State"]["Status"] != "created",
    )


def podman() -> Engine:
    """Return podman, with a configuration file of the lab's own written to the cache."""
    configuration = cache_directory() / "containers.conf"
    if not configuration.exists() or configuration.read_text(encoding="utf-8") != _CONTAINERS_CONF:
        configuration.parent.mkdir(parents=True, exist_ok=True)
        replace_file(configuration, _CONTAINERS_CONF)
    return Engine(
        name="podman",
        run_options=("--runtime=runc", "--systemd=false", *_COMMON_RUN_OPTIONS),
        remove_options=("--force", "--time=0", "--volumes", "--ignore"),
        build_options=("--runtime=runc", "--cgroupns=private"),
        commit_options=("--quiet",),
        network_options=("--disable-dns",),
        # Times of files are no part of an image: same content, same layers. Without a runtime, cgroups do not matter.
        image_options=("--isolation=chroot", "--timestamp=0", "--layers", "--pull=never"),
        environment={"CONTAINERS_CONF": str(configuration)},
    )


def docker() -> Engine:
    """Return docker; its daemon has its own configuration and runs runc by itself."""
    return Engine(
        name="docker",
        run_options=_COMMON_RUN_OPTIONS,
        remove_options=("--force", "--volumes"),
        build_options=(),
        commit_options=(),
        network_options=(),
        image_options=("--network=none",),
    )


def find_engine() -> Engine:
    """Return the engine that the environment asks for, else podman, else a docker whose daemon answers.

    Raises:
        MissingComponentError: there is neither; the remedy is the command that installs podman.
    """
    wanted = os.environ.get(VARIABLE, "")
    if wanted in {"", "podman"} and shutil.which("podman"):
        return podman()
    if wanted in {"", "docker"} and shutil.which("docker"):
        engine = docker()
        answer = engine.call("version", "--format", "{{.Server.Version}}", what="docker", check=False)
        if answer.returncode == 0:
            return engine
    raise MissingComponentError(
        "A lab needs podman, or docker with a running daemon",
        why=f"{wanted or 'podman'} was not found" + ("" if wanted else ", and no docker daemon answers"),
        remedy=f"apt-get install --no-install-recommends {PACKAGES['podman']}",
    )
