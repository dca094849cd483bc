import pytest

from orchestrator.lab.kept import is_kept, keep


def put(name, text):
    return lambda _, output: (output / name).write_text(text)


def test_what_was_built_is_kept_under_its_key_and_nothing_else(tmp_path):
    target = tmp_path / "1.0" / "x86_64"

    keep(target, "key", put("program", "one"))

    assert is_kept(target, "key", ["program"])
    assert not is_kept(target, "other", ["program"])
    assert not is_kept(target, "key", ["program", "another"])


def test_a_second_build_takes_the_place_of_the_first(tmp_path):
    target = tmp_path / "x86_64"
    keep(target, "old", put("old", "one"))

    keep(target, "new", put("new", "two"))

    assert [path.name for path in target.iterdir()] == ["new"]
    assert is_kept(target, "new", ["new"])
    assert not is_kept(target, "old", ["old"])


def test_a_build_that_fails_leaves_what_was_there_and_nothing_beside_it(tmp_path):
    target = tmp_path / "x86_64"
    keep(target, "old", put("program", "one"))

    def fail(work, output):
        (output / "program").write_text("half")
        (work / "scratch").touch()
        raise ValueError("compiler")

    with pytest.raises(ValueError, match="compiler"):
        keep(target, "new", fail)

    assert is_kept(target, "old", ["program"])
    assert (target / "program").read_text() == "one"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x86_64", "x86_64.key"]
