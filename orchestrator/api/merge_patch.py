"""JSON merge patches (RFC 7386), the one form in which this product changes objects of others.

A patch names what it changes and nothing else: null removes a field, an array is replaced as a whole. Objects of an
API server hold no nulls, so nothing that they can say is out of a patch's reach.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

type Patch = dict[str, Any]


def merge(document: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document with the patch applied; neither is changed.

    Source: RFC 7386, section 2.
    """
    merged = dict(document)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping):
            before = merged.get(key)
            merged[key] = merge(before if isinstance(before, Mapping) else {}, value)
        else:
            merged[key] = value
    return merged


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> Patch:
    """Return the smallest patch that makes ``after`` of ``before``; empty if they are equal.

    Args:
        before: as it is.
        after: as it shall be, without nulls that ``before`` does not have.
    """
    patch: Patch = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if old == value:
            continue
        patch[key] = difference(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return patch
