"""A kind of object, and its paths on an API server."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from orchestrator.errors import InvalidInputError

if TYPE_CHECKING:
    from orchestrator.api.view import RawObject

# Kubernetes' rule for a name as a segment of a path (apimachinery ``pkg/api/validation/path``), and no empty one.
_NO_SEGMENT: Final = re.compile(r"\.{0,2}|.*[/%].*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Resource:
    """What Kubernetes calls a resource.

    Attributes:
        group: the API group; empty for the core group.
        version: for example ``v1``.
        plural: its name in paths.
        kind: its name in objects.
        namespaced: whether its objects live in namespaces.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """What its objects have in ``apiVersion``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of an object, or without ``name`` of all objects of the namespace, or of all without it.

        Raises:
            InvalidInputError: the name or namespace cannot be one, or an object's namespace is missing or too much.
        """
        if bool(namespace) != self.namespaced and (name or namespace):
            raise InvalidInputError(
                f"{self.kind} {name} cannot be asked for",
                why="it lives in a namespace, and none is given" if self.namespaced else "it lives in no namespace",
                remedy="correct the caller",
            )
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        parts += ["namespaces", _segment(namespace)] if namespace else []
        parts += [self.plural]
        parts += [_segment(name)] if name else []
        parts += [subresource] if subresource else []
        return "/" + "/".join(parts)

    def label(self, namespace: str = "", name: str = "") -> str:
        """What people are told: ``Secret shoot--foo--bar/kubeconfig``, ``Nodes``."""
        place = "/".join(part for part in (namespace, name) if part)
        return f"{self.kind} {place}" if name else f"all of {self.plural}" + (f" in {namespace}" if namespace else "")


def namespace_of(raw: RawObject) -> str:
    """The namespace that an object says it is in; empty if it says none."""
    return str((raw.get("metadata") or {}).get("namespace") or "")


def name_of(raw: RawObject) -> str:
    """The name that an object says it has; empty if it says none."""
    return str((raw.get("metadata") or {}).get("name") or "")


def uid_of(raw: RawObject) -> str:
    """Which of all objects that ever had its name it is; empty if it does not say."""
    return str((raw.get("metadata") or {}).get("uid") or "")


def version_of(raw: RawObject) -> str:
    """Its resourceVersion: while it stays, nobody has changed the object."""
    return str((raw.get("metadata") or {}).get("resourceVersion") or "")


def _segment(name: str) -> str:
    if _NO_SEGMENT.fullmatch(name):
        raise InvalidInputError(
            f"{name!r} is no name of an object",
            why="it would become another path on the API server",
            remedy="correct the object that names it",
        )
    return quote(name, safe="")
