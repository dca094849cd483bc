"""What the process of the controller is told: one model, read from YAML, flags of the command line, and environment.

Pure: whoever calls has read the file. The flags are those of the upstream extension, so that its Deployment starts
this controller as well; they are in ``upstream_flags.py``, and one that is given wins over the file. What is wrong is
named by its path in the file or by its flag, with what it should be and never with what it is: a value in the wrong
place may be a secret.

Settings of pools are not here: they come with their objects (``pool_settings.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from orchestrator.controller import upstream_flags
from orchestrator.controller.bind_address import BindAddress, bind_address
from orchestrator.controller.installation import Installation
from orchestrator.controller.nodes.job import JobSettings
from orchestrator.controller.nodes.settings import NodesOptions
from orchestrator.controller.nodes.ssh_settings import SshSettings
from orchestrator.controller.verb import TriggerMode
from orchestrator.errors import InvalidInputError
from orchestrator.gvisor.flag_policy import read_policy
from orchestrator.gvisor.releases import DEFAULT_RELEASE, is_release
from orchestrator.planning.inventory import is_user

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from orchestrator.controller.upstream_flags import Path

LEADER_ELECTION_ID: Final = "runtime-gvisor-leader-election"
"""The Lease that upstream's replicas share, so one of theirs and one of these never work at once."""
NAMESPACE_VARIABLE: Final = "LEADER_ELECTION_NAMESPACE"
ARTIFACTS_VARIABLE: Final = "GVISOR_NODES_ARTIFACTS"
"""Where gVisor's releases are in this product's image."""

_NOTHING_CHANGED: Final = "nothing was changed"


def _address(text: str) -> str:
    bind_address(text)
    return text


def _release(text: str) -> str:
    if not is_release(text):
        raise ValueError("it is no release of gVisor, which is a day and a number: YYYYMMDD.N")
    return text


def _flags_policy(value: dict[str, Any]) -> dict[str, Any]:
    try:
        read_policy(value)
    except InvalidInputError as error:
        # Its reason quotes what was found.
        form = "it has base (default or none) and allow, flags with a list of values or any"
        raise ValueError(f"{error.what}; {form}") from None
    return value


def _user(text: str) -> str:
    if text and not is_user(text):
        raise ValueError("it is no user name: letters, digits, _ . - only")
    return text


def _namespaced(text: str) -> str:
    namespace, slash, name = text.partition("/")
    if text and not (namespace and slash and name and "/" not in name):
        raise ValueError("it is written as namespace/name")
    return text


def _absolute(text: str) -> str:
    if text and not text.startswith("/"):
        raise ValueError("it is no absolute path")
    return text


def _upstreams_word(value: Any) -> Any:
    return "console" if value == "text" else value


type Address = Annotated[str, AfterValidator(_address)]
type Place = Annotated[str, AfterValidator(_absolute)]
type Items[T] = Annotated[tuple[T, ...], Field(strict=False)]


class Section(BaseModel):
    """A part of the settings. Types are strict, keys are camelCase, and a key that there is not is refused."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", alias_generator=to_camel)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: Any) -> Any:
        # A section whose keys are all commented out is null for YAML.
        if isinstance(value, Mapping):
            return {key: inner for key, inner in value.items() if inner is not None}
        return value


class LeaderElection(Section):
    """One of several replicas works."""

    enabled: bool = Field(default=True, description="Whether only the holder of a Lease works.")
    id: str = Field(default=LEADER_ELECTION_ID, min_length=1, description="The name of the Lease.")
    namespace: str = Field(
        default="",
        description=f"Where the Lease is; `{NAMESPACE_VARIABLE}` of the environment if empty, and in the mode"
        " `gardener` the namespace of the pod if that is empty too.",
    )


class Heartbeat(Section):
    """The Lease that Gardener looks at."""

    namespace: str = Field(
        default="",
        description=f"The extension's own namespace; `{NAMESPACE_VARIABLE}` of the environment if empty, and the"
        " namespace of the pod if that is empty too.",
    )
    renew_interval_seconds: int = Field(default=30, gt=0, description="Seconds between renewals.")


class Metrics(Section):
    """Where Prometheus finds the metrics."""

    bind_address: Address = Field(default=":8080", description="Where `/metrics` is served; `0` for nowhere.")

    @property
    def address(self) -> BindAddress | None:
        """The host and port, None for off."""
        return bind_address(self.bind_address)


class Health(Section):
    """Where the kubelet finds the probes."""

    bind_address: Address = Field(
        default=":8081", description="Where `/healthz` and `/readyz` are served; `0` for nowhere."
    )

    @property
    def address(self) -> BindAddress | None:
        """The host and port, None for off."""
        return bind_address(self.bind_address)


class Log(Section):
    """What is logged, and how."""

    level: Literal["debug", "info", "error"] = Field(default="info", description="The least that is logged.")
    format: Annotated[Literal["json", "console"], BeforeValidator(_upstreams_word)] = Field(
        default="json", description="One JSON object a line, or lines for people; `text`, upstream's word, is console."
    )


class GVisor(Section):
    """What is put on the nodes of every pool."""

    release: Annotated[str, AfterValidator(_release)] = Field(
        default=DEFAULT_RELEASE, description="The release, in quotes: YAML takes it for a number without them."
    )
    flags_policy: Annotated[dict[str, Any], AfterValidator(_flags_policy)] = Field(
        default_factory=dict,
        description="What owners of pools may set; as the playbooks' variable `runsc_flags_policy`.",
    )
    strict: bool = Field(default=False, description="Whether a setting that would be left out is an error instead.")

    @property
    def installation(self) -> Installation:
        """The same, as the controller's decisions take it."""
        return Installation(self.release, self.flags_policy, self.strict)


