"""Rules of the small parts: differences, content, environment, inputs."""

from __future__ import annotations

import configparser
import tempfile
from pathlib import Path

import pytest

from orchestrator.errors import InvalidInputError, MissingComponentError
from orchestrator.execution import content, difference, environment, inputs, runner


def test_a_difference_is_unified_and_named():
    diff = {"before": "a\nb\n", "after": "a\nc\n", "before_header": "old", "after_header": "/etc/x"}

    assert difference.unified(diff) == "--- old\n+++ /etc/x\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n"
    assert difference.unified(diff) * 2 == difference.unified([diff, diff])


def test_a_prepared_difference_is_shown_as_it_is():
    assert difference.unified({"prepared": "what"}) == "what\n"


@pytest.mark.parametrize("nothing", [None, [], {}, {"before": None, "after": None}, {"before": "a", "after": "a"}])
def test_no_difference_is_no_text(nothing):
    assert not difference.unified(nothing)


def test_values_other_than_text_are_compared_as_json():
    assert '-  "mode": "0644"\n+  "mode": "0600"' in difference.unified(
        {"before": {"mode": "0644"}, "after": {"mode": "0600"}}
    )


def test_an_installation_without_playbooks_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(content, "__file__", str(tmp_path / "orchestrator" / "execution" / "content.py"))
    with pytest.raises(MissingComponentError, match="playbooks of gvisor-nodes are missing"):
        content.locate()


def test_the_content_inside_an_installation_wins(tmp_path, monkeypatch):
    for root in (tmp_path, tmp_path / "orchestrator" / "_ansible"):
        (root / "playbooks").mkdir(parents=True)
        (root / "ansible.cfg").touch()
    monkeypatch.setattr(content, "__file__", str(tmp_path / "orchestrator" / "execution" / "content.py"))

    assert tmp_path / "orchestrator" / "_ansible" == content.locate().root


def test_the_environment_holds_only_what_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/agent")
    variables = environment.for_child(tmp_path)

    assert "SECRET_TOKEN" not in variables
    assert variables["SSH_AUTH_SOCK"] == "/agent"
    assert variables["PATH"].startswith(str(Path(environment.sys.executable).parent))


def test_the_run_directory_leaves_room_for_control_sockets(monkeypatch, tmp_path):
    (tmp_path / ("d" * 100)).mkdir()
    monkeypatch.setattr(runner, "_TMPFS", tmp_path / "none")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("d" * 100)))

    assert len(str(runner._private_parent())) <= 40


def test_a_name_that_is_no_variable_is_refused():
    with pytest.raises(InvalidInputError, match="not a variable name"):
        inputs.extra_vars({"a-b": 1})


def test_a_value_that_is_no_json_is_refused():
    with pytest.raises(InvalidInputError, match="value of type object"):
        inputs.extra_vars({"a": object()})


def test_strings_are_marked_unsafe_and_paths_become_strings():
    assert inputs.extra_vars({"a": {"k": ["x", 1]}, "p": Path("/x")}) == {
        "a": {"k": [{"__ansible_unsafe": "x"}, 1]},
        "p": {"__ansible_unsafe": "/x"},
    }


def test_a_host_list_with_a_template_is_refused():
    with pytest.raises(InvalidInputError, match="template"):
        inputs.inventory_sources("a,{{ b }}")


def test_several_sources_stay_in_order(tmp_path):
    (tmp_path / "a").touch()

    assert ["x,y", str(tmp_path / "a")] == inputs.inventory_sources(["x,y", tmp_path / "a"])


def test_the_configuration_has_no_setting_twice_and_gathers_nothing():
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.read_string(content.locate().config.read_text())

    assert parser["defaults"]["gathering"] == "explicit"
    assert parser["defaults"]["host_key_checking"] == "True"
    assert parser["inventory"]["any_unparsed_is_failed"] == "True"
