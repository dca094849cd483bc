"""Lab nodes for tests: real systemd, sshd and containerd, two for a test run (for each of its workers).

A node outlives a test; a test that leaves one changed asks for a lab of its own by ``make_lab``. Without podman these
tests fail with the command that installs it: nothing here skips.
"""

from __future__ import annotations

import os
import secrets
from contextlib import ExitStack
from pathlib import Path

import pytest

from orchestrator.lab import Lab
from orchestrator.lab.removal import down


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies here; a hook of this file is called with the items of all folders."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.node)


def _name() -> str:
    # Unique for each run and worker: two checkouts can test at once, and an interrupted run is in nobody's way.
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    return f"test-{secrets.token_hex(3)}-{worker}"


@pytest.fixture(scope="session")
def lab():
    """Two nodes that the tests of this worker share."""
    name = _name()
    with ExitStack() as stack:
        stack.callback(down, name)
        yield Lab.up(name, nodes=2)


@pytest.fixture
def node(lab):
    """The first of the shared nodes."""
    return lab.nodes[0]


@pytest.fixture(scope="module")
def make_module_lab():
    """Make a lab for the tests of one file: ``make_module_lab(kinds=(…))``; it is removed after the last of them."""
    with ExitStack() as stack:

        def make(**options):
            name = _name()
            stack.callback(down, name)
            return Lab.up(name, **options)

        yield make


@pytest.fixture(scope="module")
def lab_of(lab):
    """The labs of a file by the kind of their nodes, made when first asked for: ``lab_of("debian12")``.

    They go with the file: a machine's inotify instances are enough for some sixteen nodes of all workers together.
    """
    with ExitStack() as stack:
        labs = {"debian13": lab}

        def find(kind):
            if kind not in labs:
                name = _name()
                stack.callback(down, name)
                labs[kind] = Lab.up(name, nodes=1, kind=kind)
            return labs[kind]

        yield find


@pytest.fixture
def make_lab():
    """Make a lab for one test: ``make_lab(nodes=1)``; it is removed at the test's end."""
    with ExitStack() as stack:

        def make(nodes: int = 1, **options):
            name = _name()
            stack.callback(down, name)
            return Lab.up(name, nodes=nodes, **options)

        yield make
