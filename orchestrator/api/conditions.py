"""What an object's status says of how things are and how the last operation went.

Source: gardener/gardener v1.149.3, ``pkg/apis/core/v1beta1/types_common.go``.
"""

from __future__ import annotations

from enum import StrEnum

from orchestrator.api.view import Items, View


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

    def is_(self, operation: OperationType, state: OperationState) -> bool:
        """Whether this kind of operation came this far."""
        return self.type == operation and self.state == state


class Condition(View):
    """One condition; times as texts of RFC 3339."""

    type: str
    status: str = "Unknown"
    reason: str = ""
    message: str = ""
    last_transition_time: str = ""
    last_update_time: str = ""
    codes: Items[str] = ()
