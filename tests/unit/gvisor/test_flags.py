"""Flags: what people write, what reaches a node, and what never does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import InvalidInputError
from orchestrator.gvisor.flag_catalogue import FlagClass, known_flags
from orchestrator.gvisor.flag_policy import SPELLING_ONLY, read_policy
from orchestrator.gvisor.flags import Flag, Kind, judge, parse_flags, render

NEWEST = "20260905.0"
SETTABLE = [name for name, flag in known_flags().items() if flag.settable]
NEVER = [name for name, flag in known_flags().items() if not flag.settable]
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


def kinds(values, release=NEWEST, policy=None):
    judged = judge(values, release, read_policy(policy or {}))
    return [(verdict.name, verdict.kind) for verdict in judged]


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
        ("platform", "ptracee"),
        ("debug-log-format", "xml"),
        ("watchdog-action", "logwarning"),
        ("control-rpc-stop-timeout", 15),
        ("control-rpc-stop-timeout", "15"),
        ("control-rpc-stop-timeout", "-1s"),
        ("num-network-channels", 0),
        ("qdisc-tbf-burst", 4294967296),
        ("overlay2", "root"),
        ("overlay2", "root:disk"),
        ("overlay2", "all:dir=relative"),
        ("overlay2", "all:dir=/a/../b"),
        ("overlay2", "root:memory,size=0"),
        ("trace", "/var/log/%COMMAND%"),
        ("trace", "trace"),
        ("nvproxy-driver-version", 550.54),
    ],
)
def test_a_value_of_another_kind_is_refused_with_what_the_flag_takes(name, value):
    with pytest.raises(InvalidInputError) as caught:
        parse_flags({"allow-suid": "false", name: value}, NEWEST, SPELLING_ONLY)

    assert f"flag {name} takes {known_flags()[name].grammar.meaning}" == caught.value.what
    assert "nothing was changed" in caught.value.remedy


@pytest.mark.feature("F2")
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("control-rpc-stop-timeout", "90s", "1m30s"),
        ("control-rpc-stop-timeout", "1m30s", "1m30s"),
        ("control-rpc-stop-timeout", "1500ms", "1500ms"),
        ("control-rpc-stop-timeout", "0s", "0s"),
        ("debug-command", "start,create,start", "create,start"),
        ("nvproxy-allowed-driver-capabilities", "utility,compute", "compute,utility"),
        ("dcache", "1000", "1000"),
        ("overlay2", "all:dir=/var/tmp/x,size=2g", "all:dir=/var/tmp/x,size=2g"),
        ("EXPERIMENTAL-xdp", "redirect:eth0", "redirect:eth0"),
        ("gofer-network-namespace", "/run/netns/a", "/run/netns/a"),
        ("trace", "/var/log/%ID%/trace", "/var/log/%ID%/trace"),
    ],
)
def test_the_same_wish_has_the_same_bytes(name, value, expected):
    assert (Flag(name, expected),) == parse_flags({name: value}, NEWEST, SPELLING_ONLY)
    assert (Flag(name, expected),) == parse_flags({name: expected}, NEWEST, SPELLING_ONLY)


@pytest.mark.feature("F2")
@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_that_means_something_to_a_shell_a_template_or_toml_is_refused(value):
    verdicts = judge(dict.fromkeys(SETTABLE, value), "", SPELLING_ONLY)

    assert sorted(SETTABLE) == [verdict.name for verdict in verdicts]
    for verdict in verdicts:
        assert Kind.MALFORMED is verdict.kind
        assert f"the value of flag {verdict.name} is not a plain word" == verdict.what
        assert "nothing was changed" in verdict.remedy


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
def test_an_unknown_flag_is_refused_with_the_nearest_and_where_all_are(name, near):
    with pytest.raises(InvalidInputError) as caught:
        parse_flags({name: "true"})

    assert f"flag {name!r} is unknown" == caught.value.what
    assert caught.value.why.endswith(f"the nearest is {near}")
    assert f"did you mean {near}?" in caught.value.remedy
    assert "gvisor-nodes flags" in caught.value.remedy
    assert "nothing was changed" in caught.value.remedy


@pytest.mark.feature("F5")
@pytest.mark.parametrize("name", ["networks", "debug\n", "debug=true --network", "{{ x }}", "", "\x00", 5, None])
def test_a_name_is_matched_as_a_whole(name):
    with pytest.raises(InvalidInputError, match="is unknown"):
        parse_flags({name: "true"}, "", SPELLING_ONLY)


@pytest.mark.feature("F6")
def test_the_order_of_the_input_does_not_show_in_the_output():
    one = parse_flags({"net-raw": "true", "debug": True, "panic-signal": 6})
    other = parse_flags({"panic-signal": "6", "net-raw": True, "debug": "true"})

    assert render(one, "/var/log/runsc") == render(other, "/var/log/runsc")


@pytest.mark.feature("F6")
def test_the_first_four_flags_render_as_they_always_did():
    flags = parse_flags({"debug": True, "net-raw": "true", "nvproxy": "false", "panic-signal": 6}, NEWEST)

    assert (
        "--debug-log=/var/log/runsc/%ID%/%COMMAND%-gvisor.log",
        "--debug=true",
        "--net-raw=true",
        "--nvproxy=false",
        "--panic-signal=6",
    ) == render(flags, "/var/log/runsc")


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


@pytest.mark.feature("F2")
@pytest.mark.parametrize("name", NEVER)
def test_what_the_shim_sets_or_tests_need_is_never_set_and_the_reason_says_who(name):
    (verdict,) = judge({name: "true"}, "", SPELLING_ONLY)

    assert Kind.RESERVED is verdict.kind
    assert verdict.flag is None
    assert known_flags()[name].why in verdict.why


@pytest.mark.feature("G2")
def test_every_kind_of_refusal_is_told_apart():
    values = {
        "debgu": "true",
        "root": "/x",
        "panic-signal": "soon",
        "network": "host",
        "rdmaproxy": "false",
        "net-raw": "true",
        "qdisc": "tbf",
    }

    assert [
        ("debgu", Kind.UNKNOWN),
        ("net-raw", Kind.ACCEPTED),
        ("network", Kind.FORBIDDEN),
        ("panic-signal", Kind.MALFORMED),
        ("qdisc", Kind.ABSENT),
        ("rdmaproxy", Kind.ABSENT),
        ("root", Kind.RESERVED),
    ] == kinds(values, "20250205.0")


@pytest.mark.feature("F3")
def test_a_flag_that_the_release_does_not_have_names_the_releases_that_have_it():
    with pytest.raises(InvalidInputError) as caught:
        parse_flags({"character-device-policy": "emulated-only"}, "20250205.0")

    assert "gVisor 20250205.0 has no flag character-device-policy" == caught.value.what
    assert "seen from 20260905.0" in caught.value.why


@pytest.mark.feature("F3")
def test_a_flag_that_came_between_two_releases_that_are_known_is_left_to_the_binary():
    assert kinds({"in-sandbox-cgroup": "v2"}, "20260817.0") == [("in-sandbox-cgroup", Kind.ACCEPTED)]


@pytest.mark.feature("F4")
@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"file-access": "shared"}, "file-access"),
        ({"file-access": "shared", "overlay2": "root:memory"}, "file-access"),
        ({"pause-external-networking": "true", "network": "none"}, "pause-external-networking"),
        ({"qdisc": "tbf", "qdisc-tbf-rate": 1000}, "qdisc"),
        ({"qdisc": "tbf", "qdisc-tbf-burst": 1000}, "qdisc"),
        ({"qdisc": "tbf", "qdisc-tbf-rate": 0, "qdisc-tbf-burst": 1000}, "qdisc"),
        ({"profile-cpu": "/x/y"}, "profile-cpu"),
        ({"profile": "false", "profile-heap": "/x/y"}, "profile-heap"),
        ({"profiling-metrics": "/fs/opens"}, "profiling-metrics"),
    ],
)
def test_flags_that_do_not_go_together_are_refused_with_what_is_missing(values, name):
    conflicts = [v for v in judge(values, NEWEST, SPELLING_ONLY) if v.kind is Kind.CONFLICT]

    assert [name] == [conflict.name for conflict in conflicts]
    assert all(conflict.why and conflict.remedy for conflict in conflicts)
    with pytest.raises(InvalidInputError, match="does not go together"):
        parse_flags(values, NEWEST, SPELLING_ONLY)


@pytest.mark.feature("F4")
@pytest.mark.parametrize(
    "values",
    [
        {"file-access": "shared", "overlay2": "none"},
        {"pause-external-networking": "true"},
        {"qdisc": "tbf", "qdisc-tbf-rate": 1000, "qdisc-tbf-burst": 1000},
        {"profile": "true", "profile-cpu": "/x/y"},
        {"profiling-metrics": "/fs/opens", "profiling-metrics-log": "-"},
    ],
)
def test_flags_that_go_together_are_accepted(values):
    assert len(values) == len(parse_flags(values, NEWEST, SPELLING_ONLY))


@pytest.mark.feature("F4")
def test_what_is_left_out_takes_no_part_in_a_conflict():
    assert kinds({"pause-external-networking": "false", "network": "host"}) == [
        ("network", Kind.FORBIDDEN),
        ("pause-external-networking", Kind.ACCEPTED),
    ]


@given(st.dictionaries(st.one_of(st.text(), st.sampled_from(SETTABLE)), st.one_of(st.text(), st.booleans())))
def test_whatever_is_accepted_is_one_plain_line(values):
    accepted = tuple(v.flag for v in judge(values, "", SPELLING_ONLY) if v.flag is not None)
    for line in render(accepted, "/var/log/runsc"):
        assert set(line) <= set("abcdefghijklmnopqrstuvwxyz0123456789-=/%_.,:ABCDEFGHIJKLMNOPQRSTUVWXYZ")


@given(st.dictionaries(st.sampled_from(sorted(known_flags())), st.one_of(st.text(), st.booleans(), st.integers())))
def test_without_a_policy_nothing_is_accepted_that_is_not_plain(values):
    for verdict in judge(values, NEWEST):
        if verdict.flag is not None:
            known = known_flags()[verdict.name]
            assert known.risk is FlagClass.PLAIN or verdict.flag.value in known.plain
