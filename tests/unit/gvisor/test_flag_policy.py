"""The operator's policy: what it allows, what no policy can, and what is not clear enough to be one."""

from __future__ import annotations

import pytest

from orchestrator.errors import InvalidInputError
from orchestrator.gvisor.flag_catalogue import FlagClass, known_flags
from orchestrator.gvisor.flag_policy import read_policy
from orchestrator.gvisor.flags import Kind, judge

RELEASE = "20260905.0"


def kind(policy, **flag):
    values = {name.replace("_", "-"): value for name, value in flag.items()}
    (verdict,) = judge(values, RELEASE, read_policy(policy))
    return verdict.kind


@pytest.mark.feature("F2")
@pytest.mark.parametrize("name", ["debug", "net-raw", "nvproxy"])
@pytest.mark.parametrize("value", [True, False])
def test_the_first_flags_are_allowed_with_all_their_values(name, value):
    assert Kind.ACCEPTED is kind({}, **{name: value})


@pytest.mark.parametrize(
    "name", [n for n, f in known_flags().items() if f.risk in {FlagClass.WEAKENS, FlagClass.CARE} and f.plain]
)
def test_what_is_not_plain_is_allowed_with_its_plain_values_only(name):
    known = known_flags()[name]

    for value in known.plain:
        assert known.grammar.parse(value) == value
        assert Kind.FORBIDDEN is not kind({}, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network", "host"),
        ("network", "none"),
        ("host-uds", "open"),
        ("host-fifo", "open"),
        ("allow-packet-socket-write", "true"),
        ("allow-suid", "true"),
        ("allow-flag-override", "true"),
        ("character-device-policy", "passthrough"),
        ("profile", "true"),
        ("platform", "kvm"),
        ("overlay2", "all:memory"),
        ("trace", "/var/log/trace"),
    ],
)
def test_what_weakens_isolation_or_can_break_pods_needs_to_be_named(name, value):
    assert Kind.FORBIDDEN is kind({}, **{name: value})
    assert Kind.ACCEPTED is kind({"allow": {name: [value]}}, **{name: value})
    assert Kind.ACCEPTED is kind({"allow": {name: "any"}}, **{name: value})


def test_a_named_flag_takes_nothing_from_the_base():
    assert Kind.FORBIDDEN is kind({"allow": {"network": ["host"]}}, network="sandbox")
    assert Kind.FORBIDDEN is kind({"allow": {"net-raw": []}}, net_raw="true")
    assert Kind.FORBIDDEN is kind({"allow": {"net-raw": [False]}}, net_raw="true")


def test_the_base_none_allows_what_is_named_and_nothing_else():
    policy = {"base": "none", "allow": {"debug": "any"}}

    assert Kind.ACCEPTED is kind(policy, debug="true")
    assert Kind.FORBIDDEN is kind(policy, net_raw="false")


def test_values_of_a_policy_are_compared_as_the_flag_means_them():
    policy = {"allow": {"control-rpc-stop-timeout": ["90s"], "panic-signal": [12]}}

    assert Kind.ACCEPTED is kind(policy, **{"control-rpc-stop-timeout": "1m30s"})
    assert Kind.ACCEPTED is kind(policy, panic_signal="12")
    assert Kind.FORBIDDEN is kind(policy, panic_signal=6)


def test_a_refusal_says_why_what_is_allowed_and_how_the_owner_of_the_nodes_allows_it():
    (verdict,) = judge({"network": "host"}, RELEASE)

    assert "flag network=host is not allowed by policy" == verdict.what
    assert "weakens isolation" in verdict.why
    assert "allowed of network: sandbox" in verdict.why
    assert 'runsc_flags_policy: {"allow": {"network": ["host"]}}' in verdict.remedy


@pytest.mark.parametrize("name", ["root", "log", "debug-log", "systemd-cgroup", "TESTONLY-unsafe-nonroot", "iouring"])
def test_what_is_ours_or_for_tests_cannot_be_allowed(name):
    with pytest.raises(InvalidInputError, match=f"runsc_flags_policy cannot allow {name}"):
        read_policy({"allow": {name: "any"}})


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ([], "not a mapping"),
        ("default", "not a mapping"),
        ({"allowed": {}}, "unknown keys"),
        ({"base": "everything"}, "unknown base"),
        ({"base": ["none"]}, "unknown base"),
        ({"allow": ["network"]}, "allow is not a mapping"),
        ({"allow": {"netwrok": "any"}}, "unknown flag 'netwrok'"),
        ({"allow": {5: "any"}}, "unknown flag '5'"),
        ({"allow": {"nvproxy": True}}, "does not say what nvproxy may be"),
        ({"allow": {"network": "host"}}, "does not say what network may be"),
        ({"allow": {"network": ["hsot"]}}, "a value that it cannot have"),
        ({"allow": {"network": [None]}}, "a value that it cannot have"),
    ],
)
def test_a_policy_that_is_not_clear_is_an_error_and_never_a_guess(policy, words):
    with pytest.raises(InvalidInputError, match=words) as caught:
        read_policy(policy)

    assert "nothing was changed" in caught.value.remedy
