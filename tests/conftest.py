"""What holds for every test: a machine under load is slow, which is no failure of a property."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    import pytest
    from xdist.remote import Producer

TESTS = Path(__file__).parent
sys.path.insert(0, str(TESTS))  # importlib mode finds no modules by itself
LONGEST = (
    "contract",
    "nodes/test_generations.py",
    "e2e/test_demo_cluster.py",
    "nodes/test_apply.py",
    "nodes/test_debug_logs.py",
    "nodes/test_switch.py",
    "cluster/test_lab_nodes.py",
    "nodes/test_bad_input.py",
    "nodes/test_containerd_versions.py",
    "nodes/test_trace.py",
    "nodes/test_cri.py",
    "nodes/test_host_root.py",
    "nodes/test_job.py",
    "cluster/test_lab_cluster.py",
    "cluster",
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
"""What takes long, the longest first: the last one shall be short."""
OWN_SERVERS = ("test_lab_cluster.py", "test_lab_nodes.py")
"""Files of the folders ``cluster`` and ``contract`` that start API servers for themselves."""

# Every run draws other examples, so few a run are many in the end.
settings.register_profile("any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
# `make exhaustive` asks for it. The option is heard after this file and before any test module is read.
settings.register_profile("exhaustive", settings.get_profile("any-machine"), max_examples=1000)
settings.load_profile("any-machine")


def together(path: Path) -> str:
    """What a worker takes in one piece: a file, or a folder whose files share API servers, whose start takes seconds."""
    shares = path.parent.name in ("cluster", "contract") and path.name not in OWN_SERVERS
    return path.parent.name if shares else str(path.relative_to(TESTS))


class Pieces(LoadScopeScheduling):
    """Gives a worker one piece after the other."""

    def _split_scope(self, nodeid: str) -> str:
        return together(TESTS.parent / nodeid.partition("::")[0])


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Pieces:
    """Workers are given their tests by this; xdist's own groups are names at the end of node ids, which pytest 9.2 drops."""
    return Pieces(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest pieces first."""
    order = {piece: place for place, piece in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(together(item.path), len(order)))
