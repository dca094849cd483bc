"""Lets the tests of this folder import what lies beside them, and gives them a clock."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode finds no sibling modules by itself

from manual_clock import Clock


@pytest.fixture
def clock():
    return Clock()
