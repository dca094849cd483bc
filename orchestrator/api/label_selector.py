"""Kubernetes' label selector: which objects it picks.

Source: ``k8s.io/apimachinery``, ``pkg/apis/meta/v1/types.go`` and ``helpers.go``; an empty selector picks everything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from orchestrator.api.view import Items, View


class Requirement(View):
    """One expression about one label."""

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: Items[str] = ()

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether it is true of these labels."""
        if self.operator == "Exists":
            return self.key in labels
        if self.operator == "DoesNotExist":
            return self.key not in labels
        return (labels.get(self.key) in self.values) is (self.operator == "In")


class LabelSelector(View):
    """All of these labels, and all of these expressions."""

    match_labels: Mapping[str, str] = Field(default_factory=dict)
    match_expressions: Items[Requirement] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is picked."""
        return self.match_labels.items() <= labels.items() and all(one.holds(labels) for one in self.match_expressions)
