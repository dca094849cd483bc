"""Changes to an object that others change too: made anew from the newer object when they come first.

Source: kubernetes/client-go v0.37 ``util/retry/util.go``.
"""

from __future__ import annotations

import random as _random
import time
from typing import TYPE_CHECKING, Final

from orchestrator.kube.api_error import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.api.merge_patch import Patch
    from orchestrator.api.view import RawObject
    from orchestrator.kube.client import Client
    from orchestrator.kube.resource import Resource

_TRIES: Final = 5
_PAUSE: Final = 0.01  # seconds; whoever came first has only just written


def change(
    client: Client,
    resource: Resource,
    raw: RawObject,
    make: Callable[[RawObject], Patch],
    *,
    subresource: str = "",
    sleep: Callable[[float], None] = time.sleep,
    random: Callable[[], float] = _random.random,
) -> RawObject:
    """Patch an object; after a conflict read it and make the patch anew.

    Args:
        client: of the cluster.
        resource: its kind.
        raw: the object as it was last seen.
        make: what shall be patched, from an object; empty for nothing. A patch that needs an optimistic lock carries
            the object's ``metadata.resourceVersion``.
        subresource: ``status``, or nothing.
        sleep: waits so many seconds.
        random: draws from [0, 1).

    Returns:
        The object after it; the object itself if there is nothing to do.

    Raises:
        ConflictError: somebody else came first five times.
        AbsentError: it is not there any more.
        ApiError: anything else the server says.
    """
    namespace, name = raw["metadata"].get("namespace", ""), raw["metadata"]["name"]
    conflicts = 0
    while patch := make(raw):
        try:
            return client.patch(resource, name, patch, namespace, subresource)
        except ConflictError:
            conflicts += 1
            if conflicts == _TRIES:
                raise
        sleep(_PAUSE * (1 + random()))
        raw = client.get(resource, name, namespace)
    return raw