class Deletion(Section):
    """What a deletion does about nodes on which gVisor is."""

    patience_seconds: int = Field(
        default=90, gt=0, description="How long it waits for the removal; gardenlet gives up after 180 in all."
    )
    running_pods: Literal["leave", "wait"] = Field(
        default="leave",
        description="What happens then, where pods still use gVisor or a node does not answer: `leave` goes on, leaves"
        " gVisor there and names the nodes in an event; `wait` waits for as long as it takes.",
    )


class Ssh(Section):
    """How nodes are reached, for the executor ``ssh``."""

    user: Annotated[str, AfterValidator(_user)] = Field(
        default="",
        description="Who logs in; if empty, `gardener` on the nodes of a Shoot, and `root` without Gardener.",
    )
    port: int = Field(default=22, gt=0, le=65535, description="Where their sshd listens.")
    become: bool = Field(
        default=True, description="Whether that user, if it is not `root`, becomes root by sudo, without a password."
    )
    key_secret: Annotated[str, AfterValidator(_namespaced)] = Field(
        default="",
        description="The Secret with the private key, as `namespace/name`; its data has `ssh-privatekey` or `id_rsa`."
        " Without Gardener only, as `keyFile`: a Shoot has key pairs of its own, which are read anew for each run.",
    )
    key_file: Place = Field(default="", description="The file with the private key, without a passphrase.")
    known_hosts: Place = Field(
        default="",
        description="The file with the nodes' host keys; a node that is not in it is refused. If empty, a node is"
        " believed when it is first seen, for as long as the process lives.",
    )
    artifacts_directory: Place = Field(
        default="",
        description="The directory with gVisor's releases, as `gvisor-nodes releases fetch --to` makes it; its"
        f" `releases.json` is believed. `{ARTIFACTS_VARIABLE}` of the environment if empty. With neither they are"
        " fetched.",
    )
    runs_at_once: int = Field(
        default=5, gt=0, description="How many runs there are at once, in all clusters; each takes some 150 MB."
    )


class Nodes(Section):
    """Who brings gVisor to the nodes, and how."""

    executor: Literal["none", "job", "ssh"] = Field(
        default="none",
        description="`job`: a privileged Job on each node, in its cluster's `kube-system`; `ssh`: this process, over"
        " SSH, where it has a way to the nodes; `none`: nobody, the"
        " controller writes what is wanted and touches no node.",
    )
    image: str = Field(default="", description="The image of the Jobs: this product's, which holds everything.")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        default="IfNotPresent", description="When the kubelet fetches it."
    )
    image_pull_secrets: Items[str] = Field(default=(), description="Names of Secrets in `kube-system`.")
    timeout_seconds: int = Field(default=300, ge=60, description="How long a run may take; it is then ended.")
    keep_seconds: int = Field(default=3600, ge=0, description="How long a Job that has ended is kept, with its log.")
    startup_taint: str = Field(
        default="",
        description="The key of a taint that new nodes register with; it goes when gVisor is proved. Names that the"
        " autoscaler passes over begin with `startup-taint.cluster-autoscaler.kubernetes.io/`.",
    )
    deletion: Deletion = Field(default_factory=Deletion)
    ssh: Ssh = Field(default_factory=Ssh)

    @model_validator(mode="after")
    def _has_an_image(self) -> Self:
        if self.executor == "job" and not self.image:
            raise ValueError("executor is job, which needs an image")
        return self

    def options(self, *, external: bool, artifacts: str = "") -> NodesOptions | None:
        """The same, as the node loop takes it; None if nobody looks after nodes.

        Args:
            external: whether a Shoot is never reached by its address inside the seed.
            artifacts: what the environment says of where gVisor's releases are.
        """
        if self.executor == "none":
            return None
        return NodesOptions(
            job=self._job() if self.executor == "job" else None,
            ssh=self._ssh(artifacts) if self.executor == "ssh" else None,
            startup_taint=self.startup_taint,
            patience=float(self.deletion.patience_seconds),
            running_pods=self.deletion.running_pods,
            external=external,
        )

    def _job(self) -> JobSettings:
        return JobSettings(
            image=self.image,
            pull_policy=self.image_pull_policy,
            pull_secrets=self.image_pull_secrets,
            timeout=self.timeout_seconds,
            keep=self.keep_seconds,
        )

    def _ssh(self, artifacts: str) -> SshSettings:
        given = self.ssh
        return SshSettings(
            user=given.user,
            port=given.port,
            become=given.become,
            key_secret=given.key_secret,
            key_file=given.key_file,
            known_hosts=given.known_hosts,
            artifacts_directory=given.artifacts_directory or artifacts,
            at_once=given.runs_at_once,
            timeout=self.timeout_seconds,
        )


