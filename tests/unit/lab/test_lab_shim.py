import pytest

from orchestrator.lab.shim import _patch

MANAGER = """\
const (
	// oomScoreMaxKillable is the maximum score keeping the process killable by the oom killer
	oomScoreMax = -999
	other       = -9990
)
"""


def test_only_the_constant_is_changed(tmp_path):
    source = tmp_path / "manager.go"
    source.write_text(MANAGER)
    source.chmod(0o444)

    assert _patch(source) == 1
    assert MANAGER.replace("oomScoreMax = -999", "oomScoreMax = 0") == source.read_text()


@pytest.mark.parametrize("line", ["\toomScoreMaxKillable = -999\n", "oomScoreMax=-999\n"])
def test_the_older_names_are_known(tmp_path, line):
    source = tmp_path / "service.go"
    source.write_text(line)

    assert _patch(source) == 1
    assert source.read_text().rstrip().endswith("0")


def test_a_file_without_it_or_that_is_not_there_counts_as_none(tmp_path):
    (tmp_path / "a.go").write_text("package x\n")

    assert (_patch(tmp_path / "a.go"), _patch(tmp_path / "b.go")) == (0, 0)
