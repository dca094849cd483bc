"""Delivery without Gardener: objects are written where they are wanted, beside the ContainerRuntime."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from orchestrator.api.container_runtime import ContainerRuntime
from orchestrator.controller import direct_objects
from orchestrator.controller.delivery import Delivered, restless
from orchestrator.controller.kinds import CONTAINER_RUNTIMES, WRITTEN
from orchestrator.controller.pool_objects import NAMESPACE
from orchestrator.controller.step_writer import Outcome, StepWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from orchestrator.api.view import RawObject
    from orchestrator.controller.direct_objects import Name
    from orchestrator.controller.installation import Installation
    from orchestrator.controller.step import Step
    from orchestrator.kube.client import Client

_ROUNDS: Final = 5


class DirectDelivery:
    """See :class:`~orchestrator.controller.delivery.Delivery`.

    Args:
        client: of the cluster.
        installation: what holds for every pool.
    """

    def __init__(self, client: Client, installation: Installation) -> None:
        self._client = client
        self._installation = installation
        # "Is another pool still there?" and the deletion that follows are one thing, see seed_delivery.py.
        self._lock = threading.Lock()

    def deliver(self, runtime: ContainerRuntime) -> Delivered:
        """Write the RuntimeClass, and the pool's wish and account."""
        objects, observation = direct_objects.wanted(runtime, self._installation)
        self._settle(runtime, lambda there: direct_objects.bring(objects, there))
        return Delivered((observation,))

    def take_back(self, runtime: ContainerRuntime, *, wait: bool) -> Delivered:  # noqa: ARG002 - nobody is waited for
        """Delete what is the pool's, and the RuntimeClass if no other pool needs it."""
        self._settle(runtime, lambda there: direct_objects.remove(runtime, self._runtimes(), there))
        return Delivered()

    def let_go(self, runtime: ContainerRuntime) -> Delivered:  # noqa: ARG002 - it keeps what it has
        """Leave everything as it is; whoever comes next takes it over by its names."""
        return Delivered()

    def _settle(self, runtime: ContainerRuntime, plan: Callable[[Mapping[Name, RawObject]], tuple[Step, ...]]) -> None:
        writer = StepWriter(self._client, NAMESPACE)
        names = (direct_objects.SHARED, *direct_objects.pool_names(runtime))
        for _ in range(_ROUNDS):
            with self._lock:
                found = {name: self._get(name) for name in names}
                steps = plan({name: raw for name, raw in found.items() if raw is not None})
                if writer.carry_out(steps) is Outcome.DONE:
                    return
        raise restless("objects", runtime, _ROUNDS)

    def _get(self, name: Name) -> RawObject | None:
        resource = WRITTEN[name[0]]
        return self._client.find(resource, name[1], NAMESPACE if resource.namespaced else "")

    def _runtimes(self) -> Iterator[ContainerRuntime]:
        for page in self._client.pages(CONTAINER_RUNTIMES):
            yield from map(ContainerRuntime.read, page.items)
