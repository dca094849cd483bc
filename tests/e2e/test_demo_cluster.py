"""From the object to the node and back, as `make demo-cluster` shows it: with the chart, the image and real kubelets.

Its claims are the test; what it prints is in the failure.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "scripts" / "demo-cluster"
CLAIMS = ("✓ the node is proved", "✓ it is proved", "✓ and the old one is still gVisor", "✓ no Job is left")
"""The last one of each stage that makes any: in each mode all stages were gone through."""


@pytest.mark.feature("D8")
@pytest.mark.feature("J3")
@pytest.mark.feature("J11")
@pytest.mark.timeout(1800)
def test_every_claim_holds_from_the_object_to_the_node_and_back_in_both_modes_one_after_the_other():
    ended = subprocess.run([sys.executable, DEMO, "--mode", "both"], capture_output=True, text=True, check=False)

    assert 0 == ended.returncode, ended.stdout + ended.stderr
    assert "✗" not in ended.stdout
    for claim in CLAIMS:
        assert 2 == ended.stdout.count(claim), f"{claim}\n{ended.stdout}"
