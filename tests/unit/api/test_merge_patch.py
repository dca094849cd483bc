"""Merge patches: what they change, and that they lose nothing."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.api.merge_patch import difference, merge

KEYS = st.sampled_from("abc")
LEAVES = st.integers(0, 3) | st.booleans() | st.text("xy", max_size=2) | st.lists(st.integers(0, 2), max_size=2)
OBJECTS = st.recursive(
    st.dictionaries(KEYS, LEAVES, max_size=3), lambda inner: st.dictionaries(KEYS, LEAVES | inner, max_size=3)
)


@pytest.mark.parametrize(
    ("document", "patch", "expected"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({"a": "foo"}, {"a": {"b": {"c": None}}}, {"a": {"b": {}}}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_patch_does_what_the_examples_of_rfc_7386_say(document, patch, expected):
    assert expected == merge(document, patch)


@given(before=OBJECTS, after=OBJECTS)
def test_the_difference_of_two_objects_makes_the_one_of_the_other(before, after):
    assert after == merge(before, difference(before, after))


@given(before=OBJECTS, after=OBJECTS)
def test_a_difference_is_empty_exactly_where_two_objects_are_equal(before, after):
    assert (before == after) is (not difference(before, after))


@given(before=OBJECTS, patch=OBJECTS)
def test_a_patch_leaves_the_object_it_is_applied_to_as_it_was(before, patch):
    kept = copy.deepcopy(before)
    merge(before, patch)["new"] = 1

    assert kept == before


def test_a_difference_names_only_what_differs():
    before = {"metadata": {"name": "x", "labels": {"a": "1", "b": "2"}}, "spec": {"list": [1, 2], "old": True}}
    after = {"metadata": {"name": "x", "labels": {"a": "1", "b": "3"}}, "spec": {"list": [2]}}

    assert {"metadata": {"labels": {"b": "3"}}, "spec": {"old": None, "list": [2]}} == difference(before, after)
