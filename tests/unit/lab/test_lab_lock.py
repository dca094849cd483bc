import subprocess
import sys
import threading

import pytest

from orchestrator.errors import RefusedError
from orchestrator.lab.lock import held

HOLD = """
import sys
from pathlib import Path
from orchestrator.lab.lock import held
with held(Path(sys.argv[1]), what="x", timeout=5):
    print("held", flush=True)
    sys.stdin.read()
    if sys.argv[2] == "remove":
        Path(sys.argv[1]).unlink()
"""


@pytest.fixture
def holder(tmp_path):
    def start(at_the_end="keep"):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path / "lock"), at_the_end],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    started = []
    yield start
    for process in started:
        with process:  # closes its pipes and waits
            pass


def test_a_second_process_is_refused_after_the_deadline_and_told_who_holds_it(tmp_path, holder):
    holder()
    told = []

    with (
        pytest.raises(RefusedError) as caught,
        held(tmp_path / "lock", what="building", timeout=0.3, progress=told.append),
    ):
        pass

    assert told == ["waiting for another process: building"]
    assert str(tmp_path / "lock") in caught.value.why


def test_a_second_process_goes_on_when_the_first_ends(tmp_path, holder):
    process = holder()
    threading.Timer(0.2, process.stdin.close).start()

    with held(tmp_path / "lock", what="building", timeout=20):
        assert process.wait() == 0


def test_a_lock_file_that_its_holder_removed_locks_nobody_out(tmp_path, holder):
    process = holder("remove")
    threading.Timer(0.2, process.stdin.close).start()

    with held(tmp_path / "lock", what="building", timeout=20):
        assert (tmp_path / "lock").exists()


def test_a_lock_dies_with_its_holder(tmp_path, holder):
    process = holder()
    process.kill()

    with held(tmp_path / "lock", what="building", timeout=20):
        pass
