"""The desired state: raw variables in, one pure value with a fingerprint out; bad values stop everything first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import InvalidInputError
from orchestrator.planning.desired import DEFAULTS, read_variables, refuse_templates

RELEASE = "20260817.0"


def desired(**variables):
    return read_variables(variables, RELEASE)[0]


def test_no_variables_give_the_documented_defaults():
    state, settings = read_variables({}, RELEASE)

    assert RELEASE == state.release
    assert "/opt/gvisor-nodes" == state.directory
    assert "/opt/gvisor-nodes/containerd-shim-runsc-v1" == state.shim
    assert "/opt/gvisor-nodes/runsc.toml" == state.config_path
    assert () == state.flags
    assert (300, 180, 180, 60, 60) == (
        settings.lock_timeout,
        settings.lock_ttl,
        settings.rollback_seconds,
        settings.restart_timeout,
        settings.proof_timeout,
    )


@pytest.mark.feature("F7")
def test_debug_gives_the_documented_log_path():
    assert ("--debug-log=/var/log/runsc/%ID%/%COMMAND%-gvisor.log", "--debug=true") == tuple(
        sorted(desired(runsc_flags={"debug": "true"}).flags)
    )


@pytest.mark.feature("F6")
@given(st.permutations([("debug", "true"), ("net-raw", "true"), ("nvproxy", "true"), ("panic-signal", "6")]))
def test_the_order_of_flags_changes_no_byte(order):
    one = desired(runsc_flags=dict(order))
    other = desired(runsc_flags=dict(sorted(order)))

    assert one == other
    assert one.fingerprint == other.fingerprint
    assert one.flags_file == other.flags_file


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("runsc_release", "20260224.0"),
        ("runsc_flags", {"debug": "true"}),
        ("runsc_directory", "/var/bin/containerruntimes"),
        ("containerd_handler", "gvisor"),
        ("containerd_service", "k3s"),
        ("debug_logs_directory", "/srv/logs/runsc"),
        ("debug_logs_mode", "0750"),
        ("debug_logs_group", "adm"),
        ("debug_logs_max_age", 1),
        ("debug_logs_max_size", 10),
        ("debug_logs_min_free", 10),
        ("debug_logs_interval", 1),
        ("node_state_directory", "/srv/gvisor-nodes"),
    ],
)
def test_whatever_decides_what_is_on_the_node_is_in_the_fingerprint(name, value):
    assert desired().fingerprint != desired(**{name: value}).fingerprint


@pytest.mark.parametrize("name", ["node_lock_timeout", "proof_timeout", "containerd_rollback_seconds"])
def test_how_a_run_behaves_is_no_part_of_the_fingerprint(name):
    assert desired().fingerprint == desired(**{name: 77}).fingerprint


def test_other_variables_are_not_looked_at():
    assert desired() == desired(ansible_user="{{ vault }}", other="{% x %}")


@pytest.mark.feature("F5")
@pytest.mark.parametrize(
    ("variables", "what"),
    [
        ({"runsc_flags": {"degub": "true"}}, "degub"),
        ({"runsc_flags": {"debug": "perhaps"}}, "debug"),
        ({"runsc_flags": {"debug": ["true"]}}, "debug"),
        ({"runsc_flags": ["debug"]}, "runsc_flags is not a mapping"),
        ({"runsc_flags": "debug=true"}, "runsc_flags is not a mapping"),
        ({"runsc_flags": {"debug": "{{ lookup('pipe', 'id') }}"}}, "runsc_flags.debug holds a template"),
        ({"runsc_flags": {"{{ x }}": "true"}}, "holds a template"),
        ({"runsc_flags": {"debug": "true; rm -rf /"}}, "debug"),
        ({"runsc_flags": {"debug": '"\n[plugins]'}}, "debug"),
        ({"runsc_release": "latest"}, "runsc_release is not a release"),
        ({"runsc_release": "../../etc"}, "runsc_release is not a release"),
        ({"runsc_release": ["20260817.0"]}, "runsc_release is not a release"),
        ({"runsc_directory": "opt"}, "runsc_directory is not an absolute path"),
        ({"runsc_directory": "/opt/$(id)"}, "runsc_directory is not an absolute path"),
        ({"runsc_directory": "/opt/../etc"}, "runsc_directory is not a plain path"),
        ({"runsc_directory": "/opt/a b"}, "runsc_directory is not an absolute path"),
        ({"runsc_directory": "/opt"}, "runsc_directory is a top-level directory"),
        ({"node_state_directory": "/"}, "node_state_directory is a top-level directory"),
        ({"debug_logs_directory": "/var/log/%ID%"}, "debug_logs_directory is not an absolute path"),
        ({"debug_logs_mode": "rwx"}, "debug_logs_mode is not an octal mode"),
        ({"debug_logs_mode": "0775"}, "debug_logs_mode is not an octal mode that only the owner can write"),
        ({"debug_logs_mode": "1777"}, "debug_logs_mode is not an octal mode"),
        ({"debug_logs_group": "a:b"}, "debug_logs_group is not the name or number"),
        ({"debug_logs_group": 4}, "debug_logs_group is not the name or number"),
        ({"debug_logs_max_size": 0}, "debug_logs_max_size is not a number"),
        ({"debug_logs_max_age": "1; reboot"}, "debug_logs_max_age is not a number"),
        ({"debug_logs_interval": 1441}, "debug_logs_interval is not a number"),
        ({"debug_logs_directory": "/var/log/a+b", "runsc_flags": {"debug": "true"}}, "cannot be the directory"),
        ({"containerd_handler": "Run SC"}, "containerd_handler is not a handler name"),
        ({"containerd_handler": "runc"}, "containerd_handler is runc"),
        ({"containerd_service": "x; reboot"}, "containerd_service is not a systemd unit"),
        ({"proof_timeout": 0}, "proof_timeout is not a number from 1 to 600"),
        ({"proof_timeout": "soon"}, "proof_timeout is not a number"),
        ({"proof_timeout": True}, "proof_timeout is not a number"),
        ({"runsc_releases_files": "/x"}, "runsc_releases_files is not a list"),
        ({"runsc_releases_files": ["{{ x }}"]}, "runsc_releases_files holds a template"),
    ],
)
def test_a_bad_value_is_an_error_that_names_it_before_anything_changes(variables, what):
    with pytest.raises(InvalidInputError) as raised:
        desired(**variables)

    assert what in raised.value.what
    assert 2 == raised.value.exit_code


@given(st.text(max_size=30))
def test_no_text_gets_into_a_path_that_a_shell_or_toml_would_read_otherwise(text):
    try:
        state = desired(runsc_directory=f"/opt/{text}")
    except InvalidInputError:
        return

    assert not set("\"'\\$`;&|<>(){}[]*?!# \t\n\r\0") & set(state.directory)


def test_a_release_that_yaml_read_as_a_number_is_understood():
    assert "20260817.0" == desired(runsc_release=20260817.0).release


def test_a_number_may_come_as_text_and_a_mode_without_its_zero():
    assert 90 == read_variables({"proof_timeout": "90"}, RELEASE)[1].proof_timeout
    assert "0750" == desired(debug_logs_mode="750").debug_logs_mode


def test_templates_are_found_however_deep_they_are():
    with pytest.raises(InvalidInputError, match=r"a\.b\.c holds a template"):
        refuse_templates("a", {"b": [{"c": "{# x #}"}]})

    refuse_templates("a", {"b": [1, None, {"c": "{ not one }"}]})


def test_every_variable_has_a_default_that_is_valid_itself():
    assert read_variables(dict(DEFAULTS), RELEASE)
