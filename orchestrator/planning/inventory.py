"""An Ansible inventory as a pure value: the same hosts give the same bytes, in whatever order they come.

Used by hand through ``gvisor-nodes inventory`` and by the orchestrator for a worker pool's nodes. Names and values come
from people and objects, so a name must be a host name and a value must not be a template; how they are quoted is the
serialiser's job, never string formatting. The next step is an executor in ``orchestrator.execution``.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.errors import InvalidInputError

PYTHON = "/usr/bin/python3"
"""Set in every inventory: Ansible's interpreter discovery can pick a broken one."""

_LABELS = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?)*")
_LONGEST_NAME = 253  # RFC 1035, and Kubernetes' limit for a Node's name
_GROUPS = frozenset({"all", "ungrouped"})
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\$?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryHost:
    """One host: its name, where it answers if that is not its name, and variables of its own (JSON values)."""

    name: str
    address: str | None = None
    port: int | None = None
    variables: Mapping[str, object] = field(default_factory=dict)


def build(
    hosts: Sequence[InventoryHost],
    *,
    user: str | None = None,
    become: bool = False,
    variables: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """Return the inventory in the form that Ansible's ``yaml`` plugin reads, hosts and variables sorted.

    Args:
        hosts: at least one, no name twice.
        user: who logs in; without it ssh's own configuration decides.
        become: whether that user uses sudo.
        variables: for all hosts.

    Raises:
        InvalidInputError: no host, a name or address that is none, a name given twice, a value that is a template.
    """
    if not hosts:
        raise InvalidInputError("no host is given", remedy="name at least one with --host")
    entries: dict[str, dict[str, object]] = {}
    for host in sorted(hosts, key=lambda host: host.name):
        name = host_name(host.name)
        if name in entries:
            raise InvalidInputError(f"host {name} is given twice", remedy="name every host once")
        entries[name] = _host_variables(host)
    shared: dict[str, object] = {"ansible_python_interpreter": PYTHON, **_variables(variables or {})}
    if user is not None:
        if not is_user(user):
            raise InvalidInputError(f"{user!r} is no user name", why="letters, digits, _ . - only")
        shared["ansible_user"] = user
    if become:
        shared["ansible_become"] = True
    return {"all": {"hosts": entries, "vars": dict(sorted(shared.items()))}}


def _host_variables(host: InventoryHost) -> dict[str, object]:
    own = _variables(host.variables)
    if host.address is not None:
        own["ansible_host"] = host_name(host.address)
    if host.port is not None:
        if not 1 <= host.port <= _HIGHEST_PORT:
            raise InvalidInputError(f"{host.port} is no port", why=f"1 to {_HIGHEST_PORT} are", host=host.name)
        own["ansible_port"] = host.port
    return dict(sorted(own.items()))


def render_json(inventory: Mapping[str, Any]) -> str:
    """Return ``inventory`` as JSON, one line for each value, with a final newline."""
    return json.dumps(inventory, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def render_yaml(inventory: Mapping[str, Any]) -> str:
    """Return ``inventory`` as YAML; what could be read as something else (``no``, ``1e3``) is quoted."""
    import yaml  # noqa: PLC0415 - only this function needs it

    # Without allow_unicode all but ASCII is escaped: PyYAML writes some line separators so that they become spaces.
    text: str = yaml.safe_dump(dict(inventory), sort_keys=True, width=1_000_000)
    return text


def host_name(text: str) -> str:
    """Return ``text`` if it is a host name or an IP address.

    Raises:
        InvalidInputError: it is neither, or it means a group to Ansible.
    """
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        pass
    if len(text) > _LONGEST_NAME or not _LABELS.fullmatch(text) or text in _GROUPS:
        raise InvalidInputError(
            f"{text!r} is no host name",
            why="that is one of Ansible's own groups" if text in _GROUPS else "letters, digits, . - _ only",
            remedy="write a host name or an IP address",
        )
    return text


def is_user(text: str) -> bool:
    """Whether ``text`` is the name of a user."""
    return _USER.fullmatch(text) is not None


def parse_host(text: str) -> InventoryHost:
    """Read ``NAME``, ``NAME=ADDRESS``, ``NAME:PORT`` or ``NAME=ADDRESS:PORT``; an IPv6 address with a port in brackets.

    Raises:
        InvalidInputError: it is none of these.
    """
    name, _, address = text.partition("=")
    place, port = _port(address or name)
    return InventoryHost(
        name=host_name(name if address else place), address=host_name(place) if address else None, port=port
    )


def _port(text: str) -> tuple[str, int | None]:
    if found := re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::([0-9]{1,5}))?", text):
        return found[1], int(found[2]) if found[2] else None
    host, colon, port = text.rpartition(":")
    if colon and ":" not in host:
        if not re.fullmatch(r"[0-9]{1,5}", port):
            raise InvalidInputError(f"{port!r} is no port", why=f"in {text!r}")
        return host, int(port)
    return text, None


def parse_nodes(text: str) -> list[InventoryHost]:
    """Read hosts from a file: a Kubernetes node list as JSON, or one host a line as in :func:`parse_host`.

    Of a node its name and its first ``InternalIP`` are taken. Lines may end in a comment that begins with ``#``.

    Raises:
        InvalidInputError: the text is neither.
    """
    if text.lstrip().startswith("{"):
        return _kubernetes_nodes(text)
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [parse_host(line) for line in lines if line]


def _kubernetes_nodes(text: str) -> list[InventoryHost]:
    try:
        document = json.loads(text)
        items = document.get("items", [document])
        return [
            InventoryHost(name=host_name(item["metadata"]["name"]), address=_internal_address(item)) for item in items
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(
            "the nodes file is no list of Kubernetes nodes",
            why=f"{type(error).__name__}: {error}",
            remedy="write it with: kubectl get nodes -o json",
        ) from error


def _internal_address(node: Mapping[str, Any]) -> str | None:
    addresses = (node.get("status") or {}).get("addresses") or []
    return next((host_name(one["address"]) for one in addresses if one["type"] == "InternalIP"), None)


def _variables(values: Mapping[str, object]) -> dict[str, object]:
    for name, value in values.items():
        if not _VARIABLE.fullmatch(name):
            raise InvalidInputError(f"{name!r} is no variable name", why="letters, digits and _ only")
        _refuse_templates(name, value)
    return dict(values)


def _refuse_templates(name: str, value: object) -> None:
    if isinstance(value, str):
        if re.search(r"\{[{%#]", value):
            raise InvalidInputError(
                f"the value of {name} looks like a template", why="inventory values are templates to Ansible"
            )
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _refuse_templates(name, key)
            _refuse_templates(name, inner)
    elif isinstance(value, Sequence):
        for inner in value:
            _refuse_templates(name, inner)
    elif value is not None and not isinstance(value, bool | int | float):
        raise InvalidInputError(f"the value of {name} is no JSON value", why=f"its type is {type(value).__name__}")
