"""What a Job does on its node: the same playbooks, by a local connection, on a host whose root is mounted in the pod.

The variables are the wish that the controller wrote for the node's pool; how this pod reaches its host is added here,
so that no wish can say otherwise. What comes of it is a :class:`JobResult`, whatever happens. What the pod is given is
in docs/adr/0018-the-playbooks-in-a-pod.md; the command is in ``orchestrator.cli.job``.
"""

from __future__ import annotations

import json
import re
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from orchestrator.errors import GvisorNodesError, InvalidInputError
from orchestrator.execution import runner
from orchestrator.execution.job_result import PODS, JobResult
from orchestrator.execution.results import HostResult, RunResult
from orchestrator.gvisor.releases import DEFAULT_RELEASE
from orchestrator.planning.desired import DEFAULTS, DesiredState, read_variables

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping

    from orchestrator.execution.content import Content
    from orchestrator.execution.job_result import JobOutcome
    from orchestrator.execution.results import HostEvent

type Verb = Literal["apply", "remove"]

RELEASES: Final = "releases.json"
"""A catalogue file in the directory of releases: the hashes of those that the built-in catalogue does not have."""
PLAYBOOKS: Final = {"apply": "install", "remove": "uninstall"}
# Where this pod is, and not what its pool wishes.
_OURS: Final = frozenset({"node_host_root", "node_host_live"})
_NODE: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_OUTCOMES: Final[Mapping[int, JobOutcome]] = {2: "invalid", 4: "refused"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One node's work.

    ``variables`` are the playbooks', as the wish has them; ``host_root`` is where the host's ``/`` is mounted, ``/``
    where this machine is the node; ``artifacts`` is a directory of releases that comes with the image, used unless the
    wish names one.
    """

    verb: Verb
    node: str
    variables: Mapping[str, Any]
    host_root: str = "/host"
    artifacts: str = ""
    desired: DesiredState = field(init=False)

    def __post_init__(self) -> None:
        """Look at what was given.

        Raises:
            InvalidInputError: naming what is not valid; nothing was changed.
        """
        if not _NODE.fullmatch(self.node):
            raise InvalidInputError(
                f"{self.node!r} is no name of a node",
                remedy="set NODE_NAME in the pod's environment from its field spec.nodeName",
            )
        unknown = sorted(str(name) for name in set(self.variables) - set(DEFAULTS) | (_OURS & set(self.variables)))
        if unknown:
            raise InvalidInputError(
                f"the wish has variables that it may not have: {', '.join(unknown)[:200]}",
                why="only what the roles define is taken from a wish, without where the host is",
                remedy="let the controller and the Job's image be of one version",
            )
        object.__setattr__(self, "desired", read_variables(self.extra_variables, DEFAULT_RELEASE)[0])

    @property
    def extra_variables(self) -> dict[str, Any]:
        """The playbooks' variables with where this pod's host is, and where releases are."""
        return with_releases(
            {**self.variables, "node_host_root": self.host_root, "node_host_live": True}, self.artifacts
        )

    def run(
        self,
        on_event: Callable[[HostEvent], None] | None = None,
        *,
        cancel: threading.Event | None = None,
        content: Content | None = None,
    ) -> JobResult:
        """Run the playbook on the node; signals and ``cancel`` stop it as in :func:`runner.run`.

        Raises:
            GvisorNodesError: nothing could be run, or it ended without saying how the node fared.
        """
        variables = {
            **self.extra_variables,
            "ansible_connection": "local",
            "ansible_python_interpreter": sys.executable,
        }
        options = runner.Options(forks=1, ssh=False)
        run = runner.run(
            PLAYBOOKS[self.verb],
            f"{self.node},",
            extra_vars=variables,
            options=options,
            on_event=on_event,
            content=content,
            cancel=cancel,
        )
        return result_of(self.verb, run, self.desired)


def with_releases(variables: Mapping[str, Any], artifacts: str) -> dict[str, Any]:
    """The variables with a directory of releases of this machine, unless there is none or they name one themselves."""
    found = dict(variables)
    if artifacts and not found.get("runsc_artifacts_directory"):
        found |= {"runsc_artifacts_directory": artifacts, "runsc_offline": True}
        hashes = Path(artifacts) / RELEASES
        if hashes.is_file():
            found["runsc_releases_files"] = [*found.get("runsc_releases_files", []), str(hashes)]
    return found


def read_wish(path: Path) -> dict[str, Any]:
    """The variables in a file as the controller's ConfigMap has them.

    Raises:
        InvalidInputError: it cannot be read, or is no JSON object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInputError(
            f"the variables in {path} cannot be read", why=str(error), remedy="mount the pool's ConfigMap there"
        ) from error
    if not isinstance(found, dict):
        raise InvalidInputError(
            f"the variables in {path} are no JSON object", remedy="mount the pool's ConfigMap there"
        )
    return found


def result_of(verb: Verb, run: RunResult, desired: DesiredState) -> JobResult:
    """What a run on one node came to."""
    host = next(iter(run.hosts.values()), HostResult("", "failed"))
    report, probe = host.data.get("report") or {}, (host.data.get("probe") or {}).get("state") or {}
    last = host.failure or next((step for step in reversed(host.steps) if step.step == "report"), None)
    pods = sorted({f"{pod['namespace']}/{pod['name']}" for pod in probe.get("pods") or [] if pod.get("name")})
    refused = host.outcome == "refused"
    seconds: dict[str, float] = {}
    for step in host.steps:
        seconds[step.step] = seconds.get(step.step, 0.0) + step.seconds
    restarts = report.get("restarts", (host.data.get("containerd") or {}).get("restarts"))
    generation = report.get("generation")
    return JobResult(
        action=verb,
        outcome="interrupted" if run.interrupted else host.outcome,
        step=last.step if last else "",
        message=last.message if last else "",
        cause=last.cause if last else "",
        remedy=last.remedy if last else "",
        release=desired.release,
        fingerprint=desired.fingerprint,
        generation=generation if isinstance(generation, int) else None,
        proved=verb == "apply" and host.succeeded and not run.interrupted and report.get("proof") == "proved",
        restarts=restarts if isinstance(restarts, int) else 0,
        pods=tuple(pods[:PODS]) if refused else (),
        pods_total=len(pods) if refused else 0,
        warnings=host.warnings,
        seconds=run.seconds,
        steps=seconds,
    )


def failed(verb: Verb, error: BaseException, started: float) -> JobResult:
    """What there is to say of a Job that came to no run: ``started`` is on the monotonic clock."""
    seconds = time.monotonic() - started
    if isinstance(error, GvisorNodesError):
        outcome = _OUTCOMES.get(error.exit_code, "failed")
        return JobResult(
            action=verb,
            outcome=outcome,
            step=error.step,
            message=error.what,
            cause=error.why,
            remedy=error.remedy,
            seconds=seconds,
        )
    return JobResult(
        action=verb,
        outcome="failed",
        message="the Job crashed",
        cause=f"{type(error).__name__}: {error}",
        remedy="see the log of the Job's pod; the node goes on from its journal with the next Job",
        seconds=seconds,
    )
