import sys

import pytest

from orchestrator.errors import GvisorNodesError, MissingComponentError
from orchestrator.lab.engine import VARIABLE, find_engine
from orchestrator.lab.program import call, require


def test_a_failure_tells_what_was_tried_and_the_last_lines_it_said():
    code = "import sys; sys.stderr.write('first\\n' * 50 + 'last\\n'); sys.exit(3)"

    with pytest.raises(GvisorNodesError) as caught:
        call([sys.executable, "-c", code], what="The thing did not work", remedy="do it")

    assert caught.value.what == "The thing did not work"
    assert "exited with 3" in caught.value.why
    assert caught.value.why.endswith("last")
    assert len(caught.value.why.splitlines()) <= 12


def test_a_program_that_does_not_end_is_an_error_with_the_deadline():
    with pytest.raises(GvisorNodesError, match=r"did not end within 0 s|did not end within 1 s"):
        call([sys.executable, "-c", "import time; time.sleep(60)"], what="x", timeout=0.5)


def test_a_failure_can_be_an_answer():
    assert call([sys.executable, "-c", "raise SystemExit(5)"], what="x", check=False).returncode == 5


def test_standard_input_is_empty_unless_given():
    code = "import sys; print(repr(sys.stdin.read()))"

    assert call([sys.executable, "-c", code], what="x").stdout == "''\n"
    assert call([sys.executable, "-c", code], what="x", stdin="a").stdout == "'a'\n"


def test_a_missing_program_is_an_error_that_names_the_command():
    with pytest.raises(MissingComponentError) as caught:
        require("no-such-program")
    assert "apt-get install" in caught.value.remedy

    with pytest.raises(MissingComponentError):
        call(["no-such-program"], what="x")


@pytest.mark.parametrize("wanted", ["", "podman", "docker"])
def test_a_missing_engine_is_an_error_that_names_the_command_and_never_a_skip(monkeypatch, tmp_path, wanted):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(VARIABLE, wanted)

    with pytest.raises(MissingComponentError) as caught:
        find_engine()

    assert "podman runc netavark" in caught.value.remedy
