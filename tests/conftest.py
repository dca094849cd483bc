"""What holds for every test: a machine under load is slow, which is no failure of a property."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

TESTS = Path(__file__).parent
LONGEST = (
    "e2e/test_demo_cluster.py",
    "nodes/test_generations.py",
    "nodes/test_apply.py",
    "nodes/test_debug_logs.py",
    "nodes/test_switch.py",
    "cluster/test_lab_nodes.py",
    "contract/test_h_nodes.py",
    "nodes/test_bad_input.py",
    "nodes/test_containerd_versions.py",
    "nodes/test_trace.py",
    "nodes/test_cri.py",
    "nodes/test_host_root.py",
    "contract/test_h_ssh.py",
    "nodes/test_job.py",
    "contract/test_i_packaging.py",
    "cluster/test_lab_cluster.py",
    "cluster/test_reflector.py",
    "contract/test_g_process.py",
    "contract/test_e_delete.py",
    "contract/test_b_reconcile.py",
    "contract/test_h_inventory.py",
    # The unit tests that start the most.
    "unit/execution/test_runner.py",
    "unit/cli/test_commands.py",
    "unit/gvisor_artifacts/test_gobuild.py",
    "unit/cli/test_job_command.py",
    "unit/gvisor_artifacts/test_release_bucket.py",
    "unit/gvisor/test_log_retention.py",
    "unit/test_packaging.py",
    "unit/execution/test_interrupt.py",
    "unit/cri/test_program.py",
)
"""Long files, the longest first. A worker takes a whole file at a time: the last one shall be short."""

# Every run draws other examples, so few a run are many in the end.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
# `make exhaustive` asks for it. The option is heard after this file and before any test module is read.
settings.register_profile("exhaustive", settings.get_profile("any-machine"), max_examples=1000)
settings.load_profile("any-machine")


OWN_SERVERS = ("test_lab_cluster.py", "test_lab_nodes.py", "test_h_nodes.py", "test_h_ssh.py")
"""Files of the folders ``cluster`` and ``contract`` that start API servers for themselves."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """A worker takes a file at a time, and a folder whose files share API servers: two processor seconds a minute each."""
    folder = item.path.parent.name
    shares = folder in ("cluster", "contract") and item.path.name not in OWN_SERVERS
    item.add_marker(pytest.mark.xdist_group(folder if shares else str(item.path.relative_to(TESTS))))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first."""
    order = {TESTS / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))
