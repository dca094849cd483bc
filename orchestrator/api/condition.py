"""One condition of an object's status.

Source: gardener/gardener v1.149.3, ``pkg/apis/core/v1beta1/types_common.go``.
"""

from __future__ import annotations

from orchestrator.api.view import View


class Condition(View):
    """How one thing is. Whoever changes conditions works on the raw ones, which may say more."""

    type: str
    status: str = "Unknown"
    reason: str = ""
    message: str = ""
