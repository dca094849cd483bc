"""Cases 27 to 34: what is an error, with which code, and what is only named."""

from __future__ import annotations

import pytest
from landscape import SMR, configuration, facts, pmr, with_options
from patience import eventually

from orchestrator.controller.installation import Installation
from orchestrator.controller.kinds import MANAGED_RESOURCES
from orchestrator.kube.shoot_credentials import SECRETS

GROUP = "gvisor.runtime.extensions.config.gardener.cloud"
WRONG_GROUP = {"apiVersion": "some.group/v1alpha1", "kind": "GVisorConfiguration"}
WRONG_VERSION = {"apiVersion": f"{GROUP}/v1alpha2", "kind": "GVisorConfiguration"}
NO_STRING = {"apiVersion": f"{GROUP}/v1alpha1", "kind": "GVisorConfiguration", "configFlags": {"debug": True}}
IGNORED = {"debug": "false", "nvproxy": "no", "panic-signal": "x", "platform": "kvm"}


def refused(shoot, controller, provider_config, options=None):
    with controller(*([options] if options else [])) as running:
        shoot.deploy(spec={"providerConfig": provider_config})
        raw = shoot.await_state("Error")
        running.await_quiet()
    return raw


def assert_is_a_configuration_problem(raw):
    assert ("Create", "Error", 50) == facts(raw)[:3]
    description = facts(raw)[3]
    error = raw["status"]["lastError"]
    assert description.startswith("Error reconciling ContainerRuntime: ")
    assert {"description": description, "codes": ["ERR_CONFIGURATION_PROBLEM"]} == {
        key: value for key, value in error.items() if key != "lastUpdateTime"
    }
    assert error["lastUpdateTime"] == raw["status"]["lastOperation"]["lastUpdateTime"]
    assert raw["metadata"]["generation"] == raw["status"]["observedGeneration"]


@pytest.mark.feature("G2")
def test_case_27_another_group_is_a_configuration_problem(shoot, controller):
    assert_is_a_configuration_problem(refused(shoot, controller, WRONG_GROUP))


def test_case_28_another_version_is_a_configuration_problem(shoot, controller):
    assert_is_a_configuration_problem(refused(shoot, controller, WRONG_VERSION))


def test_case_29_a_flag_that_is_no_text_is_a_configuration_problem(shoot, controller):
    assert_is_a_configuration_problem(refused(shoot, controller, NO_STRING))


@pytest.mark.parametrize("wrong", [WRONG_GROUP, WRONG_VERSION, NO_STRING], ids=["group", "version", "value"])
def test_case_30_of_a_wrong_configuration_nothing_is_applied(shoot, controller, wrong):
    refused(shoot, controller, wrong)

    assert [] == shoot.names(MANAGED_RESOURCES) + shoot.names(SECRETS)


def test_case_31_a_corrected_configuration_leaves_no_trace_of_the_error(shoot, controller):
    with controller():
        shoot.deploy(spec={"providerConfig": WRONG_GROUP})
        shoot.await_state("Error")
        shoot.ask(spec={"providerConfig": configuration()})
        raw = shoot.await_ready()

    assert "Succeeded" == facts(raw)[1]
    assert "lastError" not in raw["status"]


def test_case_32_the_flags_of_the_first_day_are_rendered_sorted_and_no_others(shoot, controller):
    flags = {"panic_signal": "12", "nvproxy": "true", "net_raw": "true", "debug": "true"}
    with controller():
        shoot.deploy(spec={"providerConfig": configuration(**flags)})
        shoot.await_ready()

    # --debug-log is there because of debug, and in the documented place.
    assert [
        "--debug-log=/var/log/runsc/%ID%/%COMMAND%-gvisor.log",
        "--debug=true",
        "--net-raw=true",
        "--nvproxy=true",
        "--panic-signal=12",
    ] == shoot.settings()


@pytest.mark.feature("G5")
def test_case_33_what_has_no_effect_is_left_out_and_named(shoot, controller):
    with controller():
        shoot.deploy(spec={"providerConfig": {**configuration(), "configFlags": IGNORED}})
        raw = shoot.await_ready()

    [condition] = [one for one in raw["status"]["conditions"] if one["type"] == "GVisorConfigurationEffective"]
    assert "False" == condition["status"]
    for name in IGNORED:
        assert name in condition["message"]
        assert not any(name in line for line in shoot.settings())


def test_case_33_strict_makes_an_error_of_it_that_names_every_key(shoot, controller):
    options = with_options(installation=Installation(strict=True))
    raw = refused(shoot, controller, {**configuration(), "configFlags": IGNORED}, options)

    assert_is_a_configuration_problem(raw)
    for name in IGNORED:
        assert name in raw["status"]["lastError"]["description"]


@pytest.mark.feature("G12")
def test_an_object_that_fails_stops_no_other(shoot, other_shoot, controller):
    with controller(with_options(workers=1)):
        shoot.deploy("wrong", spec={"providerConfig": WRONG_GROUP})
        shoot.deploy("right")
        other_shoot.deploy()

        shoot.await_state("Error", "wrong")
        shoot.await_ready("right")
        other_shoot.await_ready()


def test_case_34_an_error_of_the_infrastructure_has_no_code_and_is_tried_again(shoot, controller, restricted):
    with controller(client=restricted.client):
        restricted.forbid_secrets()
        shoot.deploy()
        raw = shoot.await_state("Error")
        assert "codes" not in raw["status"]["lastError"]
        assert "gardener.cloud/operation" not in raw["metadata"]["annotations"]
        assert pmr("a") not in shoot.names(MANAGED_RESOURCES)

        restricted.allow_secrets()
        raw = shoot.await_ready(deadline=90)
    assert [SMR, pmr("a")] == shoot.names(MANAGED_RESOURCES)
    assert "gardener.cloud/operation" not in raw["metadata"]["annotations"]


def test_case_34_tries_are_further_and_further_apart(shoot, controller, restricted):
    with controller(client=restricted.client) as running:
        restricted.forbid_secrets()
        shoot.deploy()
        key = (shoot.namespace, "gvisor-a")
        eventually(
            lambda: running.controller.queue.retries(key) >= 8, what=lambda: running.controller.queue.retries(key)
        )
        tries = running.controller.queue.retries(key)

        # Eight failures are 1.3 seconds of waiting; without a growing delay there would be hundreds.
        assert tries < 20
        restricted.allow_secrets()
        shoot.await_ready(deadline=90)
