"""Flags: what people write, what reaches a node, and what never does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import InvalidInputError
from orchestrator.gvisor.flags import KNOWN_FLAGS, Flag, parse_flags, render

HOSTILE = [
    "{{ lookup('pipe', 'id') }}",
    "{% if true %}",
    "{# x #}",
    "$(reboot)",
    "`reboot`",
    "true; reboot",
    "true && reboot",
    "true|cat",
    "true>x",
    "true\n--network=host",
    "true\x00",
    "true\r",
    "true\t",
    "true false",
    'true"',
    "true'",
    '"""true"""',
    "tr\\ue",
    "*",
    "~",
    "true # comment",
    "${HOME}",
]


@pytest.mark.feature("F2")
@pytest.mark.parametrize("name", ["debug", "net-raw", "nvproxy"])
@pytest.mark.parametrize(
    ("value", "expected"),
    [("true", "true"), ("false", "false"), (True, "true"), (False, "false")],
)
def test_booleans_are_yamls_own_or_the_words_that_runsc_takes(name, value, expected):
    assert (Flag(name, expected),) == parse_flags({name: value})


@pytest.mark.feature("F2")
@pytest.mark.parametrize(
    ("value", "expected"), [(6, "6"), ("6", "6"), (-1, "-1"), ("-1", "-1"), (64, "64"), ("1", "1")]
)
def test_a_signal_is_a_number_or_its_text(value, expected):
    assert (Flag("panic-signal", expected),) == parse_flags({"panic-signal": value})


@pytest.mark.feature("F2")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("debug", 1),
        ("debug", 0),
        ("debug", "True"),
        ("debug", "yes"),
        ("debug", "1"),
        ("debug", ""),
        ("debug", None),
        ("debug", ["true"]),
        ("debug", {"true": 1}),
        ("net-raw", 1.0),
        ("panic-signal", True),
        ("panic-signal", "SIGABRT"),
        ("panic-signal", 0),
        ("panic-signal", 65),
        ("panic-signal", "-2"),
        ("panic-signal", "06"),
        ("panic-signal", "٦"),
        ("panic-signal", 6.0),
        ("panic-signal", ""),
    ],
)
def test_a_value_of_another_kind_is_refused_with_what_the_flag_takes(name, value):
    with pytest.raises(InvalidInputError) as caught:
        parse_flags({"nvproxy": "true", name: value})

    assert f"flag {name} takes {KNOWN_FLAGS[name].kind}" == caught.value.what
    assert "nothing was changed" in caught.value.remedy


@pytest.mark.feature("F2")
@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("name", sorted(KNOWN_FLAGS))
def test_a_value_that_means_something_to_a_shell_a_template_or_toml_is_refused(name, value):
    with pytest.raises(InvalidInputError) as caught:
        parse_flags({name: value})

    assert f"the value of flag {name} is not a plain word" == caught.value.what
    assert "nothing was changed" in caught.value.remedy


@pytest.mark.feature("F5")
@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("debgu", "debug"),
        ("net_raw", "net-raw"),
        ("netraw", "net-raw"),
        ("--debug", "debug"),
        ("nv-proxy", "nvproxy"),
        ("PANIC_SIGNAL", "panic-signal"),
    ],
)
def test_an_unknown_flag_is_refused_with_the_nearest_and_all_that_are_known(name, near):
    with pytest.raises(InvalidInputError) as caught:
        parse_flags({name: "true"})

    assert caught.value.why == "known are debug, net-raw, nvproxy, panic-signal"
    assert f"did you mean {near}?" in caught.value.remedy
    assert "nothing was changed" in caught.value.remedy


@pytest.mark.feature("F5")
@pytest.mark.parametrize("name", ["network", "debug\n", "debug=true --network", "{{ x }}", "", "\x00", 5, None])
def test_a_name_is_matched_as_a_whole(name):
    with pytest.raises(InvalidInputError, match="is unknown"):
        parse_flags({name: "true"})


@pytest.mark.feature("F6")
def test_the_order_of_the_input_does_not_show_in_the_output():
    one = parse_flags({"net-raw": "true", "debug": True, "panic-signal": 6})
    other = parse_flags({"panic-signal": "6", "net-raw": True, "debug": "true"})

    assert render(one, "/var/log/runsc") == render(other, "/var/log/runsc")


@pytest.mark.feature("F7")
def test_debug_brings_its_log_path_and_the_lines_are_sorted():
    lines = render(parse_flags({"net-raw": "true", "debug": "true"}), "/var/log/runsc/")

    assert lines == (
        "--debug-log=/var/log/runsc/%ID%/%COMMAND%-gvisor.log",
        "--debug=true",
        "--net-raw=true",
    )


def test_no_log_path_without_debug_and_no_lines_without_flags():
    assert render(parse_flags({"nvproxy": True, "debug": False}), "/var/log/runsc") == (
        "--debug=false",
        "--nvproxy=true",
    )
    assert render(parse_flags({}), "/var/log/runsc") == ()


@pytest.mark.parametrize(
    "directory", ["logs", "", "/", "/var/log/$(id)", "/var/log/../etc", "/a b", "/a\n", "/{{ x }}"]
)
def test_a_log_directory_that_is_no_plain_path_is_refused(directory):
    with pytest.raises(InvalidInputError, match="directory for debug logs"):
        render(parse_flags({"debug": "true"}), directory)


@given(st.dictionaries(st.one_of(st.text(), st.sampled_from(sorted(KNOWN_FLAGS))), st.one_of(st.text(), st.booleans())))
def test_whatever_is_accepted_is_one_plain_line(values):
    try:
        flags = parse_flags(values)
    except InvalidInputError:
        return
    for line in render(flags, "/var/log/runsc"):
        assert set(line) <= set("abcdefghijklmnopqrstuvwxyz0123456789-=/%_.ABCDEFGHIJKLMNOPQRSTUVWXYZ")
