"""What of a pool's configuration takes effect, what is left out and named, what is an error."""

from __future__ import annotations

import pytest
from gardener_objects import CONFIGURATION
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.gvisor_configuration import GVisorConfiguration
from orchestrator.controller.installation import Installation
from orchestrator.controller.pool_settings import settle
from orchestrator.errors import ConfigurationError, InvalidInputError
from orchestrator.gvisor.flag_catalogue import known_flags
from orchestrator.gvisor.flags import judge

STRICT = Installation(strict=True)


def settled(flags, installation=None, **fields):
    configuration = GVisorConfiguration.read({**CONFIGURATION, "configFlags": flags, **fields})
    return settle(configuration, installation or Installation())


def left_out(settings):
    return [one.name for one in settings.left_out]


def test_case_32_the_four_flags_that_upstream_takes_take_effect():
    settings = settled({"net-raw": "true", "debug": "true", "nvproxy": "true", "panic-signal": "12"})

    assert {"net-raw": "true", "debug": "true", "nvproxy": "true", "panic-signal": "12"} == settings.flags
    assert () == settings.left_out
    assert ("True", "Accepted") == (settings.observation.status, settings.observation.reason)


def test_a_flag_that_upstream_takes_when_it_is_off_takes_effect_too():
    assert {"net-raw": "false"} == settled({"net-raw": "false"}).flags


IGNORED = {"debug": "false", "nvproxy": "no", "panic-signal": "x", "platform": "kvm"}


def test_case_33_what_upstream_leaves_out_is_left_out_and_each_is_named():
    settings = settled({**IGNORED, "net-raw": "true"})

    assert {"net-raw": "true"} == settings.flags
    assert sorted(IGNORED) == left_out(settings)
    assert ("False", "SettingsLeftOut") == (settings.observation.status, settings.observation.reason)
    for name in IGNORED:
        assert f"{name} (" in settings.observation.message


def test_case_33_strict_refuses_all_of_them_and_names_each():
    with pytest.raises(ConfigurationError) as caught:
        settled({**IGNORED, "net-raw": "true"}, STRICT)

    assert caught.value.what.endswith(": debug, nvproxy, panic-signal, platform")
    assert "net-raw" not in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        ({"netraw": "true"}, "net-raw"),
        ({"root": "/var/x"}, "who sets it"),
        ({"network": "host"}, "allowed of network"),
        ({"debug": ""}, "true or false"),
        ({"debug": "{{ lookup('pipe', 'id') }}"}, "never evaluated"),
        ({"net-raw": "true; reboot"}, "means something to a shell"),
        ({"platform": "bogus"}, "bogus"),
    ],
)
def test_unknown_reserved_forbidden_and_malformed_flags_are_left_out_and_strict_refuses_them(flags, why):
    (one,) = settled(flags).left_out

    assert next(iter(flags)) == one.name
    assert why in one.why
    with pytest.raises(ConfigurationError):
        settled(flags, STRICT)


@pytest.mark.parametrize("value", ["99", "0", "-7", "+99"])
def test_a_value_that_upstream_hands_to_the_node_and_runsc_cannot_have_is_a_configuration_error(value):
    with pytest.raises(ConfigurationError, match="panic-signal"):
        settled({"panic-signal": value})


@pytest.mark.parametrize("value", ["+12", "012", "12"])
def test_a_number_is_read_as_go_reads_it(value):
    assert {"panic-signal": "12"} == settled({"panic-signal": value}).flags


def test_what_the_operator_allows_takes_effect():
    allowing = Installation(flags_policy={"allow": {"platform": ["kvm"]}}, strict=True)

    assert {"platform": "kvm"} == settled({"platform": "kvm"}, allowing).flags


def test_a_policy_that_is_none_is_not_the_fault_of_the_pools_owner():
    with pytest.raises(InvalidInputError, match="runsc_flags_policy") as caught:
        settled({}, Installation(flags_policy={"allow": "everything"}))

    assert not isinstance(caught.value, ConfigurationError)


def test_a_flag_that_the_release_lacks_is_left_out():
    (name, release) = next(
        (name, "20250205.0")
        for name, flag in known_flags().items()
        if flag.settable and str(flag.presence("20250205.0")) == "absent"
    )
    policy = {"allow": {name: "any"}}
    value = next(iter(known_flags()[name].plain), "true")

    assert [name] == left_out(settled({name: value}, Installation(release, policy)))


def test_of_flags_that_do_not_go_together_the_named_one_is_left_out_until_the_rest_does():
    policy = {"allow": {"profile": "any", "profile-cpu": "any", "file-access": "any", "overlay2": "any"}}
    written = {"profile-cpu": "/tmp/x", "file-access": "shared", "net-raw": "true"}
    settings = settled(written, Installation(flags_policy=policy))

    assert ["file-access", "profile-cpu"] == left_out(settings)
    assert {"net-raw": "true"} == settings.flags


def test_fields_that_change_nothing_are_named_and_strict_refuses_them():
    assert ["testImageTag", "unknown"] == left_out(settled({}, testImageTag="v1", unknown={"x": 1}))
    with pytest.raises(ConfigurationError, match="testImageTag"):
        settled({}, STRICT, testImageTag="v1")


@pytest.mark.parametrize("installation", [Installation(), STRICT])
def test_a_missing_api_version_and_kind_is_a_warning_only(installation):
    settings = settle(GVisorConfiguration.read({"configFlags": {"debug": "true"}}), installation)

    assert {"debug": "true"} == settings.flags
    assert ("True", "AcceptedWithWarning") == (settings.observation.status, settings.observation.reason)
    assert "apiVersion and kind" in settings.observation.message


def test_a_warning_is_told_beside_what_was_left_out():
    settings = settle(GVisorConfiguration.read({"configFlags": {"nonsense": "true"}}), Installation())

    assert "nonsense (" in settings.observation.message
    assert "apiVersion" in settings.observation.message


@pytest.mark.parametrize(
    "flags", [{"platform": "x" * 100_000}, {"x" * 100_000: "true"}, {f"x{number}": "1" for number in range(5_000)}]
)
def test_what_somebody_writes_does_not_fill_the_status(flags):
    message = settled(flags).observation.message

    assert len(message) < 10_000
    assert len(flags) == 1 or "and 4980 more" in message


@given(flags=st.dictionaries(st.sampled_from([*known_flags(), "nonsense"]), st.sampled_from(["true", "", "x", "1"])))
def test_whatever_is_written_every_flag_takes_effect_or_is_named_and_what_takes_effect_is_accepted(flags):
    settings = settled({name: value for name, value in flags.items() if name != "panic-signal"})

    assert set(flags) - {"panic-signal"} == {*settings.flags, *left_out(settings)}
    assert not settings.flags.keys() & set(left_out(settings))
    assert all(verdict.flag for verdict in judge(settings.flags, Installation().release))
