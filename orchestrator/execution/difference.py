"""Ansible's ``diff`` of a task result as one unified diff. Pure."""

from __future__ import annotations

import difflib
import json
from typing import Any


def unified(diff: Any) -> str:
    """Return ``diff`` as text, empty if there is nothing to show.

    Args:
        diff: one object or a list of them, with ``before``, ``after`` (texts or JSON values), ``before_header``,
            ``after_header``, or with ``prepared``, a text that is shown as it is.
    """
    if not diff:
        return ""
    return "".join(_one(part) for part in (diff if isinstance(diff, list) else [diff]) if isinstance(part, dict))


def _one(part: dict[str, Any]) -> str:
    if part.get("prepared"):
        return str(part["prepared"]).rstrip("\n") + "\n"
    before, after = _text(part.get("before")), _text(part.get("after"))
    names = str(part.get("before_header") or "before"), str(part.get("after_header") or "after")
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), *names, lineterm="")
    return "".join(f"{line}\n" for line in lines)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, indent=2, sort_keys=True)
