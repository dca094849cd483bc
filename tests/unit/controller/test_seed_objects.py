"""What a ContainerRuntime wants: the same bytes for the same wish, all of it or an error."""

from __future__ import annotations

import base64
import itertools
import json
from datetime import UTC, datetime

import pytest
import yaml
from gardener_objects import CONFIGURATION, README_CONTAINER_RUNTIME, container_runtime
from gardenlet import not_ready

from orchestrator.api.container_runtime import ContainerRuntime
from orchestrator.api.last_operation import OperationType
from orchestrator.api.merge_patch import merge
from orchestrator.controller.error_codes import codes
from orchestrator.controller.installation import Installation
from orchestrator.controller.seed_objects import seed_objects
from orchestrator.controller.status import failed, succeeded
from orchestrator.errors import ConfigurationError, InvalidInputError
from orchestrator.planning.desired import read_variables

NOW = datetime(2026, 8, 21, 10, 0, 5, tzinfo=UTC)
FLAGS = {"net-raw": "true", "debug": "true", "nvproxy": "true", "panic-signal": "12"}


def runtime(flags=None, pool="a", config=CONFIGURATION, **spec):
    raw = container_runtime(pool, spec=spec)
    raw["spec"]["providerConfig"] = config if flags is None else {**config, "configFlags": flags}
    return ContainerRuntime.read(raw)


def wanted(*args, installation=None, **how):
    return seed_objects(runtime(*args, **how), installation or Installation())


def decoded(bundle):
    return list(yaml.safe_load_all(base64.b64decode(bundle.secret["data"]["config.yaml"])))


def config_map(objects):
    return next(one for one in decoded(objects.pool) if one["kind"] == "ConfigMap")


def test_the_readmes_example_is_provisioned():
    objects = seed_objects(ContainerRuntime.read(yaml.safe_load(README_CONTAINER_RUNTIME)), Installation())

    assert ["extension-runtime-gvisor", "extension-runtime-gvisor-installation-worker-ubuntu"] == [
        one.name for one in objects.bundles
    ]
    assert {"net-raw": "true"} == objects.settings.flags
    assert "--net-raw=true\n" == config_map(objects)["data"]["flags"]


def test_case_24_pools_share_one_managed_resource_to_the_byte_and_have_one_each():
    a, b = wanted(pool="a"), wanted(FLAGS, pool="b")

    assert a.shared == b.shared
    assert ["extension-runtime-gvisor-installation-a", "extension-runtime-gvisor-installation-b"] == [
        a.pool.name,
        b.pool.name,
    ]
    assert a.pool.secret_name != b.pool.secret_name


def refused(config):
    with pytest.raises(ConfigurationError) as caught:
        wanted(config=config)
    return caught.value


def test_case_27_a_provider_config_of_another_group_is_a_configuration_problem():
    error = refused({**CONFIGURATION, "apiVersion": "some.group/v1alpha1"})
    status = failed(runtime(), OperationType.CREATE, error, NOW)["status"]

    assert ("ERR_CONFIGURATION_PROBLEM",) == codes(error)
    assert "some.group/v1alpha1" in status["lastError"]["description"]
    assert "To do: correct providerConfig" in status["lastError"]["description"]
    assert status["lastOperation"]["description"] == status["lastError"]["description"]


def test_case_28_a_provider_config_of_another_version_is_a_configuration_problem():
    error = refused({**CONFIGURATION, "apiVersion": "gvisor.runtime.extensions.config.gardener.cloud/v1alpha2"})

    assert ("ERR_CONFIGURATION_PROBLEM",) == codes(error)


def test_case_29_a_flag_that_is_no_text_is_a_configuration_problem_that_names_it():
    error = refused({**CONFIGURATION, "configFlags": {"debug": True}})

    assert ("ERR_CONFIGURATION_PROBLEM",) == codes(error)
    assert "configFlags.debug" in error.why


def test_case_30_of_a_wrong_configuration_not_even_what_pools_share_is_wanted():
    strict = Installation(strict=True)

    assert wanted({"net-raw": "true"}, installation=strict).shared == wanted().shared
    with pytest.raises(ConfigurationError):
        wanted({"net-raw": "no"}, installation=strict)


def test_case_32_the_flags_of_the_sandboxes_are_exactly_these_sorted():
    assert [
        "--debug-log=/var/log/runsc/%ID%/%COMMAND%-gvisor.log",
        "--debug=true",
        "--net-raw=true",
        "--nvproxy=true",
        "--panic-signal=12",
    ] == config_map(wanted(FLAGS))["data"]["flags"].splitlines()


