"""The cluster in which the nodes are: its client, what is seen of it, and who runs what there."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from orchestrator.api import node as node_view
from orchestrator.api.node import Node
from orchestrator.controller.kinds import CONFIG_MAPS, JOBS, NODES, PODS
from orchestrator.controller.nodes import job
from orchestrator.controller.pool_objects import NAMESPACE
from orchestrator.kube.client import EVERYTHING, Selection
from orchestrator.kube.events import EventRecorder
from orchestrator.kube.reflector import Reflector

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.api.view import RawObject
    from orchestrator.controller.metrics import Metrics
    from orchestrator.kube.client import Client
    from orchestrator.kube.resource import Resource
    from orchestrator.kube.store import Key

_WISHES: Final = Selection(NAMESPACE, labels=f"{job.NAME_LABEL}={job.NAME}")
_JOBS: Final = Selection(NAMESPACE, labels=job.SELECTOR)


class Target:
    """Watches from :meth:`start` to :meth:`stop`; everything else is safe for threads.

    Args:
        client: of the cluster; it is closed at the end.
        wake: called whenever something has changed that a pool's nodes may need.
        metrics: told of watches.
    """

    def __init__(self, client: Client, wake: Callable[[], None], metrics: Metrics | None = None) -> None:
        self.client = client
        self.recorder = EventRecorder(client, "gvisor-nodes")
        self._views: dict[str, Node] = {}
        changes = _Changes(wake)

        def reflector(
            resource: Resource, selection: Selection, trim: Callable[[RawObject], RawObject] | None = None
        ) -> Reflector:
            return Reflector(
                client,
                resource,
                selection=selection,
                handlers=[changes],
                trim=trim,
                restarted=metrics.watch_restarts(resource) if metrics else None,
            )

        self._nodes = reflector(NODES, EVERYTHING, node_view.essential)
        self._wishes = reflector(CONFIG_MAPS, _WISHES)
        self._jobs = reflector(JOBS, _JOBS)
        self._pods = reflector(PODS, _JOBS)
        self.jobs = self._jobs.store
        self.pods = self._pods.store
        self._reflectors = (self._nodes, self._wishes, self._jobs, self._pods)

    def start(self) -> None:
        """Begin to watch."""
        for number, one in enumerate(self._reflectors):
            threading.Thread(target=one.run, name=f"target-{number}", daemon=True).start()
        threading.Thread(target=self.recorder.run, name="target-events", daemon=True).start()

    def stop(self) -> None:
        """End all of it; what is under way ends with an error."""
        for one in self._reflectors:
            one.stop()
        self.recorder.stop()
        self.client.close()

    @property
    def synced(self) -> bool:
        """Whether everything was seen once."""
        return all(one.synced for one in self._reflectors)

    def wait_synced(self, timeout: float) -> bool:
        """Wait until everything was seen once; tell whether that came before ``timeout`` (seconds, for each kind)."""
        return all(one.wait_synced(timeout) for one in self._reflectors)

    def nodes(self) -> tuple[Node, ...]:
        """The Nodes as they were last seen."""
        views, before = {}, self._views
        for raw in self._nodes.store.objects():
            name = raw["metadata"]["name"]
            known = before.get(name)
            views[name] = known if known is not None and known.raw is raw else Node.read(raw)
        self._views = views
        return tuple(views.values())

    def wish(self, key: Key) -> RawObject | None:
        """A ConfigMap as it was last seen."""
        return self._wishes.store.get(key)


class _Changes:
    """A handler that passes over what nobody here looks at, such as a kubelet's signs of life."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake

    def added(self, raw: RawObject) -> None:  # noqa: ARG002 - the handler's signature
        self._wake()

    def updated(self, before: RawObject, after: RawObject) -> None:
        if _without_version(before) != _without_version(after):
            self._wake()

    def deleted(self, raw: RawObject) -> None:  # noqa: ARG002 - the handler's signature
        self._wake()


def _without_version(raw: RawObject) -> RawObject:
    metadata = {key: value for key, value in raw["metadata"].items() if key != "resourceVersion"}
    return {**raw, "metadata": metadata}
