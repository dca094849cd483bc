"""The Lease that tells Gardener that an extension is alive; only the leader renews it.

Source: gardener/gardener v1.149.3 ``extensions/pkg/controller/heartbeat/reconciler.go``: no acquireTime, renewed by
merge patch; Gardener takes it for stale after five minutes.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from orchestrator.errors import GvisorNodesError, InvalidInputError
from orchestrator.kube import lease
from orchestrator.kube.api_error import AbsentError
from orchestrator.kube.lease import LEASES

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from orchestrator.kube.client import Client

_log = logging.getLogger(__name__)

NAME: Final = "gardener-extension-heartbeat"


class Heartbeat:
    """Made once, :meth:`run` in a thread of its own.

    Args:
        client: of the seed.
        namespace: the extension's own.
        holder: the extension's name.
        seconds: between renewals.
        now: the moment.

    Raises:
        InvalidInputError: ``seconds`` is not positive.
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        holder: str,
        seconds: int = 30,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if seconds <= 0:
            raise InvalidInputError(
                f"the heartbeat cannot be renewed every {seconds} seconds",
                why="the interval must be positive",
                remedy="give another --heartbeat-renew-interval-seconds, such as 30",
            )
        self._client = client
        self._namespace = namespace
        self._holder = holder
        self._seconds = seconds
        self._now = now

    def run(self, stop: threading.Event) -> None:
        """Renew at once and then every interval until ``stop`` is set; a renewal that fails is tried at the next."""
        while True:
            try:
                self.beat()
            except GvisorNodesError as error:
                _log.warning("no heartbeat: %s", error.line)
            if stop.wait(self._seconds):
                return

    def beat(self) -> None:
        """Renew once.

        Raises:
            ApiError: the server does not let it.
        """
        spec = {
            "holderIdentity": self._holder,
            "leaseDurationSeconds": self._seconds,
            "renewTime": lease.micro_time(self._now()),
        }
        try:
            self._client.patch(LEASES, NAME, {"spec": spec}, self._namespace)
        except AbsentError:
            self._client.create(LEASES, lease.new_lease(self._namespace, NAME, spec))