class ControllerSettings(Section):
    """Everything."""

    mode: Literal["gardener", "standalone"] = Field(
        default="gardener",
        description="`gardener`: a seed, and Shoots with API servers of their own; `standalone`: one cluster without"
        " Gardener.",
    )
    # Upstream's program has true and its chart passes false. With true every changed spec is acted upon at once, also
    # outside of its Shoot's maintenance window; whoever starts the program without its chart should not get that.
    ignore_operation_annotation: bool = Field(
        default=False,
        description="Whether a changed spec is acted upon without the operation annotation. Upstream's program has"
        " `true` as its default and its chart passes `false`, which keeps changes within maintenance windows.",
    )
    extension_classes: Items[str] = Field(
        default=(), description="The classes of the ContainerRuntimes that are this controller's; none is `shoot`."
    )
    kubeconfig: str = Field(
        default="",
        description="Path of a kubeconfig; if empty, `KUBECONFIG`, the pod's ServiceAccount and `~/.kube/config` are"
        " looked for, in this order.",
    )
    master: str = Field(default="", description="URL of an API server, instead of the one that the kubeconfig names.")
    concurrent_reconciles: int = Field(default=5, gt=0, description="How many ContainerRuntimes are worked on at once.")
    leader_election: LeaderElection = Field(default_factory=LeaderElection)
    heartbeat: Heartbeat = Field(default_factory=Heartbeat)
    metrics: Metrics = Field(default_factory=Metrics)
    health: Health = Field(default_factory=Health)
    log: Log = Field(default_factory=Log)
    gvisor: GVisor = Field(default_factory=GVisor)
    nodes: Nodes = Field(default_factory=Nodes)

    @property
    def trigger_mode(self) -> TriggerMode:
        """What makes a changed spec be acted upon; without Gardener nobody sets annotations."""
        by_generation = self.ignore_operation_annotation or self.mode == "standalone"
        return TriggerMode.GENERATION if by_generation else TriggerMode.ANNOTATION

    def with_namespace(self, namespace: str) -> Self:
        """The same, with a namespace for those Leases that have none: the pod's, which only credentials know."""
        return self.model_copy(
            update={
                name: section.model_copy(update={"namespace": section.namespace or namespace})
                for name, section in (("leader_election", self.leader_election), ("heartbeat", self.heartbeat))
            }
        )


def settings(
    yaml_text: str, flags: Mapping[str, str], environment: Mapping[str, str], *, file: str = "the settings"
) -> ControllerSettings:
    """Read the settings.

    Args:
        yaml_text: the file's content; empty for the defaults.
        flags: those of upstream that were given, without their dashes, as text.
        environment: the process's; ``LEADER_ELECTION_NAMESPACE`` counts.
        file: what people are told the text is from.

    Raises:
        InvalidInputError: something is wrong; all that is, is named.
    """
    document = _document(yaml_text, file)
    _validated(document, f"{file} cannot be used", f"correct {file}; {_NOTHING_CHANGED}", {})
    given = upstream_flags.values(flags)
    for path, value in given.items():
        document = _with(document, path, value)
    names = {path: f"--{name}" for name, path in upstream_flags.paths().items() if path in given}
    read = _validated(document, "a flag cannot be used", f"correct it; {_NOTHING_CHANGED}", names)
    read = read.with_namespace(environment.get(NAMESPACE_VARIABLE, ""))
    if read.mode == "standalone" and read.leader_election.enabled and not read.leader_election.namespace:
        raise InvalidInputError(
            "the leader election has no namespace",
            why=f"leaderElection.enabled is true, and neither leaderElection.namespace nor {NAMESPACE_VARIABLE} is set",
            remedy=f"set leaderElection.namespace in {file}, or --leader-election-namespace, or {NAMESPACE_VARIABLE};"
            " or set leaderElection.enabled to false where there is one replica only",
        )
    _check_keys(read, file)
    return read


