"""Which of a Shoot's SSH keys comes first, and what a Secret has to hold."""

from __future__ import annotations

import base64
import itertools

import pytest

from orchestrator.errors import InvalidInputError
from orchestrator.kube.shoot_keys import newest_first, private_key

ROTATED = "last-rotation-initiation-time"


def secret(name="s", *, rotated="", data=None):
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in (data or {}).items()}
    return {"metadata": {"name": name, "namespace": "ns", "labels": {ROTATED: rotated}}, "data": encoded}


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_the_one_that_was_rotated_last_comes_first_and_one_that_never_was_last(order):
    pairs = [secret("never"), secret("older", rotated="999999999"), secret("newer", rotated="1700000000")]
    found = newest_first([pairs[number] for number in order])

    assert ["newer", "older", "never"] == [one["metadata"]["name"] for one in found]


def test_a_rotation_that_cannot_be_read_counts_as_none():
    assert ["b", "a"] == [
        one["metadata"]["name"] for one in newest_first([secret("a", rotated="soon"), secret("b", rotated="1")])
    ]
    assert ["x"] == [one["metadata"]["name"] for one in newest_first([{"metadata": {"name": "x"}}])]


@pytest.mark.parametrize("name", ["id_rsa", "ssh-privatekey"])
def test_the_key_is_under_gardeners_name_or_kubernetes_own(name):
    assert "key" == private_key(secret(data={name: "key", "id_rsa.pub": "public"}))


@pytest.mark.parametrize("data", [None, {}, {"id_rsa.pub": "c2VjcmV0"}, {"id_rsa": "geheim!"}, {"id_rsa": "/////w=="}])
def test_a_secret_without_a_key_is_named_and_its_content_is_not(data):
    with pytest.raises(InvalidInputError, match="Secret ns/s holds no SSH key") as wrong:
        private_key({"metadata": {"name": "s", "namespace": "ns"}, "data": data})
    assert "geheim" not in str(wrong.value)
