"""What holds for every test: a machine under load is slow, which is no failure of a property."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import pytest

LONGEST = (
    "lab_nodes",
    "h_nodes",
    "h_ssh",
    "i_packaging",
    "lab_cluster",
    "reflector",
    "g_process",
    "e_delete",
    "b_reconcile",
    "h_inventory",
)
"""Of the files in ``cluster`` and ``contract``, of which each worker takes whole ones: the last one shall be short."""

settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# `make exhaustive` asks for it. The option is heard after this file and before any test module is read.
settings.register_profile("exhaustive", settings.get_profile("any-machine"), max_examples=1000)
settings.load_profile("any-machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first."""
    order = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))
