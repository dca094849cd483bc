"""ManagedResources and Secrets in the shape of Gardener's extension library."""

from __future__ import annotations

import base64
import hashlib

import pytest
import yaml
from gardener_objects import NAMESPACE
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.controller.managed_resource import bundle, checksum, manifest, reference

OBJECT = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"b": "1", "a": "no"}}
BUNDLE = bundle("extension-runtime-gvisor", NAMESPACE, [OBJECT])


def test_case_38_the_managed_resource_is_that_of_the_library():
    name = BUNDLE.secret_name

    assert {
        "apiVersion": "resources.gardener.cloud/v1alpha1",
        "kind": "ManagedResource",
        "metadata": {
            "name": "extension-runtime-gvisor",
            "namespace": NAMESPACE,
            "labels": {"origin": "extension-runtime-gvisor"},
            "annotations": {
                f"reference.resources.gardener.cloud/secret-{hashlib.sha256(name.encode()).hexdigest()[:8]}": name
            },
        },
        "spec": {
            "injectLabels": {"shoot.gardener.cloud/no-cleanup": "true"},
            "keepObjects": False,
            "secretRefs": [{"name": name}],
        },
    } == BUNDLE.managed_resource


def test_case_39_the_secret_is_immutable_collectable_and_named_by_its_content():
    data = BUNDLE.secret["data"]
    content = base64.b64decode(data["config.yaml"])

    assert ["config.yaml"] == list(data)
    assert ("Opaque", True) == (BUNDLE.secret["type"], BUNDLE.secret["immutable"])
    assert {
        "name": f"managedresource-extension-runtime-gvisor-{checksum({'config.yaml': content})}",
        "namespace": NAMESPACE,
        "labels": {"resources.gardener.cloud/garbage-collectable-reference": "true"},
    } == BUNDLE.secret["metadata"]


@pytest.mark.parametrize(
    ("data", "expected"), [({"foo": b"bar"}, "bd142ccf"), ({"foo": b"bar", "bar": b"foo"}, "ec321de5")]
)
def test_case_39_hashes_are_those_of_the_librarys_test_vectors(data, expected):
    assert expected == checksum(data)
    assert expected == checksum(dict(reversed(data.items())))


def test_case_38_the_hash_of_a_reference_is_that_of_the_librarys_test_vector():
    assert {"reference.resources.gardener.cloud/secret-82a3537f": "name"} == reference("name")


def test_a_manifest_says_the_same_objects_in_the_same_order():
    objects = [OBJECT, {**OBJECT, "metadata": OBJECT["metadata"]}, {"kind": "Last"}]

    assert objects == list(yaml.safe_load_all(manifest(objects)))
    assert b"&id" not in manifest(objects)
    assert 3 == manifest(objects).count(b"---\n")


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(data=st.dictionaries(TEXT, TEXT | st.lists(TEXT, max_size=2) | st.booleans() | st.integers()))
def test_case_42_a_manifest_does_not_depend_on_the_order_of_keys_and_loses_nothing(data):
    backwards = dict(reversed(data.items()))

    assert manifest([data]) == manifest([backwards])
    assert [data] == list(yaml.safe_load_all(manifest([data])))
