from pathlib import Path

import pytest

from orchestrator.errors import InvalidInputError
from orchestrator.lab import paths


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a/b", "..", "a" * 41, "a b"])
def test_a_name_that_cannot_be_part_of_a_host_name_is_refused(name):
    with pytest.raises(InvalidInputError):
        paths.lab_directory(name)


def test_state_and_cache_follow_the_xdg_variables(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c"))

    assert tmp_path / "s/gvisor-nodes/labs/x" == paths.lab_directory("x")
    assert tmp_path / "c/gvisor-nodes/lab" == paths.cache_directory()


def test_a_relative_xdg_variable_is_ignored(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")

    assert Path.home() / ".cache/gvisor-nodes/lab" == paths.cache_directory()


def test_labs_are_the_directories_and_not_their_locks(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert paths.lab_names() == []

    paths.lab_directory("b").mkdir(parents=True)
    paths.lab_directory("a").mkdir()
    paths.lab_lock("c").touch()

    assert paths.lab_names() == ["a", "b"]


def test_a_replaced_file_has_its_mode_and_leaves_no_draft(tmp_path):
    paths.replace_file(tmp_path / "secret", "x", mode=0o600)
    paths.replace_file(tmp_path / "secret", "y", mode=0o600)

    assert [(p.name, p.stat().st_mode & 0o777, p.read_text()) for p in tmp_path.iterdir()] == [("secret", 0o600, "y")]
