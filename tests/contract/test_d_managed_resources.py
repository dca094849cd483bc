"""Cases 38 to 46: ManagedResources and their Secrets, as Gardener's library writes them."""

from __future__ import annotations

import hashlib
import itertools

import pytest
from gardener_objects import CONFIGURATION
from landscape import SMR, Film, configuration, pmr, version
from patience import eventually

from orchestrator.controller.kinds import MANAGED_RESOURCES
from orchestrator.controller.managed_resource import checksum
from orchestrator.kube.shoot_credentials import SECRETS

REFERENCE = "reference.resources.gardener.cloud/secret-"
GARBAGE = "resources.gardener.cloud/garbage-collectable-reference"


@pytest.fixture
def reconciled(shoot, controller):
    """A Shoot after case 6, and the controller that runs."""
    with controller() as running:
        shoot.deploy()
        shoot.await_ready()
        running.await_quiet()
        shoot.running = running
        yield shoot


def again(shoot, pool="a", **changes):
    shoot.ask(pool, **changes)
    shoot.await_ready(pool)
    shoot.running.await_quiet()


def test_case_38_the_shared_resource_has_the_shape_of_gardeners_library(reconciled):
    raw = reconciled.resource(SMR)
    [reference] = raw["spec"]["secretRefs"]

    assert "extension-runtime-gvisor" == raw["metadata"]["labels"]["origin"]
    assert "class" not in raw["spec"]
    assert raw["spec"]["keepObjects"] is False
    assert {"shoot.gardener.cloud/no-cleanup": "true"} == raw["spec"]["injectLabels"]
    prefix, _, digits = reference["name"].rpartition("-")
    assert "managedresource-extension-runtime-gvisor" == prefix
    assert 8 == len(digits)
    assert int(digits, 16) >= 0
    digest = hashlib.sha256(reference["name"].encode()).hexdigest()[:8]
    assert reference["name"] == raw["metadata"]["annotations"][f"{REFERENCE}{digest}"]


def test_case_39_the_secret_is_immutable_collectable_and_named_by_its_content(reconciled):
    secret = reconciled.secret_of(SMR)

    assert ("Opaque", True) == (secret["type"], secret["immutable"])
    assert "true" == secret["metadata"]["labels"][GARBAGE]
    import base64

    data = {key: base64.b64decode(value) for key, value in secret["data"].items()}
    assert secret["metadata"]["name"].endswith(f"-{checksum(data)}")
    assert ("bd142ccf", "ec321de5") == (checksum({"foo": b"bar"}), checksum({"foo": b"bar", "bar": b"foo"}))


@pytest.mark.feature("I1")
@pytest.mark.feature("I2")
def test_case_40_the_shared_resource_holds_the_runtime_class_and_nothing_else(reconciled):
    [manifest] = reconciled.manifests(SMR)

    assert ("node.k8s.io/v1", "RuntimeClass", "gvisor") == (
        manifest["apiVersion"],
        manifest["kind"],
        manifest["metadata"]["name"],
    )
    assert "runsc" == manifest["handler"]
    assert {"containerruntime.worker.gardener.cloud/gvisor": "true"} == manifest["scheduling"]["nodeSelector"]
    applied = eventually(reconciled.runtime_class, what="the resource manager has not applied it")
    assert manifest["scheduling"] == applied["scheduling"]


def versions(shoot):
    resources = {name: shoot.resource(name) for name in (SMR, pmr("a"))}
    written = {
        name: (raw["metadata"]["generation"], raw["metadata"].get("annotations"), raw["spec"])
        for name, raw in resources.items()
    }
    return written, {name: version(shoot.secret(name)) for name in shoot.names(SECRETS)}


def test_case_41_the_same_again_writes_nothing(reconciled):
    writes = [Film(reconciled.client, reconciled.namespace, SECRETS)]
    before = versions(reconciled)
    with writes[0] as film:
        for _ in range(3):
            again(reconciled)

    assert before == versions(reconciled)
    assert [] == film.told()


def test_case_42_the_order_of_flags_makes_no_difference(reconciled):
    flags = {"debug": "true", "net-raw": "true", "nvproxy": "true", "panic-signal": "12"}
    names = set()
    for order in itertools.permutations(flags.items()):
        again(reconciled, spec={"providerConfig": {**CONFIGURATION, "configFlags": dict(order)}})
        names.add(reconciled.secret_of(pmr("a"))["metadata"]["name"])

    assert 1 == len(names)


def test_case_43_a_changed_flag_is_a_new_secret_and_the_old_one_is_left_to_be_collected(reconciled):
    old = reconciled.secret_of(pmr("a"))["metadata"]["name"]
    again(reconciled, spec={"providerConfig": configuration(debug="true")})

    new = reconciled.secret_of(pmr("a"))["metadata"]["name"]
    assert old != new
    references = {
        value
        for key, value in reconciled.resource(pmr("a"))["metadata"]["annotations"].items()
        if key.startswith(REFERENCE)
    }
    assert {new} == references
    assert "true" == reconciled.secret(old)["metadata"]["labels"][GARBAGE]


@pytest.mark.parametrize("drift", [{"keepObjects": True}, {"secretRefs": [{"name": "a"}, {"name": "b"}]}])
def test_case_44_a_changed_resource_is_repaired_and_what_is_foreign_stays(reconciled, drift):
    before = reconciled.resource(SMR)["spec"]
    foreign = {"labels": {"example.com/l": "1"}, "annotations": {"example.com/a": "1"}}
    reconciled.client.patch(MANAGED_RESOURCES, SMR, {"metadata": foreign, "spec": drift}, reconciled.namespace)
    again(reconciled)

    raw = reconciled.resource(SMR)
    assert before == raw["spec"]
    assert "1" == raw["metadata"]["labels"]["example.com/l"] == raw["metadata"]["annotations"]["example.com/a"]


def test_case_45_a_secret_is_there_before_the_resource_that_references_it(shoot, controller):
    with controller(), Film(shoot.client, shoot.namespace, MANAGED_RESOURCES, SECRETS) as film:
        shoot.deploy()
        shoot.await_ready()
        shoot.ask(spec={"providerConfig": configuration(debug="true")})
        shoot.await_ready()
        last = shoot.secret_of(pmr("a"))["metadata"]["name"]
        film.until(
            lambda events: any(references(raw) == {last} for *_, kind, raw in events if kind == "ManagedResource")
        )

    there = set()
    seen = 0
    for _, what, kind, raw in film.ordered():
        if kind == "Secret" and what == "ADDED":
            there.add(raw["metadata"]["name"])
        elif kind == "ManagedResource":
            assert references(raw) <= there
            seen += 1
    assert seen >= 3


def references(raw):
    return {one["name"] for one in raw["spec"]["secretRefs"]}


def test_case_46_each_pool_has_objects_of_its_own(reconciled):
    reconciled.deploy("b", spec={"providerConfig": configuration(debug="true")})
    reconciled.await_ready("b")

    names = {}
    for pool in ("a", "b"):
        for manifest in reconciled.manifests(pmr(pool)):
            assert pool == manifest["metadata"]["labels"]["worker.gardener.cloud/pool"]
            assert manifest["kind"] in {"ServiceAccount", "ConfigMap"}, "nothing that runs, so no selector to share"
            names.setdefault(pool, set()).add((manifest["kind"], manifest["metadata"]["name"]))
    assert not names["a"] & names["b"]
