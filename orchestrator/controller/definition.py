"""The CustomResourceDefinition of ContainerRuntimes in a cluster without Gardener: made and kept, unless there is one.

One without our label is somebody else's, such as Gardener's own, and is used as it is.
"""

from __future__ import annotations

import logging
import time
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import yaml

from orchestrator.api.merge_patch import difference, merge
from orchestrator.controller.direct_objects import MANAGED_BY, OURS
from orchestrator.errors import NotReadyError
from orchestrator.kube.api_error import AbsentError, AlreadyExistsError
from orchestrator.kube.resource import Resource

if TYPE_CHECKING:
    import threading

    from orchestrator.api.view import RawObject
    from orchestrator.kube.client import Client

_log = logging.getLogger(__name__)

DEFINITIONS: Final = Resource(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False
)
_DEADLINE: Final = 60.0  # seconds; an API server takes less than one
_POLL: Final = 0.1


def definition() -> dict[str, Any]:
    """The definition of this version."""
    text = resources.files(__package__).joinpath("files/containerruntimes.yaml").read_text(encoding="utf-8")
    read: dict[str, Any] = yaml.safe_load(text)
    return read


def ensure_definition(client: Client, stop: threading.Event) -> None:
    """Bring the definition to what this version has, and wait until it is served.

    Raises:
        NotReadyError: the API server does not serve it in time, or ``stop`` was set.
        ApiError: the API server refuses.
    """
    wanted = definition()
    name = str(wanted["metadata"]["name"])
    deadline = time.monotonic() + _DEADLINE
    while True:
        there = _ensured(client, name, wanted)
        if there is not None and _is_served(there):
            return
        if time.monotonic() > deadline or stop.wait(_POLL):
            raise NotReadyError(
                f"CustomResourceDefinition {name} is not served",
                why=f"the API server has not said Established in {_DEADLINE:.0f} s",
                remedy=f"kubectl describe crd {name}",
            )


def _ensured(client: Client, name: str, wanted: RawObject) -> RawObject | None:
    try:
        there = client.get(DEFINITIONS, name)
    except AbsentError:
        try:
            _log.info("CustomResourceDefinition %s is made", name)
            return client.create(DEFINITIONS, wanted)
        except AlreadyExistsError:
            return None
    if (there["metadata"].get("labels") or {}).get(MANAGED_BY) != OURS:
        return there
    # The API server fills defaults in, so what it has is never equal to the file; what the file says must be there.
    patch = difference(there, merge(there, wanted))
    if patch and not _is_default(there, patch):
        _log.info("CustomResourceDefinition %s is brought to this version", name)
        return client.patch(DEFINITIONS, name, patch)
    return there


def _is_default(there: RawObject, patch: RawObject) -> bool:
    """Whether a patch changes nothing but what the API server fills in: inside of arrays merge patches see no parts."""
    return patch.keys() == {"spec"} and all(
        _covers(there["spec"].get(key), value) for key, value in patch["spec"].items()
    )


def _covers(there: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(there, dict) and all(_covers(there.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return (
            isinstance(there, list)
            and len(there) == len(wanted)
            and all(_covers(one, other) for one, other in zip(there, wanted, strict=True))
        )
    return bool(there == wanted)


def _is_served(there: RawObject) -> bool:
    conditions = (there.get("status") or {}).get("conditions") or []
    return any(one.get("type") == "Established" and one.get("status") == "True" for one in conditions)
