"""providerConfig: what is accepted as a GVisorConfiguration, and what is said of the rest."""

from __future__ import annotations

import pytest
import yaml
from gardener_objects import CONFIGURATION, README_PROVIDER_CONFIGS

from orchestrator.api.gvisor_configuration import GVisorConfiguration
from orchestrator.errors import ConfigurationError


@pytest.mark.parametrize("text", README_PROVIDER_CONFIGS)
def test_the_readmes_provider_configs_are_read_as_they_stand(text):
    raw = yaml.safe_load(text)
    configuration = GVisorConfiguration.read(raw)

    assert raw["configFlags"] == configuration.config_flags
    assert () == configuration.missing_type_fields
    assert () == configuration.fields_without_effect


@pytest.mark.parametrize("raw", [None, CONFIGURATION, {**CONFIGURATION, "configFlags": None}])
def test_nothing_configured_is_no_flag_and_no_warning(raw):
    configuration = GVisorConfiguration.read(raw)

    assert {} == configuration.config_flags
    assert () == configuration.missing_type_fields


@pytest.mark.parametrize("left_out", [("apiVersion", "kind"), ("apiVersion",), ("kind",)])
@pytest.mark.parametrize("value", [None, "", "absent"])
def test_a_provider_config_without_api_version_or_kind_is_accepted_and_tells_what_is_missing(left_out, value):
    raw = {**CONFIGURATION, "configFlags": {"debug": "true"}, **dict.fromkeys(left_out, value)}
    if value == "absent":
        raw = {key: inner for key, inner in raw.items() if key not in left_out}
    configuration = GVisorConfiguration.read(raw)

    assert {"debug": "true"} == configuration.config_flags
    assert left_out == configuration.missing_type_fields


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"apiVersion": "some.group/v1alpha1"}, "some.group/v1alpha1"),
        ({"apiVersion": "gvisor.runtime.extensions.config.gardener.cloud/v1alpha2"}, "v1alpha2"),
        ({"kind": "KataConfiguration"}, "KataConfiguration"),
    ],
)
def test_another_group_version_or_kind_is_a_configuration_error(changes, named):
    with pytest.raises(ConfigurationError, match="providerConfig") as caught:
        GVisorConfiguration.read({**CONFIGURATION, **changes})

    assert named in caught.value.why


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        ({**CONFIGURATION, "configFlags": {"debug": True}}, "configFlags.debug"),
        ({**CONFIGURATION, "configFlags": {"panic-signal": 12}}, "configFlags.panic-signal"),
        ({**CONFIGURATION, "configFlags": ["debug"]}, "configFlags"),
        ({**CONFIGURATION, "testImageTag": 1}, "testImageTag"),
        ({**CONFIGURATION, "apiVersion": 1}, "apiVersion"),
        ("debug", "the object"),
    ],
)
def test_a_value_of_another_type_than_upstreams_is_a_configuration_error_that_names_it(raw, named):
    with pytest.raises(ConfigurationError, match="providerConfig") as caught:
        GVisorConfiguration.read(raw)

    assert named in caught.value.why


def test_a_flag_that_is_null_is_empty_as_go_decodes_it():
    assert {"debug": ""} == GVisorConfiguration.read({**CONFIGURATION, "configFlags": {"debug": None}}).config_flags


def test_fields_that_change_nothing_are_named():
    raw = {**CONFIGURATION, "testImageTag": "v1", "configFlag": {"debug": "true"}}

    assert ("configFlag", "testImageTag") == GVisorConfiguration.read(raw).fields_without_effect
