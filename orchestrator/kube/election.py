"""One leader among replicas, by a Lease.

The order is what makes it safe. A leader that stops ends its work first, still renewing, and releases the Lease after
that; so its successor begins when nothing of it is left. A leader that cannot renew is told to end its work while
nobody else can hold the Lease yet; if the work does not end in that time the process must, which is what
:class:`LeadershipLostError` is for. Watching the time is nobody's side job: requests that hang are another thread's.

Timings and rules: kubernetes/client-go v0.37 ``tools/leaderelection/leaderelection.go``.
"""

from __future__ import annotations

import logging
import random as _random
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from orchestrator.errors import GvisorNodesError, InvalidInputError
from orchestrator.kube import lease
from orchestrator.kube.api_error import AbsentError, ConflictError
from orchestrator.kube.lease import LEASES
from orchestrator.kube.resource import version_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.api.view import RawObject
    from orchestrator.kube.client import Client

_log = logging.getLogger(__name__)

_JITTER: Final = 1.2  # of the time between tries to acquire, as client-go


class LeadershipLostError(GvisorNodesError):
    """The Lease could not be renewed, or is somebody else's: this process must not go on.

    Attributes:
        ended: whether the work ended before anybody else could hold the Lease.
    """

    ended: bool = True


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds.

    Attributes:
        lease: after so long without a renewal others may take the Lease.
        renew: after so long without a renewal the leader gives up; what is left until ``lease`` is for its work to end.
        retry: between tries.
    """

    lease: int = 15
    renew: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.retry * _JITTER < self.renew < self.lease:
            raise InvalidInputError(
                "the timing of the leader election cannot work",
                why=f"{_JITTER} times retry < renew < lease must hold: {self.retry}, {self.renew}, {self.lease}",
                remedy="give other durations; 15, 10 and 2 seconds are the usual ones",
            )


class LeaderElector:
    """A candidate. Used once: :meth:`run`.

    Args:
        client: for the Lease alone; the shorter its timeout, the more tries there are before leadership is lost.
        namespace: of the Lease.
        name: of the Lease.
        identity: who this is; no other process has it.
        timing: seconds.
        clock: seconds that only grow.
        now: the moment, for what people read in the Lease.
        random: draws from [0, 1).
    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        identity: str,
        *,
        timing: Timing = Timing(),
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        random: Callable[[], float] = _random.random,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._timing = timing
        self._clock = clock
        self._now = now
        self._random = random
        self._own: RawObject | None = None
        self._version = ""
        self._seen_at = 0.0
        self._renewed_at = 0.0
        self._leading = False
        self._taken = False

    def run(self, lead: Callable[[threading.Event], None], stop: threading.Event) -> None:
        """Wait for the Lease, work while it is held, release it.

        Args:
            lead: the work; given ``stop``, it returns soon after that is set.
            stop: set by whoever wants this to end, such as a handler of SIGTERM, and by this when leadership is lost.

        Raises:
            LeadershipLostError: end the process.
            Exception: what the work raised; the Lease is released.
        """
        while not stop.is_set():
            if self.attempt():
                _log.info("%s leads: it holds the Lease %s/%s", self._identity, self._namespace, self._name)
                self._leading = True
                self._lead(_Work(lead, stop), stop)
                return
            stop.wait(self._timing.retry * (1 + (_JITTER - 1) * self._random()))

    def attempt(self) -> bool:
        """Take or renew the Lease once; tell whether it is ours."""
        asked_at = self._clock()  # before the request: how long it takes on its way is not known
        try:
            held = self._acquire(asked_at)
        except GvisorNodesError as error:
            self._own = None  # what there is now is to be read
            if not isinstance(error, ConflictError):
                _log.warning("%s", error.line)
            return False
        if held:
            self._renewed_at = asked_at
        return held

    def _lead(self, work: _Work, stop: threading.Event) -> None:
        ended = threading.Event()
        renewer = threading.Thread(target=self._keep, args=(ended, stop), name="lease", daemon=True)
        renewer.start()
        work.start()
        try:
            while not work.wait(self._left(self._timing.renew)):
                if self._left(self._timing.renew) <= 0:
                    stop.set()
                    raise self._lost(work)
        finally:
            ended.set()
        renewer.join()
        if self._taken:
            raise self._lost(work)
        self._release()
        work.result()

    def _left(self, seconds: float) -> float:
        """The seconds until so many have passed since the last renewal; none where the Lease is another's."""
        return 0.0 if self._taken else max(self._renewed_at + seconds - self._clock(), 0.0)

    def _lost(self, work: _Work) -> LeadershipLostError:
        """Wait for the end of the work while nobody else can have the Lease, and say whether it came."""
        why = f"the Lease {self._namespace}/{self._name} could not be renewed for {self._timing.renew:.0f} s"
        error = LeadershipLostError(
            f"{self._identity} no longer leads",
            why="somebody else holds the Lease" if self._taken else why,
            remedy="nothing: the process begins anew as a candidate; if it happens often, look at the API server",
        )
        error.ended = work.wait(self._left(self._timing.lease))
        return error

    def _keep(self, ended: threading.Event, stop: threading.Event) -> None:
        while not ended.wait(self._timing.retry):
            self.attempt()
            if self._taken:
                stop.set()
                return

    def _acquire(self, asked_at: float) -> bool:
        current = self._own or self._read(asked_at)
        if current is None:
            spec = lease.held_spec(None, self._identity, self._now(), self._timing.lease)
            self._own = self._client.create(LEASES, lease.new_lease(self._namespace, self._name, spec))
            return True
        if self._leading and lease.holder_of(current) not in {"", self._identity}:
            self._taken = True
        if self._taken or not lease.may_take(current, self._identity, asked_at - self._seen_at):
            return False
        spec = lease.held_spec(current, self._identity, self._now(), self._timing.lease)
        patch = lease.locked(current, spec)
        # A holder trusts what it wrote itself; the optimistic lock tells if that is old.
        self._own = self._client.patch(LEASES, self._name, patch, self._namespace)
        return True

    def _read(self, asked_at: float) -> RawObject | None:
        try:
            current = self._client.get(LEASES, self._name, self._namespace)
        except AbsentError:
            return None
        if self._version != version_of(current):
            self._version = version_of(current)
            self._seen_at = asked_at
        return current

    def _release(self) -> None:
        """Let the next one in at once; if that fails, it waits until the Lease is over."""
        try:
            current = self._client.get(LEASES, self._name, self._namespace)
            if lease.holder_of(current) == self._identity:
                patch = lease.locked(current, lease.released_spec(self._now()))
                self._client.patch(LEASES, self._name, patch, self._namespace)
        except GvisorNodesError as error:
            _log.warning("the Lease is not released: %s", error.line)


class _Work:
    """The work of a leader, in a thread."""

    def __init__(self, lead: Callable[[threading.Event], None], stop: threading.Event) -> None:
        self._lead = lead
        self._stop = stop
        self._ended = threading.Event()
        self._error: BaseException | None = None

    def start(self) -> None:
        threading.Thread(target=self._run, name="leader", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        return self._ended.wait(seconds)

    def result(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._lead(self._stop)
        except BaseException as error:  # noqa: BLE001 - raised again where the leader waits
            self._error = error
        finally:
            self._ended.set()
