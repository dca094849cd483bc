"""How the last operation on an object went, as its status says.

Source: gardener/gardener v1.149.3, ``pkg/apis/core/v1beta1/types_common.go``.
"""

from __future__ import annotations

from enum import StrEnum

from orchestrator.api.view import View


class OperationType(StrEnum):
    """What was tried last."""

    CREATE = "Create"
    RECONCILE = "Reconcile"
    DELETE = "Delete"
    MIGRATE = "Migrate"
    RESTORE = "Restore"


class OperationState(StrEnum):
    """How far it came. Extensions write the first three only."""

    PROCESSING = "Processing"
    SUCCEEDED = "Succeeded"
    ERROR = "Error"
    FAILED = "Failed"


class LastOperation(View):
    """The last operation; type and state as texts, because others may write words that are newer than this product."""

    type: str = ""
    state: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether it came to its end."""
        return self.state == OperationState.SUCCEEDED
