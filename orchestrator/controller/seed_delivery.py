"""Delivery by ManagedResources in the seed: Gardener's resource manager keeps them in the Shoot.

One round reads what there is, plans and writes, under a lock of its namespace; what all pools share is only safe so:
"is another pool still there?" and the deletion that follows are one thing, and so are "it is there" and going on. The
lock is never held while somebody is waited for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.api.container_runtime import ContainerRuntime
from orchestrator.api.managed_resource import ManagedResource
from orchestrator.controller import provision
from orchestrator.controller.delivery import Delivered
from orchestrator.controller.keyed_lock import KeyedLock
from orchestrator.controller.kinds import CONTAINER_RUNTIMES, MANAGED_RESOURCES
from orchestrator.controller.managed_resource import legacy_secret_name
from orchestrator.controller.removal import delete_steps, migrate_steps, still_there
from orchestrator.controller.seed_objects import SHARED, pool_name, seed_objects
from orchestrator.controller.seed_state import SeedState
from orchestrator.controller.step import AwaitGone
from orchestrator.controller.step_writer import Outcome, StepWriter
from orchestrator.errors import NotReadyError
from orchestrator.kube.api_error import AbsentError
from orchestrator.kube.client import Selection
from orchestrator.kube.shoot_credentials import SECRETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from orchestrator.api.view import RawObject
    from orchestrator.controller.installation import Installation
    from orchestrator.controller.step import Step
    from orchestrator.errors import StillThereError
    from orchestrator.kube.client import Client
    from orchestrator.kube.resource import Resource

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
        secrets = [one.secret_name for one in wanted.bundles]
        # Of a pool that was never reconciled nothing is there, but for what a run that was cut off has left.
        expected = (SHARED, pool_name(runtime)) if runtime.status.observed_generation else (SHARED,)
        waits = self._settle(runtime, lambda state: provision.steps(wanted, state), secrets, expected)
        return Delivered((wanted.settings.observation,), waits)

    def take_back(self, runtime: ContainerRuntime, *, wait: bool) -> Delivered:
        """Delete the ManagedResource of the pool, then the one of all pools if no other pool needs it."""

        def plan(state: SeedState) -> tuple[Step, ...]:
            return delete_steps(runtime, self._runtimes(runtime.namespace), state, wait=wait)

        return Delivered(waits=self._settle(runtime, plan, _legacy(runtime)))

    def let_go(self, runtime: ContainerRuntime) -> Delivered:
        """Delete both ManagedResources without what they hold: the Shoot keeps it."""
        return Delivered(waits=self._settle(runtime, lambda state: migrate_steps(runtime, state), _legacy(runtime)))

    def _settle(
        self,
        runtime: ContainerRuntime,
        plan: Callable[[SeedState], tuple[Step, ...]],
        secrets: Iterable[str],
        expected: Iterable[str] | None = None,
    ) -> StillThereError | None:
        """Plan and carry out until nothing is left to do, or somebody else has to act first.

        Args:
            runtime: whose ManagedResources it is about.
            plan: makes steps of what there is.
            secrets: names to look for, beside those that ManagedResources reference.
            expected: ManagedResources that may be there. All others, and ``secrets``, are taken for absent until
                something says otherwise, and a plan that was carried out for all that there was to do. It saves most
                of a first reconcile's requests. None for no such guess.
        """
        names = (pool_name(runtime), SHARED)
        writer = StepWriter(self._client, runtime.namespace)
        for attempt in range(_ROUNDS):
            with self.namespaces.held(runtime.namespace):
                if expected is not None and attempt == 0:
                    state = self._state(runtime.namespace, expected, ())
                else:
                    state = self._state(runtime.namespace, names, secrets)
                steps = plan(state)
                outcome = writer.carry_out(steps)
            if outcome is Outcome.WAITS:
                return still_there(state.managed_resources[_awaited(steps)])
            if outcome is Outcome.DONE and (expected is not None or not steps):
                return None
        raise NotReadyError(
            f"the ManagedResources of {runtime.namespace}/{runtime.name} do not stay as they are written",
            why=f"they were read and written {_ROUNDS} times, and somebody changed them every time",
            remedy="nothing: it is tried again; if it happens often, look who else writes them",
        )

    def _state(self, namespace: str, names: Iterable[str], secrets: Iterable[str]) -> SeedState:
        found = {name: self._get(MANAGED_RESOURCES, name, namespace) for name in names}
        resources = {name: ManagedResource.read(raw) for name, raw in found.items() if raw is not None}
        referenced = (name for one in resources.values() for name in one.secret_names)
        kept = {name: self._get(SECRETS, name, namespace) for name in dict.fromkeys((*secrets, *referenced))}
        return SeedState(resources, {name: raw for name, raw in kept.items() if raw is not None})

    def _get(self, resource: Resource, name: str, namespace: str) -> RawObject | None:
        try:
            return self._client.get(resource, name, namespace)
        except AbsentError:
            return None

    def _runtimes(self, namespace: str) -> Iterator[ContainerRuntime]:
        """Asked only when it matters, and never from a cache."""
        for page in self._client.pages(CONTAINER_RUNTIMES, Selection(namespace)):
            yield from map(ContainerRuntime.read, page.items)


def _legacy(runtime: ContainerRuntime) -> tuple[str, ...]:
    return legacy_secret_name(pool_name(runtime)), legacy_secret_name(SHARED)


def _awaited(steps: Iterable[Step]) -> str:
    return next(step.name for step in steps if isinstance(step, AwaitGone))
