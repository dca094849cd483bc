"""Delivery by ManagedResources in the seed: Gardener's resource manager keeps them in the Shoot.

One round reads what there is, plans and writes. For what all pools share it has a lock of the namespace: "is another
pool still there?" and the deletion that follows are one thing, and so are "it is there" and going on. The lock is never
held while somebody is waited for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.api.container_runtime import ContainerRuntime
from orchestrator.api.managed_resource import ManagedResource
from orchestrator.controller import provision
from orchestrator.controller.delivery import Delivered, restless
from orchestrator.controller.keyed_lock import KeyedLock
from orchestrator.controller.kinds import CONTAINER_RUNTIMES, MANAGED_RESOURCES
from orchestrator.controller.managed_resource import legacy_secret_name
from orchestrator.controller.removal import delete_steps, migrate_steps, still_there
from orchestrator.controller.seed_objects import SHARED, pool_name, seed_objects
from orchestrator.controller.seed_state import SeedState
from orchestrator.controller.step import AwaitGone
from orchestrator.controller.step_writer import Outcome, StepWriter
from orchestrator.kube.client import Selection
from orchestrator.kube.shoot_credentials import SECRETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from orchestrator.controller.installation import Installation
    from orchestrator.controller.managed_resource import Bundle
    from orchestrator.controller.step import Step
    from orchestrator.errors import StillThereError
    from orchestrator.kube.client import Client

# A removal takes two rounds for each ManagedResource and one that finds nothing; the others are for surprises.
_ROUNDS: Final = 10


class SeedDelivery:
    """See :class:`~orchestrator.controller.delivery.Delivery`.

    Args:
        client: of the seed.
        installation: what holds for every pool.
    """

    def __init__(self, client: Client, installation: Installation) -> None:
        self._client = client
        self._installation = installation
        self.namespaces: KeyedLock[str] = KeyedLock()

    def deliver(self, runtime: ContainerRuntime) -> Delivered:
        """Write both ManagedResources with their Secrets; the resource manager does the rest when it can."""
        wanted = seed_objects(runtime, self._installation)
        with self.namespaces.held(runtime.namespace):
            waits = self._bring(runtime, wanted.shared, expected=True)
        # The pool's own is nobody else's, so its requests need no lock. Of a pool that was never reconciled nothing is
        # there, but for what a run that was cut off has left.
        if waits is None:
            waits = self._bring(runtime, wanted.pool, expected=bool(runtime.status.observed_generation))
        return Delivered((wanted.settings.observation,), waits)

    def take_back(self, runtime: ContainerRuntime, *, wait: bool) -> Delivered:
        """Delete the ManagedResource of the pool, then the one of all pools if no other pool needs it."""

        def plan(state: SeedState) -> tuple[Step, ...]:
            return delete_steps(runtime, self._runtimes(runtime.namespace), state, wait=wait)

        return Delivered(waits=self._remove(runtime, plan))

    def let_go(self, runtime: ContainerRuntime) -> Delivered:
        """Delete both ManagedResources without what they hold: the Shoot keeps it."""
        return Delivered(waits=self._remove(runtime, lambda state: migrate_steps(runtime, state)))

    def _bring(self, runtime: ContainerRuntime, wanted: Bundle, *, expected: bool) -> StillThereError | None:
        """Bring one ManagedResource with its Secret; return what has to be gone first.

        Its Secret is taken for absent unless the ManagedResource references it, and that too if it is not ``expected``,
        until something says otherwise: that saves half of a first reconcile's requests.
        """
        for attempt in range(_ROUNDS):
            known = attempt > 0
            names = (wanted.name,) if known or expected else ()
            state = self._state(runtime.namespace, names, (wanted.secret_name,) if known else ())
            steps = provision.steps([wanted], state)
            match StepWriter(self._client, runtime.namespace).carry_out(steps):
                case Outcome.DONE:
                    return None
                case Outcome.WAITS:
                    return still_there(state.managed_resources[wanted.name])
                case Outcome.AGAIN:
                    continue
        raise restless("ManagedResources", runtime, _ROUNDS)

    def _remove(
        self, runtime: ContainerRuntime, plan: Callable[[SeedState], tuple[Step, ...]]
    ) -> StillThereError | None:
        """Plan and carry out until nothing is left to do, or return what has to be gone first."""
        names = (pool_name(runtime), SHARED)
        secrets = [legacy_secret_name(name) for name in names]
        for _ in range(_ROUNDS):
            with self.namespaces.held(runtime.namespace):
                state = self._state(runtime.namespace, names, secrets)
                steps = plan(state)
                outcome = StepWriter(self._client, runtime.namespace).carry_out(steps)
            if outcome is Outcome.WAITS:
                return still_there(state.managed_resources[_awaited(steps)])
            if not steps:
                return None
        raise restless("ManagedResources", runtime, _ROUNDS)

    def _state(self, namespace: str, names: Iterable[str], secrets: Iterable[str]) -> SeedState:
        found = {name: self._client.find(MANAGED_RESOURCES, name, namespace) for name in names}
        resources = {name: ManagedResource.read(raw) for name, raw in found.items() if raw is not None}
        referenced = (name for one in resources.values() for name in one.secret_names)
        kept = {name: self._client.find(SECRETS, name, namespace) for name in dict.fromkeys((*secrets, *referenced))}
        return SeedState(resources, {name: raw for name, raw in kept.items() if raw is not None})

    def _runtimes(self, namespace: str) -> Iterator[ContainerRuntime]:
        """Asked only when it matters, and never from a cache."""
        for page in self._client.pages(CONTAINER_RUNTIMES, Selection(namespace)):
            yield from map(ContainerRuntime.read, page.items)


def _awaited(steps: Iterable[Step]) -> str:
    return next(step.name for step in steps if isinstance(step, AwaitGone))
