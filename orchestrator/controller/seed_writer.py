"""Carries steps out in the seed (``seed_step.py``); what they are for is in ``provision.py`` and ``removal.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.api import managed_resource
from orchestrator.api.managed_resource import ManagedResource
from orchestrator.controller.removal import still_there
from orchestrator.controller.seed_step import AwaitGone, Change, Create, Delete, Step
from orchestrator.kube.api_error import AbsentError, AlreadyExistsError
from orchestrator.kube.deletion import await_gone
from orchestrator.kube.resource import Resource
from orchestrator.kube.shoot_credentials import SECRETS

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable

    from orchestrator.kube.client import Client

_GROUP, _VERSION = managed_resource.API_VERSION.split("/")
MANAGED_RESOURCES: Final = Resource(_GROUP, _VERSION, "managedresources", managed_resource.KIND)
_RESOURCES: Final = {one.kind: one for one in (MANAGED_RESOURCES, SECRETS)}


class SeedWriter:
    """For the namespace of one Shoot.

    Args:
        client: of the seed.
        namespace: the Shoot's.
        patience: seconds to wait for the resource manager, of the three minutes that gardenlet waits.
        stop: set when the process is to end.
    """

    def __init__(
        self, client: Client, namespace: str, *, patience: float = 120.0, stop: threading.Event | None = None
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._patience = patience
        self._stop = stop

    def carry_out(self, steps: Iterable[Step]) -> None:
        """Carry steps out in their order, up to the first that finds something else than was planned for.

        Whoever calls this plans again afterwards, in both cases.

        Raises:
            StillThereError: a ManagedResource did not go in time.
            ApiError: the API server refuses.
        """
        for step in steps:
            if not self._carry_out(step):
                return

    def _carry_out(self, step: Step) -> bool:
        """Tell whether what there is can still be as planned for."""
        match step:
            case Create(raw):
                try:
                    self._client.create(_RESOURCES[raw["kind"]], raw)
                except AlreadyExistsError:
                    return False
            case Change(kind, name, patch):
                try:
                    self._client.patch(_RESOURCES[kind], name, patch, self._namespace)
                except AbsentError:
                    return False
            case Delete(kind, name):
                self._client.delete(_RESOURCES[kind], name, self._namespace)
            case AwaitGone(name):
                self._await_gone(name)
        return True

    def _await_gone(self, name: str) -> None:
        left = await_gone(
            self._client, MANAGED_RESOURCES, name, self._namespace, timeout=self._patience, stop=self._stop
        )
        if left is not None:
            raise still_there(ManagedResource.read(left))
