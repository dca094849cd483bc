"""Waiting for an object to be gone: by a watch, so that it is known at once and costs nothing meanwhile."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from orchestrator.kube import api_error
from orchestrator.kube.backoff import Backoff
from orchestrator.kube.client import Selection
from orchestrator.kube.resource import uid_of
from orchestrator.kube.watch import BOOKMARK, DELETED

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from orchestrator.api.view import RawObject
    from orchestrator.kube.client import Client
    from orchestrator.kube.resource import Resource


# Seconds of a single watch: after so long it is known at the latest that nobody wants to know any more.
_SLICE: Final = 5.0


def await_gone(
    client: Client,
    resource: Resource,
    name: str,
    namespace: str = "",
    *,
    uid: str = "",
    timeout: float,
    stop: threading.Event | None = None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> RawObject | None:
    """Wait until an object is gone. One of the same name that is made anew is another object.

    Args:
        client: of the cluster.
        resource: its kind.
        name: its name.
        namespace: its namespace.
        uid: which object of this name is meant; empty for the one that is there now.
        timeout: seconds.
        stop: ends the waiting, seconds after it is set.
        clock: seconds that only grow.
        sleep: waits so many seconds.

    Returns:
        None if it is gone, else the object as it was last seen when the time was over or ``stop`` was set.

    Raises:
        ApiError: the server refuses, or does not answer until the time is over.
    """
    selection = Selection(namespace, fields=f"metadata.name={name}")
    deadline = clock() + timeout
    backoff = Backoff(initial=0.2, maximum=5.0, clock=clock)
    while True:
        try:
            awaited, version = _seen(client, resource, selection)
            if awaited is None or (uid and uid_of(awaited) != uid):
                return None
            uid = uid_of(awaited)
            while (left := deadline - clock()) > 0 and not (stop and stop.is_set()):
                with client.watch(resource, version, max(1, round(min(left, _SLICE))), selection) as watch:
                    for event in watch:
                        if event.type == DELETED:
                            return None
                        version = event.resource_version or version
                        awaited = event.raw if event.type != BOOKMARK else awaited
        except (api_error.UnavailableError, api_error.ExpiredError):
            pause = backoff.next()
            if clock() + pause > deadline or (stop and stop.is_set()):
                raise
            sleep(pause)
        else:
            return awaited


def _seen(client: Client, resource: Resource, selection: Selection) -> tuple[RawObject | None, str]:
    found: RawObject | None = None
    version = ""
    for page in client.pages(resource, selection):
        found = page.items[0] if page.items else found
        version = page.resource_version
    return found, version
