"""GVisorConfiguration: what the owner of a worker pool sets, in the ContainerRuntime's ``providerConfig``.

Read as the upstream extension reads it, so that whatever works there works here: fields that nobody knows do not
matter, and where ``apiVersion`` and ``kind`` are missing they are the only ones there are. What flags mean is none of
this module's business. Source: gardener-extension-runtime-gvisor v0.45.0, ``pkg/apis/config/v1alpha1/types.go`` and
``pkg/charts/values.go``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, Field, PrivateAttr, ValidationError

from orchestrator.api.view import RawObject, View, faults
from orchestrator.errors import ConfigurationError

API_VERSION: Final = "gvisor.runtime.extensions.config.gardener.cloud/v1alpha1"
KIND: Final = "GVisorConfiguration"
_EXPECTED: Final = {"apiVersion": API_VERSION, "kind": KIND}
_EFFECTIVE: Final = frozenset({*_EXPECTED, "configFlags"})
_FIX: Final = "correct providerConfig of the worker pool's container runtime; nothing was changed"


def _null_is_empty(flags: Any) -> Any:
    """Go decodes a null value of a map of strings as the empty text."""
    return {name: value if value is not None else "" for name, value in flags.items()} if _is_map(flags) else flags


def _is_map(value: object) -> bool:
    return isinstance(value, Mapping)


class GVisorConfiguration(View):
    """The configuration of one worker pool.

    Attributes:
        api_version: empty where it was left out.
        kind: empty where it was left out.
        config_flags: flags of runsc by name, values as they were written; not judged.
        test_image_tag: of the upstream extension's installer image; without effect here.
    """

    api_version: str = ""
    kind: str = ""
    config_flags: Annotated[Mapping[str, str], BeforeValidator(_null_is_empty)] = Field(default_factory=dict)
    test_image_tag: str = ""
    _fields_without_effect: tuple[str, ...] = PrivateAttr(default=())

    @classmethod
    def read(cls, raw: RawObject | None) -> Self:
        """Read a ``providerConfig``; none at all is an empty configuration.

        Raises:
            ConfigurationError: it is no object, says it is something else, or a value has another type than upstream's
                schema has, for example a flag that is no text.
        """
        given: RawObject = {"apiVersion": API_VERSION, "kind": KIND} if raw is None else raw
        try:
            configuration = cls.model_validate(given)
        except ValidationError as error:
            raise ConfigurationError(
                "providerConfig is no GVisorConfiguration",
                why=faults(error),
                remedy=f'{_FIX}. Values of flags are texts: write debug: "true" with its quotes',
            ) from error
        for field, expected in _EXPECTED.items():
            if given.get(field) not in (None, "", expected):
                raise ConfigurationError(
                    "providerConfig is no GVisorConfiguration that is known here",
                    why=f"its {field} is {given[field]!r}, not {expected}",
                    remedy=_FIX,
                )
        configuration._fields_without_effect = tuple(sorted(str(key) for key in given if key not in _EFFECTIVE))  # noqa: SLF001
        return configuration

    @property
    def missing_type_fields(self) -> tuple[str, ...]:
        """``apiVersion`` and ``kind``, as far as they were left out: accepted, and worth a warning."""
        return tuple(field for field, found in (("apiVersion", self.api_version), ("kind", self.kind)) if not found)

    @property
    def fields_without_effect(self) -> tuple[str, ...]:
        """Fields beside ``configFlags`` that were given and change nothing, sorted."""
        return self._fields_without_effect
