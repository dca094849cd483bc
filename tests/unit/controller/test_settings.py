"""The process's settings: defaults that are upstream's, faults that name their place, flags that win over the file."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.controller.bind_address import bind_address
from orchestrator.controller.settings import ControllerSettings, settings
from orchestrator.controller.upstream_flags import UPSTREAM_FLAGS, without_effect
from orchestrator.controller.verb import TriggerMode
from orchestrator.errors import InvalidInputError
from orchestrator.gvisor.releases import DEFAULT_RELEASE

EVERYTHING = """
mode: standalone
ignoreOperationAnnotation: true
extensionClasses: [shoot, garden]
kubeconfig: /kubeconfig
master: https://seed
concurrentReconciles: 7
leaderElection: {enabled: true, id: other, namespace: a}
heartbeat: {namespace: b, renewIntervalSeconds: 10}
metrics: {bindAddress: "127.0.0.1:1"}
health: {bindAddress: "0"}
log: {level: debug, format: console}
gvisor:
  release: "20260817.0"
  strict: true
  flagsPolicy: {base: none, allow: {debug: any}}
"""


PAGE = Path(__file__).resolve().parents[3] / "docs" / "controller.md"


def read(text="", flags=None, environment=None):
    return settings(text, flags or {}, environment or {}, file="controller.yaml")


def fault(text="", flags=None, environment=None):
    with pytest.raises(InvalidInputError) as caught:
        read(text, flags, environment)
    return str(caught.value)


@pytest.mark.parametrize("text", ["", "---", "{}", "# only a comment\n", "metrics:\n  # bindAddress: ':1'\n"])
def test_without_any_setting_the_defaults_are_upstreams_except_that_its_chart_wins_over_its_program(text):
    found = read(text)

    assert found == ControllerSettings()
    assert (found.mode, found.ignore_operation_annotation, found.extension_classes) == ("gardener", False, ())
    assert (found.concurrent_reconciles, found.heartbeat.renew_interval_seconds) == (5, 30)
    assert (found.leader_election.enabled, found.leader_election.id) == (True, "runtime-gvisor-leader-election")
    assert (found.metrics.address, found.health.address) == (("", 8080), ("", 8081))
    assert (found.log.level, found.log.format) == ("info", "json")
    assert found.gvisor.installation.release == DEFAULT_RELEASE


def test_everything_can_be_set_in_the_file():
    found = read(EVERYTHING)

    assert (found.mode, found.extension_classes, found.concurrent_reconciles) == ("standalone", ("shoot", "garden"), 7)
    assert (found.kubeconfig, found.master) == ("/kubeconfig", "https://seed")
    assert (found.leader_election.id, found.leader_election.namespace) == ("other", "a")
    assert (found.heartbeat.namespace, found.heartbeat.renew_interval_seconds) == ("b", 10)
    assert (found.metrics.address, found.health.address) == (("127.0.0.1", 1), None)
    assert (found.log.level, found.log.format) == ("debug", "console")
    assert dataclasses.asdict(found.gvisor.installation) == {
        "release": "20260817.0",
        "flags_policy": {"base": "none", "allow": {"debug": "any"}},
        "strict": True,
    }


def test_the_example_of_the_documents_can_be_used_as_it_is():
    (example,) = re.findall(
        r"^```yaml\n(# controller.yaml\n.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )

    assert read(example).gvisor.installation.flags_policy == {"allow": {"debug": "any"}}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("mdoe: gardener", "mdoe is unknown; there are mode, ignoreOperationAnnotation, extensionClasses"),
        ("concurrent_reconciles: 5", "concurrent_reconciles is unknown"),
        ("leaderElection: {name: x}", "leaderElection.name is unknown; there are enabled, id, namespace"),
        ("mode: shoot", "mode should be one of 'gardener' or 'standalone'"),
        ("concurrentReconciles: '5'", "concurrentReconciles should be a whole number"),
        ("concurrentReconciles: 0", "concurrentReconciles should be greater than 0"),
        ("ignoreOperationAnnotation: 'true'", "ignoreOperationAnnotation should be true or false"),
        ("extensionClasses: shoot", "extensionClasses should be a list"),
        ("extensionClasses: [shoot, 1]", "extensionClasses[1] should be text"),
        ("heartbeat: 30", "heartbeat should be a mapping"),
        ("leaderElection: {id: ''}", "leaderElection.id should not be empty"),
        ("metrics: {bindAddress: 8080}", "metrics.bindAddress should be text"),
        ("metrics: {bindAddress: '8080'}", "metrics.bindAddress is wrong: it is no address to listen on"),
        ("log: {level: trace}", "log.level should be one of 'debug', 'info' or 'error'"),
        ("gvisor: {release: 20260209.1}", "gvisor.release should be text; what YAML takes for a number"),
        ("gvisor: {release: latest}", "gvisor.release is wrong: it is no release of gVisor"),
        ("gvisor: {flagsPolicy: {allow: {nosuch: any}}}", "gvisor.flagsPolicy is wrong:"),
        ("gvisor: {flagsPolicy: {allow: {debug: [[1], {}]}, base: []}}", "gvisor.flagsPolicy is wrong:"),
        ("gvisor: {flagsPolicy: {allow: {debug: [[1], {}]}}}", "gvisor.flagsPolicy is wrong:"),
        ("gvisor: {flagsPolicy: []}", "gvisor.flagsPolicy should be a mapping"),
        ("1: x", "[1] is wrong: Keys should be strings"),
        ("- mode", "it is no mapping"),
        ("mode: [", "it is no YAML at line 1"),
        ("a: 1\n---\nb: 2", "it is no YAML at line 2"),
        ("mode: 2026-13-45", "it is no YAML"),
        ("[" * 10000, "it is no YAML"),
        ("mode: gardener\nlog: {}\nmode: standalone", "a key comes twice at line 3"),
        ("log: {level: info, level: debug}", "a key comes twice at line 1"),
    ],
)
def test_a_fault_of_the_file_is_told_with_the_file_and_its_place_in_it(text, named):
    told = fault(text)

    assert told.startswith("controller.yaml cannot be used: ")
    assert named in told


def test_all_faults_are_told_at_once():
    told = fault("concurrentReconciles: x\nheartbeat: {renewIntervalSeconds: 0, every: 1}\n")

    for place in ("concurrentReconciles", "heartbeat.renewIntervalSeconds", "heartbeat.every"):
        assert place in told


@pytest.mark.parametrize(
    "text",
    [
        "mode: s3cret",
        "concurrentReconciles: s3cret",
        "log: s3cret",
        "metrics: {bindAddress: s3cret}",
        "health: {bindAddress: '[s3cret]:1'}",
        "gvisor: {release: s3cret, flagsPolicy: s3cret}",
        "gvisor: {flagsPolicy: {base: s3cret}}",
        "gvisor: {flagsPolicy: {allow: {debug: s3cret}}}",
        "gvisor: {flagsPolicy: {allow: {debug: [s3cret]}}}",
        "mode: {token: s3cret}",
        "mode: [s3cret",
        "mode: *s3cret",
        "mode: !s3cret x",
        "nosuch: s3cret",
    ],
)
def test_what_a_value_is_is_not_told(text):
    with pytest.raises(InvalidInputError) as caught:
        read(text)

    assert "s3cret" not in str(caught.value)
    # What a log shows of an error that was chained.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_settings_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        read().mode = "standalone"


@pytest.mark.parametrize(
    ("flag", "text", "found"),
    [
        ("extension-classes", "shoot,garden", lambda found: found.extension_classes == ("shoot", "garden")),
        ("extension-classes", "", lambda found: found.extension_classes == ()),
        ("kubeconfig", "/other", lambda found: found.kubeconfig == "/other"),
        ("master", "https://other", lambda found: found.master == "https://other"),
        ("leader-election", "false", lambda found: not found.leader_election.enabled),
        ("leader-election-id", "x", lambda found: found.leader_election.id == "x"),
        ("leader-election-namespace", "x", lambda found: found.leader_election.namespace == "x"),
        ("metrics-bind-address", "0", lambda found: found.metrics.address is None),
        ("health-bind-address", "[::1]:9", lambda found: found.health.address == ("::1", 9)),
        ("log-level", "error", lambda found: found.log.level == "error"),
        ("log-format", "text", lambda found: found.log.format == "console"),
        ("log-format", "json", lambda found: found.log.format == "json"),
        ("max-concurrent-reconciles", "9", lambda found: found.concurrent_reconciles == 9),
        ("heartbeat-namespace", "x", lambda found: found.heartbeat.namespace == "x"),
        ("heartbeat-renew-interval-seconds", "1", lambda found: found.heartbeat.renew_interval_seconds == 1),
        ("ignore-operation-annotation", "false", lambda found: not found.ignore_operation_annotation),
    ],
)
def test_a_flag_of_upstream_wins_over_the_file(flag, text, found):
    assert found(read(EVERYTHING, {flag: text}))


def test_a_flag_leaves_the_rest_of_its_section_as_the_file_has_it():
    found = read("leaderElection: &one {namespace: a}\nheartbeat: *one\n", {"heartbeat-namespace": "b"})

    assert (found.leader_election.namespace, found.heartbeat.namespace) == ("a", "b")
    assert read("heartbeat:\n", {"heartbeat-namespace": "b"}).heartbeat.renew_interval_seconds == 30


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_a_boolean_is_true_as_go_has_it(text):
    assert read(flags={"ignore-operation-annotation": text}).ignore_operation_annotation


@pytest.mark.parametrize("text", ["0", "f", "F", "FALSE", "false", "False"])
def test_a_boolean_is_false_as_go_has_it(text):
    assert not read(flags={"leader-election": text}).leader_election.enabled


@pytest.mark.parametrize(
    ("flag", "text", "named"),
    [
        ("leader-election", "yes", "--leader-election cannot be used: it takes one of 1, t, T, TRUE"),
        ("leader-election", "", "--leader-election cannot be used"),
        ("max-concurrent-reconciles", "five", "--max-concurrent-reconciles cannot be used: it takes a whole number"),
        ("max-concurrent-reconciles", "0", "--max-concurrent-reconciles should be greater than 0"),
        ("log-level", "trace", "--log-level should be one of 'debug', 'info' or 'error'"),
        ("metrics-bind-address", "8080", "--metrics-bind-address is wrong"),
        ("nosuch", "x", "there is no flag --nosuch"),
    ],
)
def test_a_fault_of_a_flag_is_told_with_the_flag(flag, text, named):
    told = fault(EVERYTHING, {flag: text})

    assert named in told
    assert "controller.yaml" not in told


@pytest.mark.parametrize("seconds", ["0", "-1"])
def test_case_70_a_heartbeat_without_a_positive_interval_is_refused(seconds):
    assert "should be greater than 0" in fault(flags={"heartbeat-renew-interval-seconds": seconds})
    assert "heartbeat.renewIntervalSeconds" in fault(f"heartbeat: {{renewIntervalSeconds: {seconds}}}")


def test_flags_without_effect_are_taken_and_named_with_the_reason():
    flags = {"gardener-version": "v1.149.3", "log-level": "info", "webhook-config-server-port": "443"}

    assert read(flags=flags) == read()
    assert without_effect(flags) == (
        "--gardener-version (nothing here depends on it)",
        "--webhook-config-server-port (there is no webhook)",
    )
    assert without_effect({"log-level": "info"}) == ()
    assert all(bool(flag.path) != bool(flag.why) for flag in UPSTREAM_FLAGS)


def test_the_environment_says_the_namespace_unless_the_file_or_a_flag_does():
    environment = {"LEADER_ELECTION_NAMESPACE": "env"}

    def namespaces(text="", flags=None):
        found = read(text, flags, environment)
        return found.leader_election.namespace, found.heartbeat.namespace

    assert namespaces() == ("env", "env")
    assert namespaces("leaderElection: {namespace: file}") == ("file", "env")
    assert namespaces("leaderElection: {namespace: file}", {"leader-election-namespace": "flag"}) == ("flag", "env")


def test_in_a_seed_the_pods_namespace_is_the_last_resort():
    found = read("heartbeat: {namespace: a}")

    assert found.leader_election.namespace == ""
    assert found.with_namespace("pod").leader_election.namespace == "pod"
    assert found.with_namespace("pod").heartbeat.namespace == "a"


def test_without_gardener_a_leader_election_needs_a_namespace():
    told = fault("mode: standalone")

    assert "--leader-election-namespace" in told
    assert read("mode: standalone\nleaderElection: {enabled: false}").mode == "standalone"
    assert read("mode: standalone", environment={"LEADER_ELECTION_NAMESPACE": "a"}).leader_election.namespace == "a"


def test_in_a_seed_the_keys_for_ssh_are_the_shoots_own():
    found = read("nodes: {executor: ssh, timeoutSeconds: 90}").nodes.options(external=False)

    assert (None, "", "", 90) == (found.job, found.ssh.key_secret, found.ssh.key_file, found.timeout)
    assert "nodes.ssh.keyFile" in fault("nodes: {executor: ssh, ssh: {keyFile: /key}}")
    assert read("nodes: {ssh: {keyFile: /key}}").nodes.options(external=False) is None


def test_without_gardener_ssh_needs_one_key():
    text = "mode: standalone\nleaderElection: {enabled: false}\nnodes: {executor: ssh, ssh: {%s}}"
    for wrong in ("", "keyFile: /key, keySecret: a/b"):
        assert "needs one key" in fault(text % wrong)

    assert "a/b" == read(text % "keySecret: a/b").nodes.options(external=False).ssh.key_secret


def test_where_releases_are_the_file_says_before_the_environment():
    def directory(text):
        return read(text).nodes.options(external=False, artifacts="/image").ssh.artifacts_directory

    assert "/image" == directory("nodes: {executor: ssh}")
    assert "/mine" == directory("nodes: {executor: ssh, ssh: {artifactsDirectory: /mine}}")


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("user: 'a b'", "no user name"),
        ("port: 70000", "should be 65535 or less"),
        ("keySecret: name", "namespace/name"),
        ("keySecret: a/b/c", "namespace/name"),
        ("keyFile: key", "no absolute path"),
        ("knownHosts: ~/.ssh/known_hosts", "no absolute path"),
        ("runsAtOnce: 0", "should be greater than 0"),
        ("password: geheim", "is unknown"),
    ],
)
def test_how_nodes_are_reached_is_looked_at_before_any_is(setting, named):
    told = fault(f"nodes: {{ssh: {{{setting}}}}}")

    assert named in told
    assert "nodes.ssh." in told
    assert "geheim" not in told


def test_what_makes_a_changed_spec_be_acted_upon_is_the_generation_where_nobody_annotates():
    assert read().trigger_mode is TriggerMode.ANNOTATION
    assert read("ignoreOperationAnnotation: true").trigger_mode is TriggerMode.GENERATION
    assert read("mode: standalone\nleaderElection: {enabled: false}").trigger_mode is TriggerMode.GENERATION


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":8080", ("", 8080)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("localhost:65535", ("localhost", 65535)),
        ("[::1]:8080", ("::1", 8080)),
        ("[::]:1", ("::", 1)),
        ("0", None),
    ],
)
def test_an_address_is_what_go_takes(text, address):
    found = bind_address(text)

    assert found == address
    assert found is None or str(found) == text


@pytest.mark.parametrize(
    "text", ["", "8080", "::1:8080", "[::1]", "[a]:1", ":65536", ":-1", ":http", "a b:1", "0:", ":"]
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match="HOST:PORT"):
        bind_address(text)


@given(st.text())
def test_any_text_is_settings_or_a_fault_with_a_remedy(text):
    try:
        found = read(text)
    except InvalidInputError as error:
        found = error

    assert isinstance(found, ControllerSettings) or found.remedy
