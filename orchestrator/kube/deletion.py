"""Waiting for an object to be gone: by a watch, so that it is known at once and costs nothing meanwhile."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from orchestrator.kube import api_error
from orchestrator.kube.backoff import Backoff
from orchestrator.kube.client import Selection
from orchestrator.kube.watch import BOOKMARK, DELETED

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.api.view import RawObject
    from orchestrator.kube.client import Client
    from orchestrator.kube.resource import Resource


def await_gone(
    client: Client,
    resource: Resource,
    name: str,
    namespace: str = "",
    *,
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> RawObject | None:
    """Wait until an object is gone; one of the same name that is made anew is another object.

    Args:
        client: of the cluster.
        resource: its kind.
        name: its name.
        namespace: its namespace.
        timeout: seconds.
        clock: seconds that only grow.
        sleep: waits so many seconds.

    Returns:
        None if it is gone, else the object as it was last seen when the time was over.

    Raises:
        ApiError: the server refuses, or does not answer until the time is over.
    """
    selection = Selection(namespace, fields=f"metadata.name={name}")
    deadline = clock() + timeout
    backoff = Backoff(initial=0.2, maximum=5.0, clock=clock)
    awaited: RawObject | None = None
    while True:
        try:
            found, version = _seen(client, resource, selection)
            if found is None or (awaited is not None and _uid(found) != _uid(awaited)):
                return None
            awaited = found
            left = deadline - clock()
            if left <= 0:
                return awaited
            awaited = _watched(client, resource, selection, version, awaited=awaited, seconds=max(1, round(left)))
            if awaited is None:
                return None
        except (api_error.UnavailableError, api_error.ExpiredError):
            pause = backoff.next()
            if clock() + pause > deadline:
                raise
            sleep(pause)


def _seen(client: Client, resource: Resource, selection: Selection) -> tuple[RawObject | None, str]:
    found: RawObject | None = None
    version = ""
    for page in client.pages(resource, selection):
        found = page.items[0] if page.items else found
        version = page.resource_version
    return found, version


def _watched(
    client: Client, resource: Resource, selection: Selection, version: str, *, awaited: RawObject, seconds: int
) -> RawObject | None:
    """Watch for so long; return the object as it was last seen, or None if it is gone."""
    with client.watch(resource, version, seconds, selection) as watch:
        for event in watch:
            if event.type == DELETED:
                return None
            if event.type != BOOKMARK:
                awaited = event.raw
    return awaited


def _uid(raw: RawObject) -> str:
    return str(raw["metadata"].get("uid") or "")
