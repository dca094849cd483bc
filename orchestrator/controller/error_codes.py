"""The one place where classes of errors become Gardener's codes. Pure.

A code decides what Gardener does with the Shoot: one that is not retryable turns it ``Failed`` at once, and only a
Shoot with a code can be deleted by force. So a code needs certainty; most errors have none and are just tried again.

Source: gardener/gardener v1.149.3, ``pkg/apis/core/v1beta1/types_common.go``,
``pkg/api/core/v1beta1/helper/errors.go``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from orchestrator.errors import ConfigurationError, StillThereError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Code(StrEnum):
    """The codes that this controller uses."""

    CONFIGURATION_PROBLEM = "ERR_CONFIGURATION_PROBLEM"
    """Not retryable: only the owner of the Shoot can correct it."""
    CLEANUP_CLUSTER_RESOURCES = "ERR_CLEANUP_CLUSTER_RESOURCES"
    """Retryable: something in the Shoot does not go away."""
    RETRYABLE_CONFIGURATION_PROBLEM = "ERR_RETRYABLE_CONFIGURATION_PROBLEM"
    """Retryable: somebody has to correct something, and it may happen without another word."""


_CODES: Final[dict[type[BaseException], Code]] = {
    ConfigurationError: Code.CONFIGURATION_PROBLEM,
    StillThereError: Code.CLEANUP_CLUSTER_RESOURCES,
}


def codes(error: BaseException) -> tuple[Code, ...]:
    """The codes of an error, of its causes and of every error in a group, each once, sorted."""
    return tuple(sorted({_CODES[kind] for one in _whole(error) for kind in _CODES if isinstance(one, kind)}))


def _whole(error: BaseException) -> Iterator[BaseException]:
    yield error
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _whole(inner)
    if error.__cause__ is not None:
        yield from _whole(error.__cause__)