def _check_keys(read: ControllerSettings, file: str) -> None:
    """Whether it is clear with which key nodes are reached, where they are reached by SSH.

    Raises:
        InvalidInputError: it is not.
    """
    if read.nodes.executor != "ssh":
        return
    given = [
        name
        for name, value in (("keySecret", read.nodes.ssh.key_secret), ("keyFile", read.nodes.ssh.key_file))
        if value
    ]
    wanted = 1 if read.mode == "standalone" else 0
    if len(given) != wanted:
        raise InvalidInputError(
            f"{file} cannot be used",
            why="nodes.executor is ssh, which without Gardener needs one key: nodes.ssh.keySecret or nodes.ssh.keyFile"
            if wanted
            else f"nodes.ssh.{given[0]} is set, and the nodes of a Shoot are reached by its own key pairs",
            remedy=f"correct {file}; {_NOTHING_CHANGED}",
        )


class _Loader(yaml.SafeLoader):
    """Refuses a key that comes twice, of which YAML's own rules for Python would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        seen = set()
        for key, _ in node.value:
            if key.value in seen and isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key comes twice", key.start_mark)
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)


def _document(text: str, file: str) -> dict[str, Any]:
    try:
        document = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # The parser's message quotes the text.
        twice = getattr(error, "problem", "") == "a key comes twice"
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        why = f"a key comes twice{where}" if twice else f"it is no YAML{where}"
        raise InvalidInputError(
            f"{file} cannot be used", why=why, remedy=f"correct {file}; {_NOTHING_CHANGED}"
        ) from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise InvalidInputError(
            f"{file} cannot be used", why="it is no mapping", remedy=f"correct {file}; {_NOTHING_CHANGED}"
        )
    return document


def _with(document: Mapping[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """The document with a value at a path; where one section is an alias of another, only this one has it."""
    first, *rest = path
    return {**document, first: _with(document.get(first) or {}, tuple(rest), value) if rest else value}


def _validated(document: Mapping[str, Any], what: str, remedy: str, names: Mapping[Path, str]) -> ControllerSettings:
    try:
        return ControllerSettings.model_validate(document)
    except ValidationError as error:
        why = "; ".join(_fault(one, names) for one in error.errors(include_url=False, include_input=False))
        # Not chained: pydantic's own text shows the values.
        raise InvalidInputError(what, why=why, remedy=remedy) from None


def _fault(fault: ErrorDetails, names: Mapping[Path, str]) -> str:
    path = tuple(part for part in fault["loc"] if isinstance(part, str))
    place = names.get(path) or _place(fault["loc"])
    return f"{place} {_should(fault, path)}"


def _place(location: tuple[int | str, ...]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".")


_SHOULD: Final = {
    "string_type": "should be text; what YAML takes for a number or a boolean needs quotes",
    "bool_type": "should be true or false",
    "int_type": "should be a whole number",
    "greater_than": "should be greater than {gt}",
    "greater_than_equal": "should be {ge} or more",
    "less_than_equal": "should be {le} or less",
    "string_too_short": "should not be empty",
    "literal_error": "should be one of {expected}",
    "tuple_type": "should be a list",
    "model_type": "should be a mapping",
    "dict_type": "should be a mapping",
    "value_error": "is wrong: {error}",
}
"""What pydantic finds wrong, for people."""


def _should(fault: ErrorDetails, path: Path) -> str:
    if fault["type"] == "extra_forbidden":
        return f"is unknown; there are {', '.join(_keys(path[:-1]))}"
    if fault["type"] in _SHOULD:
        return _SHOULD[fault["type"]].format_map(fault.get("ctx") or {})
    return f"is wrong: {fault['msg']}"


def _keys(path: Path) -> list[str]:
    """The keys that there are in a section."""
    section: Any = ControllerSettings
    for part in path:
        section = next(field.annotation for field in section.model_fields.values() if field.alias == part)
    return [field.alias for field in section.model_fields.values()]
