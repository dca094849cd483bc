"""Carries steps out in a cluster (``step.py``); what they are for is in ``provision.py`` and ``removal.py``."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from orchestrator.controller.kinds import WRITTEN
from orchestrator.controller.step import AwaitGone, Change, Create, Delete, Step
from orchestrator.kube.api_error import AbsentError, AlreadyExistsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.kube.client import Client


class Outcome(Enum):
    """How far a plan came."""

    DONE = "every step was carried out as it was planned"
    AGAIN = "something else than was planned for was found; what there is has to be read again"
    WAITS = "somebody else has to remove something first"


class StepWriter:
    """For one namespace of a cluster, and for what belongs to the whole of it.

    Args:
        client: of the cluster.
        namespace: where the objects of kinds with namespaces are.
    """

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._namespace = namespace

    def carry_out(self, steps: Iterable[Step]) -> Outcome:
        """Carry steps out in their order, up to the first that cannot be. Nothing is waited for.

        Raises:
            ApiError: the API server refuses.
        """
        for step in steps:
            if isinstance(step, AwaitGone):
                return Outcome.WAITS
            if not self._carry_out(step):
                return Outcome.AGAIN
        return Outcome.DONE

    def _carry_out(self, step: Create | Change | Delete) -> bool:
        """Tell whether what there is can still be as planned for."""
        match step:
            case Create(raw):
                try:
                    self._client.create(WRITTEN[raw["kind"]], raw)
                except AlreadyExistsError:
                    return False
            case Change(kind, name, patch):
                try:
                    self._client.patch(WRITTEN[kind], name, patch, self._place(kind))
                except AbsentError:
                    return False
            case Delete(kind, name):
                self._client.delete(WRITTEN[kind], name, self._place(kind))
        return True

    def _place(self, kind: str) -> str:
        return self._namespace if WRITTEN[kind].namespaced else ""