def test_case_33_what_is_left_out_reaches_no_node():
    objects = wanted({"debug": "false", "nvproxy": "no", "panic-signal": "x", "platform": "kvm"})

    assert "" == config_map(objects)["data"]["flags"]
    assert objects.pool == wanted({}).pool
    assert ["debug", "nvproxy", "panic-signal", "platform"] == [one.name for one in objects.settings.left_out]


def test_case_40_the_shared_managed_resource_holds_exactly_one_runtime_class():
    assert [
        {
            "apiVersion": "node.k8s.io/v1",
            "kind": "RuntimeClass",
            "metadata": {"name": "gvisor"},
            "handler": "runsc",
            "scheduling": {"nodeSelector": {"containerruntime.worker.gardener.cloud/gvisor": "true"}},
        }
    ] == decoded(wanted(FLAGS).shared)


def test_case_41_the_same_wish_is_the_same_bytes():
    assert wanted(FLAGS) == wanted(FLAGS)
    annotated = container_runtime("a", metadata={"labels": {"x": "y"}, "generation": 9}, status={"state": {"k": "v"}})
    annotated["spec"]["providerConfig"] = {**CONFIGURATION, "configFlags": FLAGS}

    assert wanted(FLAGS) == seed_objects(ContainerRuntime.read(annotated), Installation())


def test_case_42_the_order_of_flags_makes_no_difference():
    names = {
        wanted(dict(order), config=dict(reversed(CONFIGURATION.items()))).pool.secret_name
        for order in itertools.permutations(FLAGS.items())
    }

    assert {wanted(FLAGS).pool.secret_name} == names


def test_case_42_the_order_of_the_operators_policy_makes_no_difference():
    policies = (
        {"allow": {"platform": ["kvm"], "network": ["host"]}},
        {"allow": {"network": ["host"], "platform": ["kvm"]}},
    )
    one, another = (wanted(FLAGS, installation=Installation(flags_policy=policy)) for policy in policies)

    assert one.pool == another.pool


def test_case_43_another_flag_is_another_secret_of_the_pool_and_the_same_of_all():
    before, after = wanted(FLAGS), wanted({**FLAGS, "net-raw": "false"})

    assert before.pool.secret_name != after.pool.secret_name
    assert before.shared == after.shared


def test_case_46_what_a_pool_has_is_of_no_other_pool():
    a, b = (decoded(wanted(FLAGS, pool=pool).pool) for pool in "ab")

    assert not {(one["kind"], one["metadata"]["name"]) for one in a} & {
        (one["kind"], one["metadata"]["name"]) for one in b
    }
    assert {"a"} == {one["metadata"]["labels"]["worker.gardener.cloud/pool"] for one in a}


def test_a_pool_has_an_account_without_a_token_and_its_wish_and_nothing_that_runs():
    account, wish = decoded(wanted(FLAGS).pool)

    assert ("ServiceAccount", "kube-system", False) == (
        account["kind"],
        account["metadata"]["namespace"],
        account["automountServiceAccountToken"],
    )
    assert ("ConfigMap", "kube-system") == (wish["kind"], wish["metadata"]["namespace"])


def test_the_wish_is_what_the_playbooks_make_of_its_variables():
    installation = Installation("20250205.0", {"allow": {"platform": ["kvm"]}})
    data = config_map(wanted({"platform": "kvm", "debug": "true"}, installation=installation))["data"]
    desired, _ = read_variables(json.loads(data["variables.json"]), "20260209.1")

    assert "20250205.0" == desired.release
    assert "/var/bin/containerruntimes" == desired.directory
    assert desired.flags_file == data["flags"]
    assert "--platform=kvm" in desired.flags
    assert desired.fingerprint == data["fingerprint"]


def test_a_directory_that_could_be_evaluated_is_refused_and_is_not_the_fault_of_the_pools_owner():
    for path in ("{{ x }}", "/var/$(reboot)", "/var/../etc", "relative"):
        with pytest.raises(InvalidInputError) as caught:
            wanted(binaryPath=path)
        assert () == codes(caught.value)


def test_case_33_what_was_left_out_is_a_condition_and_the_object_is_ready():
    objects = wanted({"debug": "false"})
    asked = runtime({"debug": "false"}).raw
    accepted = merge(asked, {"metadata": {"annotations": {"gardener.cloud/operation": None}}})
    after = merge(accepted, succeeded(runtime(), OperationType.CREATE, NOW, [objects.settings.observation]))

    assert "" == not_ready(after)
    (condition,) = after["status"]["conditions"]
    assert ("GVisorConfigurationEffective", "False") == (condition["type"], condition["status"])
    assert "debug" in condition["message"]
