"""Runs over SSH, from this process to the node. See :class:`~orchestrator.controller.nodes.run.Executor`.

The keys are read anew for each run and are in memory only; both of a rotation are offered in one connection, the
newest first. Host keys: nobody tells a controller those of a Shoot's nodes, so unless the operator has a file of them a
node is believed when it is first seen, under its UID, for as long as this process lives. A node that shows another key
later is refused, and a new Node at an old one's address is another one.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from orchestrator.controller.nodes.mark import Action
from orchestrator.controller.nodes.ssh_runs import verb_of
from orchestrator.errors import InvalidInputError, NotReadyError, RefusedError
from orchestrator.execution import runner
from orchestrator.execution.job import PLAYBOOKS, result_of, with_releases
from orchestrator.execution.login import Login
from orchestrator.gvisor.releases import DEFAULT_RELEASE
from orchestrator.kube.shoot_credentials import SECRETS
from orchestrator.kube.shoot_keys import private_key, shoot_keys
from orchestrator.planning.desired import read_variables
from orchestrator.planning.inventory import InventoryHost, build

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from orchestrator.controller.nodes.run import Order, Run
    from orchestrator.controller.nodes.ssh_runs import SshRuns
    from orchestrator.controller.nodes.ssh_settings import SshSettings
    from orchestrator.execution.job_result import JobResult
    from orchestrator.execution.results import HostEvent
    from orchestrator.kube.client import Client

_log = logging.getLogger(__name__)

_UID: Final = re.compile(r"[A-Za-z0-9-]+")
_GARDENERS_USER: Final = "gardener"


class SshExecutor:
    """Safe for threads.

    Args:
        runs: those of this process.
        place: the namespace of the Shoot in its seed; empty without Gardener.
        keys: reads the private keys, in the order in which they are tried.
        settings: what the operator decides.
        allowed: whether nodes may be reached by SSH now.
        wake: called when a run has ended.
    """

    def __init__(
        self,
        runs: SshRuns,
        place: str,
        keys: Callable[[], tuple[str, ...]],
        settings: SshSettings,
        *,
        allowed: Callable[[], bool],
        wake: Callable[[], None],
    ) -> None:
        self._runs = runs
        self._place = place
        self._keys = keys
        self._allowed = allowed
        self._wake = wake
        self._settings = settings

    def runs(self, owner: str) -> tuple[Run, ...]:
        """From this process's memory."""
        return self._runs.runs(owner)

    def find(self, name: str) -> Run | None:
        """From this process's memory; there is no other place."""
        return self._runs.find(name)

    def start(self, order: Order) -> None:
        """Let it begin in a thread of its own."""
        self._runs.start(order, self._carry_out, self._wake)

    def stop(self, name: str) -> None:
        """Ask its playbook to stop; it is forgotten when it has."""
        self._runs.stop(name)

    def _carry_out(self, order: Order, cancel: threading.Event) -> JobResult:
        if not self._allowed():
            raise RefusedError(
                "the Shoot's nodes must not be reached by SSH",
                why="spec.provider.workersSettings.sshAccess.enabled of the Shoot is false",
                remedy="let its owner enable it, or the operator use nodes.executor: job",
            )
        if not order.address:
            raise NotReadyError(
                "the node has no address",
                why="its Node has neither an InternalIP nor a Hostname",
                remedy="wait for its cloud provider, which writes it",
            )
        strict = self._settings.known_hosts
        known_hosts = Path(strict) if strict else self._runs.known_hosts(self._place)
        login = Login(self._keys(), known_hosts, learns=not strict)
        verb, variables = verb_of(order), self._variables(order)
        desired, _ = read_variables(variables, DEFAULT_RELEASE)
        run = runner.run(
            PLAYBOOKS[verb],
            self._inventory(order),
            extra_vars=variables,
            options=runner.Options(forks=1, timeout=float(self._settings.timeout), login=login),
            on_event=_told,
            cancel=cancel,
        )
        return result_of(verb, run, desired)

    def _inventory(self, order: Order) -> dict[str, Any]:
        if not _UID.fullmatch(order.uid):
            raise InvalidInputError("the Node has a UID that is none")
        settings = self._settings
        user = settings.user or (_GARDENERS_USER if self._place else "root")
        variables = {} if settings.known_hosts else {"ansible_ssh_extra_args": f"-o HostKeyAlias={order.uid}"}
        host = InventoryHost(name=order.node, address=order.address, port=settings.port, variables=variables)
        return build([host], user=user, become=settings.become and user != "root")

    def _variables(self, order: Order) -> dict[str, Any]:
        """The playbooks' variables, with where releases are on this machine; no fingerprint counts that."""
        artifacts = self._settings.artifacts_directory if order.action is Action.APPLY else ""
        return with_releases(order.variables, artifacts)


def key_source(settings: SshSettings, client: Client, namespace: str) -> Callable[[], tuple[str, ...]]:
    """What reads the keys of a cluster's nodes, each time anew.

    Args:
        settings: name a file or a Secret, or nothing for the Shoot's own key pairs.
        client: of the cluster that has the ContainerRuntimes.
        namespace: the Shoot's in its seed.
    """
    if settings.key_file:
        return lambda: (_from_file(settings.key_file),)
    if settings.key_secret:
        place, _, name = settings.key_secret.partition("/")
        return lambda: (private_key(client.get(SECRETS, name, place)),)
    return lambda: shoot_keys(client, namespace)


def _from_file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(
            "the file with the SSH key cannot be read",
            why=f"{path}: {getattr(error, 'strerror', None) or 'it is no text'}",
            remedy="correct nodes.ssh.keyFile, or the file's rights",
        ) from None


def _told(event: HostEvent) -> None:
    _log.debug("node %s: %s %s %s", event.host, event.step, event.status, event.message)
