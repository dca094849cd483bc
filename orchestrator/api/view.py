"""The base of all views: a few typed fields of a raw object that stays as it came.

A view is read from what an API server sent (decoded JSON) and is never written back. What is written are merge patches
(``merge_patch.py``) on the raw object, so fields that no view knows survive. A view asks for as little as it can:
whatever a newer schema adds is not looked at, and null means absent, as Kubernetes' own decoders have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from orchestrator.errors import InvalidInputError

type RawObject = Mapping[str, Any]
"""An object as JSON has it. Nobody changes one: patches are applied to copies."""

type Items[T] = Annotated[tuple[T, ...], Field(strict=False)]
"""A JSON array."""


class View(BaseModel):
    """Some fields of a JSON object. Types are strict: the text "1" is no number."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="ignore",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: inner for key, inner in value.items() if inner is not None}
        return value


class Metadata(View):
    """What Kubernetes knows of every object; times as it writes them."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    deletion_timestamp: str = ""
    finalizers: Items[str] = ()
    labels: Mapping[str, str] = Field(default_factory=dict)
    annotations: Mapping[str, str] = Field(default_factory=dict)


class KubernetesObject(View):
    """An object with its metadata, and the raw object that it was read from."""

    metadata: Metadata = Field(default_factory=Metadata)
    _raw: RawObject = PrivateAttr(default_factory=dict)

    @classmethod
    def read(cls, raw: RawObject) -> Self:
        """Look at a raw object, which is kept and not changed.

        Raises:
            InvalidInputError: a field that this view needs is missing or has another type. API servers that have the
                schemas do not let such an object in.
        """
        try:
            view = cls.model_validate(raw)
        except ValidationError as error:
            raise InvalidInputError(
                f"{cls.__name__} {_place(raw)} is not what its schema says",
                why=faults(error),
                remedy="install the CustomResourceDefinitions of this version, which refuse such an object",
            ) from error
        view._raw = raw  # noqa: SLF001 - its own
        return view

    @property
    def raw(self) -> RawObject:
        """The object as it came, with everything that no view knows."""
        return self._raw

    @property
    def name(self) -> str:
        """The object's name."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """The object's namespace; empty for what belongs to the whole cluster."""
        return self.metadata.namespace

    @property
    def deleting(self) -> bool:
        """Whether somebody has asked for its deletion."""
        return bool(self.metadata.deletion_timestamp)


def pick(raw: RawObject, *paths: str) -> RawObject:
    """A new object with the named parts of another one; what is not there is left out.

    Args:
        raw: the object.
        paths: names with dots between them, such as ``spec.shoot.status``.
    """
    picked: dict[str, Any] = {}
    for path in paths:
        *parents, name = path.split(".")
        found: Any = raw
        for part in (*parents, name):
            found = found.get(part) if isinstance(found, Mapping) else None
        if found is not None:
            target = picked
            for part in parents:
                target = target.setdefault(part, {})
            target[name] = found
    return picked


def faults(error: ValidationError) -> str:
    """Name each field that is wrong, by its path in the object, with what it should be."""
    return "; ".join(
        f"{'.'.join(str(part) for part in fault['loc']) or 'the object'}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_input=False)
    )


def _place(raw: object) -> str:
    metadata = raw.get("metadata") if isinstance(raw, Mapping) else None
    if not isinstance(metadata, Mapping):
        return "without metadata"
    return "/".join(str(metadata[key]) for key in ("namespace", "name") if metadata.get(key)) or "without a name"
