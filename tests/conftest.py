"""What holds for every test: a machine under load is slow, which is no failure of a property."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import pytest

LONGEST = (
    "h_nodes",
    "lab_nodes",
    "h_status",
    "h_ssh",
    "g_process",
    "lab_cluster",
    "i_packaging",
    "b_reconcile",
    "reflector",
    # the unit tests that start the most
    "runner",
    "commands",
    "gobuild",
    "job_command",
    "release_bucket",
    "log_retention",
    "packaging",
    "interrupt",
    "program",
)
"""Files of every folder but ``nodes``. A worker takes a whole one at a time: the last one shall be short."""

# Every run draws other examples, so few a run are many in the end.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
# `make exhaustive` asks for it. The option is heard after this file and before any test module is read.
settings.register_profile("exhaustive", settings.get_profile("any-machine"), max_examples=1000)
settings.load_profile("any-machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first."""
    order = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))
