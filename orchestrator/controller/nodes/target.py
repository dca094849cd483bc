"""The cluster in which the nodes are: its client, what is seen of it, and who runs what there."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

from orchestrator.api import node as node_view
from orchestrator.api.node import Node
from orchestrator.controller.kinds import CONFIG_MAPS, JOBS, NODES, PODS
from orchestrator.controller.nodes import job
from orchestrator.controller.pool_objects import NAMESPACE
from orchestrator.kube.api_error import AbsentError
from orchestrator.kube.client import EVERYTHING, Selection
from orchestrator.kube.events import EventRecorder
from orchestrator.kube.reflector import Reflector, without_managed_fields
from orchestrator.kube.resource import version_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.api.merge_patch import Patch
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
        self._views: dict[str, tuple[RawObject, Node]] = {}
        self._written: dict[str, Node] = {}
        self._lock = threading.Lock()
        self._made = time.monotonic()
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

    @property
    def age(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._made

    def wait_synced(self, timeout: float) -> bool:
        """Wait until everything was seen once; tell whether that came before ``timeout`` (seconds, for each kind)."""
        return all(one.wait_synced(timeout) for one in self._reflectors)

    def nodes(self) -> tuple[Node, ...]:
        """The Nodes as they were last seen, or written here if that was later."""
        before = self._views
        now: dict[str, tuple[RawObject, Node]] = {}
        for raw in self._nodes.store.objects():
            name = raw["metadata"]["name"]
            known = before.get(name)
            now[name] = known if known is not None and known[0] is raw else (raw, Node.read(raw))
        self._views = now
        views = {name: view for name, (_, view) in now.items()}
        with self._lock:
            self._written = {
                name: one for name, one in self._written.items() if name in now and _later(one.raw, now[name][0])
            }
            return tuple((views | self._written).values())

    def patch(self, node: Node, patch: Patch) -> Node | None:
        """Patch a Node that was looked at; None if it is gone, which is nobody's failure.

        What comes of it is seen at once by whoever looks here, and not only when the watch shows it: else the next pass
        would plan as if nothing had been begun.

        Raises:
            ConflictError: somebody else has written it since, or it is another Node of its name.
        """
        try:
            raw = self.client.patch(NODES, node.name, patch)
        except AbsentError:
            return None
        one = Node.read(node_view.essential(without_managed_fields(raw)))
        with self._lock:
            self._written[node.name] = one
        return one

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


def _later(one: RawObject, other: RawObject) -> bool:
    """Whether an object was written after another one.

    The numbers are etcd's revisions, and may be compared (https://kep.k8s.io/5504). What is no number is not taken for
    later; then the watch tells.
    """
    ours, theirs = version_of(one), version_of(other)
    return ours.isdecimal() and theirs.isdecimal() and int(ours) > int(theirs)
