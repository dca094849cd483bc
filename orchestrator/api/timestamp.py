"""Moments as the API writes them."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(moment: datetime) -> str:
    """Return an aware moment in UTC with the precision of a second, which is what Kubernetes' ``Time`` has.

    The part of a second is cut off, not rounded: a time in the future would make gardenlet wait for it.
    """
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
