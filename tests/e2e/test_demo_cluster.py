"""From the object to the node and back, as `make demo-cluster` shows it: with the chart, the image and real kubelets.

Its claims are the test; what it prints is in the failure.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "scripts" / "demo-cluster"


@pytest.mark.timeout(900)
@pytest.mark.parametrize("mode", ["standalone", "gardener"])
def test_every_claim_holds_from_the_object_to_the_node_and_back(mode):
    ended = subprocess.run([sys.executable, DEMO, "--mode", mode], capture_output=True, text=True, check=False)

    assert 0 == ended.returncode, ended.stdout + ended.stderr
    assert "✗" not in ended.stdout
