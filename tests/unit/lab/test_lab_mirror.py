import pytest

from orchestrator.errors import MissingComponentError
from orchestrator.lab.mirror import VARIABLE, debian_mirror


@pytest.fixture(autouse=True)
def no_override(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


def test_a_deb822_source_is_read_whatever_its_order_and_comments(tmp_path):
    text = "# Types: x\nSuites: a\nURIs:\n  http://one.test/debian\n# x\n  http://two.test/debian\nTypes: deb-src deb\n"
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/debian.sources").write_text(text)

    assert debian_mirror(tmp_path) == "http://one.test/debian"


def test_a_one_line_source_with_options_is_read(tmp_path):
    (tmp_path / "sources.list").write_text(
        "# deb http://no.test/debian x main\ndeb [signed-by=/k arch=amd64] https://yes.test/debian trixie main\n"
    )

    assert debian_mirror(tmp_path) == "https://yes.test/debian"


def test_security_archives_other_vendors_and_disabled_or_source_stanzas_are_no_mirror(tmp_path):
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list").write_text(
        "deb http://a.test/debian-security trixie main\ndeb-src http://b.test/debian x y\n"
    )
    (tmp_path / "sources.list.d/a.sources").write_text("Types: deb\nEnabled: no\nURIs: http://c.test/debian\n")
    (tmp_path / "sources.list.d/b.sources").write_text("Types: deb-src\nURIs: http://d.test/debian\n")
    (tmp_path / "sources.list.d/c.list.disabled").write_text("deb http://e.test/debian trixie main\n")
    (tmp_path / "sources.list.d/d.list").write_text(
        "deb http://f.test/vendor ./\ndeb http://g.test/debian/ trixie main\n"
    )

    assert debian_mirror(tmp_path) == "http://g.test/debian/"


def test_without_a_mirror_the_error_names_the_variable(tmp_path):
    with pytest.raises(MissingComponentError) as caught:
        debian_mirror(tmp_path)

    assert VARIABLE in caught.value.remedy


def test_the_variable_wins_over_apt(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "http://mine.test/debian")

    assert debian_mirror(tmp_path) == "http://mine.test/debian"
