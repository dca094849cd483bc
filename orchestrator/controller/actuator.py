"""Acts: from the verb that the reconciler has decided on to the module that carries it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.controller.verb import Verb
from orchestrator.controller.verbs.delete import delete
from orchestrator.controller.verbs.force_delete import force_delete
from orchestrator.controller.verbs.migrate import migrate
from orchestrator.controller.verbs.reconcile import reconcile
from orchestrator.controller.verbs.restore import restore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.api.container_runtime import ContainerRuntime
    from orchestrator.controller.delivery import Delivered, Delivery, Nodes

_VERBS: Final[Mapping[Verb, Callable[[ContainerRuntime, Delivery, Nodes], Delivered]]] = {
    Verb.RECONCILE: reconcile,
    Verb.RESTORE: restore,
    Verb.MIGRATE: migrate,
    Verb.DELETE: delete,
    Verb.FORCE_DELETE: force_delete,
}


def act(verb: Verb, runtime: ContainerRuntime, delivery: Delivery, nodes: Nodes) -> Delivered:
    """Carry a verb out; errors are those of :class:`~orchestrator.controller.delivery.Delivery`."""
    return _VERBS[verb](runtime, delivery, nodes)
