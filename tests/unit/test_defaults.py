"""One set of variables: what planning reads, what the roles default to, and what their specs say are the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from orchestrator.gvisor.releases import DEFAULT_RELEASE
from orchestrator.planning.desired import DEFAULTS, read_variables

ROOT = Path(__file__).parents[2]
ROLES = sorted(path.parent.name for path in (ROOT / "roles").glob("*/tasks"))
TYPES = {str: "str", int: "int", bool: "bool", list: "list", dict: "dict"}


def load(role, path):
    return yaml.safe_load((ROOT / "roles" / role / path).read_text(encoding="utf-8")) or {}


def specification(role):
    return load(role, "meta/argument_specs.yml")["argument_specs"]


def defaults(role):
    path = ROOT / "roles" / role / "defaults" / "main.yml"
    return load(role, "defaults/main.yml") if path.exists() else {}


def test_every_variable_is_the_default_of_the_role_whose_prefix_it_has():
    found = {name: value for role in ROLES for name, value in defaults(role).items()}

    assert dict(DEFAULTS) == found


@pytest.mark.parametrize("role", ROLES)
def test_a_roles_variables_start_with_its_name(role):
    assert [] == [name for name in defaults(role) if not name.startswith(f"{role}_")]


@pytest.mark.parametrize("role", ROLES)
def test_the_specs_say_the_same_as_the_defaults(role):
    options = specification(role)["main"]["options"]

    assert defaults(role) == {name: option["default"] for name, option in options.items()}
    assert {name: TYPES[type(value)] for name, value in defaults(role).items()} == {
        name: option["type"] for name, option in options.items()
    }


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_and_every_role_is_described(role):
    main = specification(role)["main"]

    assert main["short_description"]
    assert main["description"]
    for name, option in main["options"].items():
        assert option.get("description"), name
        assert ("elements" in option) == (option["type"] == "list"), name


@pytest.mark.parametrize("role", ROLES)
def test_only_main_has_a_spec_so_that_no_other_entry_point_costs_a_task(role):
    assert ["main"] == list(specification(role))


def test_the_defaults_make_a_desired_state():
    desired, settings = read_variables(dict(DEFAULTS), DEFAULT_RELEASE)

    assert DEFAULT_RELEASE == desired.release
    assert DEFAULTS["proof_timeout"] == settings.proof_timeout
    assert read_variables({}, DEFAULT_RELEASE) == (desired, settings)


@pytest.mark.parametrize("path", sorted((ROOT / "playbooks").glob("*.yml")), ids=lambda path: path.name)
def test_no_playbook_lets_ansible_validate_because_that_evaluates_the_templates_in_values(path):
    def roles(tasks):
        for task in tasks:
            if "ansible.builtin.import_role" in task:
                yield task["name"], task["ansible.builtin.import_role"]
            for inner in ("block", "rescue", "always"):
                yield from roles(task.get(inner, []))

    plays = yaml.safe_load(path.read_text(encoding="utf-8"))
    imported = [found for play in plays for found in roles(play["tasks"])]

    assert imported
    for name, role in imported:
        assert role.get("tasks_from", "main") != "main" or role.get("rolespec_validate") is False, name


@pytest.mark.parametrize("path", sorted((ROOT / "inventories").glob("*.yml")), ids=lambda path: path.name)
def test_every_variable_in_an_inventory_that_we_publish_is_known(path):
    def variables(group):
        for source in [group, *(group.get("hosts") or {}).values()]:
            yield from ((source or {}).get("vars") or {}) if source is group else (source or {})
        for child in (group.get("children") or {}).values():
            yield from variables(child or {})

    names = set(variables(yaml.safe_load(path.read_text(encoding="utf-8"))["all"]))

    assert {name for name in names if not name.startswith("ansible_")} <= set(DEFAULTS)
