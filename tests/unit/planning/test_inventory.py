"""Rules of the pure inventory."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import InvalidInputError
from orchestrator.planning.inventory import (
    InventoryHost,
    build,
    host_name,
    parse_host,
    parse_nodes,
    render_json,
    render_yaml,
)

# An inventory takes long to make and to read. `make exhaustive` tries far more.
fewer = settings(max_examples=settings.default.max_examples // 4)

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z0-9]{1,10})?", fullmatch=True).filter(
    lambda name: name not in {"all", "ungrouped"} and not name.replace(".", "").isdigit()
)
texts = st.text(st.characters(codec="utf-8", exclude_characters="{"), max_size=30)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts, lambda inner: st.lists(inner, max_size=3), max_leaves=5
)
variables = st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]{0,10}", fullmatch=True), values, max_size=4)
hosts = st.lists(
    st.builds(InventoryHost, name=names, port=st.none() | st.integers(1, 65535), variables=variables),
    min_size=1,
    max_size=6,
    unique_by=lambda host: host.name,
)


@pytest.mark.feature("F6")
@fewer
@given(hosts, variables, st.randoms())
def test_the_same_hosts_in_any_order_give_the_same_bytes(given_hosts, shared, random):
    shuffled = list(given_hosts)
    random.shuffle(shuffled)
    one, other = build(given_hosts, variables=shared), build(shuffled, variables=dict(reversed(shared.items())))

    assert render_json(one) == render_json(other)
    assert render_yaml(one) == render_yaml(other)


@fewer
@given(hosts, variables)
def test_what_is_rendered_reads_back_as_it_was(given_hosts, shared):
    inventory = build(given_hosts, variables=shared, user="root", become=True)

    assert json.loads(render_json(inventory)) == inventory
    assert yaml.safe_load(render_yaml(inventory)) == inventory


@given(st.text(min_size=1, max_size=20))
def test_a_name_is_accepted_as_it_is_or_refused(text):
    try:
        name = host_name(text)
    except InvalidInputError:
        return

    assert all(character.isalnum() or character in ".-_:%" for character in name)
    assert name.isascii()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a b",
        "-a",
        "a-",
        "a..b",
        "a;b",
        "{{ a }}",
        "a,b",
        "a:b",
        "all",
        "ungrouped",
        "a\nb",
        "a" * 254,
        "ä",
        "[1:3]",
        "a*",
    ],
)
def test_what_is_no_host_name_is_refused(name):
    with pytest.raises(InvalidInputError):
        build([InventoryHost(name=name)])


@pytest.mark.parametrize("value", ["{{ lookup('pipe', 'id') }}", ["a", "{% x %}"], {"k": "{# c #}"}, {"{{ k }}": 1}])
def test_a_value_that_is_a_template_is_refused(value):
    with pytest.raises(InvalidInputError, match="looks like a template"):
        build([InventoryHost(name="a", variables={"x": value})])


def test_a_value_that_is_no_json_is_refused():
    with pytest.raises(InvalidInputError, match="no JSON value"):
        build([InventoryHost(name="a")], variables={"x": object()})


@pytest.mark.parametrize(
    ("given_hosts", "how", "message"),
    [
        ([], {}, "no host is given"),
        (["a", "a"], {}, "given twice"),
        (["a"], {"user": "a b"}, "no user name"),
        (["a"], {"variables": {"a-b": 1}}, "no variable name"),
        (["a:0"], {}, "no port"),
        (["a:65536"], {}, "no port"),
    ],
)
def test_bad_input_is_refused(given_hosts, how, message):
    with pytest.raises(InvalidInputError, match=message):
        build([parse_host(text) for text in given_hosts], **how)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("a", InventoryHost(name="a")),
        ("a:22", InventoryHost(name="a", port=22)),
        ("a=10.0.0.1", InventoryHost(name="a", address="10.0.0.1")),
        ("a=b.example:2222", InventoryHost(name="a", address="b.example", port=2222)),
        ("10.0.0.1:22", InventoryHost(name="10.0.0.1", port=22)),
        ("fd00::1", InventoryHost(name="fd00::1")),
        ("[fd00::1]:22", InventoryHost(name="fd00::1", port=22)),
        ("a=[fd00::1]", InventoryHost(name="a", address="fd00::1")),
    ],
)
def test_the_forms_of_a_host(text, host):
    assert parse_host(text) == host


@pytest.mark.parametrize("text", ["a:b", "a:", "a=b c", "=a", "a:123456"])
def test_other_forms_are_refused(text):
    with pytest.raises(InvalidInputError):
        parse_host(text)


def test_a_file_has_one_host_a_line_and_comments():
    assert parse_nodes("# mine\na\n\nb=10.0.0.2:22  # second\n") == [
        InventoryHost(name="a"),
        InventoryHost(name="b", address="10.0.0.2", port=22),
    ]


@pytest.mark.feature("J6")
def test_nodes_of_a_cluster_are_hosts_with_their_internal_address():
    node = {
        "metadata": {"name": "n1"},
        "status": {
            "addresses": [
                {"type": "Hostname", "address": "n1"},
                {"type": "InternalIP", "address": "10.0.0.1"},
                {"type": "InternalIP", "address": "fd00::1"},
            ]
        },
    }

    assert parse_nodes(json.dumps({"kind": "NodeList", "items": [node]})) == [
        InventoryHost(name="n1", address="10.0.0.1")
    ]
    assert parse_nodes(json.dumps({"metadata": {"name": "n2"}})) == [InventoryHost(name="n2")]


@pytest.mark.parametrize("text", ["{", '{"items": [{}]}', '{"items": 1}', '{"items": ["a"]}', '{"metadata": null}'])
def test_a_file_that_is_no_node_list_is_refused(text):
    with pytest.raises(InvalidInputError):
        parse_nodes(text)
