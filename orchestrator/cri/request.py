"""The question of a caller, read from JSON and checked before anything is started."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from orchestrator.errors import InvalidInputError

VERBS = ("status", "prove", "clean")


@dataclass(frozen=True, slots=True)
class Become:
    """How to become root on the node; `command` explains every field."""

    command: str = ""
    prompt: str = ""
    password: str = field(default="", repr=False)
    success: str = ""


@dataclass(frozen=True, slots=True)
class Access:
    """How to run a command on the node; an empty argv is direct access."""

    argv: tuple[str, ...] = ()
    become: Become | None = None
    env: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a proof compares with; every field may be left empty, and is then not compared.

    Args:
        release: "20260905.0".
        runsc: absolute path of that release's runsc on the node.
        flags: as runsc gets them, "--name=value".
        config_path: the handler's options file.
        runtime_type: the handler's runtime_type.
        directory: where the dispatcher `runsc` lies, which knows the flags of new pods.
    """

    release: str = ""
    runsc: str = ""
    flags: tuple[str, ...] = ()
    config_path: str = ""
    runtime_type: str = ""
    directory: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """One call of the program.

    Args:
        verb: status, prove or clean (remove sandboxes that killed proofs left).
        access: how to reach the node.
        root: where the node's root directory is for us, with direct access from a pod; "" where it is ours.
        enter: what stands before a program of the node's then; programs get the node's own paths.
        socket: containerd's socket on the node.
        python: the node's Python.
        timeout: seconds for the whole, removal of the sandbox not counted.
        handler: the handler to prove.
        expect: what the sandbox must be.
        wait: whether to wait, within the timeout, for a runtime that does not answer yet.
        cgroup_parent: CRI cgroup parent of the proof; a `.slice` where runsc.toml has systemd-cgroup = "true".
    """

    verb: str
    access: Access = Access()
    root: str = ""
    enter: tuple[str, ...] = ()
    socket: str = "/run/containerd/containerd.sock"
    python: str = "/usr/bin/python3"
    timeout: float = 60.0
    handler: str = "runsc"
    expect: Expectation = Expectation()
    wait: bool = False
    cgroup_parent: str = ""


def parse(data: Any) -> Request:
    """Read a request.

    Args:
        data: the decoded JSON; unknown keys are refused, since a misspelt expectation would prove less than asked.

    Raises:
        InvalidInputError: which field has which fault.
    """
    table = _table("request", data, Request)
    access = _table("access", table.get("access") or {}, Access)
    become = access.get("become")
    request = Request(
        **{key: value for key, value in table.items() if key not in {"access", "expect", "enter"}},
        enter=_strings("enter", table.get("enter") or []),
        access=Access(
            argv=_strings("access.argv", access.get("argv") or []),
            become=None if become is None else _become(become),
            env=_environment(access.get("env") or {}),
        ),
        expect=_expectation(table.get("expect") or {}),
    )
    for name in ("verb", "root", "socket", "python", "handler", "cgroup_parent"):
        _is(name, getattr(request, name), str)
    if request.verb not in VERBS:
        raise _fault("verb", f"one of {', '.join(VERBS)} is wanted, not {request.verb!r}")
    _is("timeout", request.timeout, (int, float))
    if not 0 < request.timeout <= 3600:  # noqa: PLR2004 -- an hour is no proof any more
        raise _fault("timeout", f"seconds between 0 and 3600 are wanted, not {request.timeout}")
    _is("wait", request.wait, bool)
    if not request.socket.startswith("/"):
        raise _fault("socket", "an absolute path is wanted")
    return request


def _fault(name: str, why: str) -> InvalidInputError:
    return InvalidInputError("the request is not valid", why=f"{name}: {why}")


def _is(name: str, value: Any, kind: type | tuple[type, ...]) -> None:
    # bool is an int for isinstance, but true is no number of seconds
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        wanted = kind.__name__ if isinstance(kind, type) else "number"
        raise _fault(name, f"{wanted} is wanted, not {type(value).__name__}")


def _table(name: str, data: Any, kind: type) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise _fault(name, "an object is wanted")
    unknown = sorted(set(data) - set(kind.__dataclass_fields__))  # type: ignore[attr-defined]
    if unknown:
        raise _fault(name, f"unknown: {', '.join(unknown)}")
    if name == "request" and "verb" not in data:
        raise _fault("verb", "is missing")
    return data


def _strings(name: str, data: Any) -> tuple[str, ...]:
    if not isinstance(data, list) or not all(isinstance(item, str) and "\0" not in item for item in data):
        raise _fault(name, "a list of strings is wanted")
    return tuple(data)


def _environment(data: Any) -> dict[str, str]:
    if not isinstance(data, dict) or not all(isinstance(item, str) for pair in data.items() for item in pair):
        raise _fault("access.env", "an object of strings is wanted")
    return data


def _become(data: Any) -> Become:
    table = {key: value for key, value in _table("access.become", data, Become).items() if value is not None}
    for name, value in table.items():
        _is(f"access.become.{name}", value, str)
    if "\n" in table.get("password", ""):
        raise _fault("access.become.password", "a line break cannot be part of it")
    return Become(**table)


def _expectation(data: Any) -> Expectation:
    table = {key: value for key, value in _table("expect", data, Expectation).items() if value is not None}
    flags = _strings("expect.flags", table.pop("flags", []))
    for name, value in table.items():
        _is(f"expect.{name}", value, str)
    return Expectation(flags=flags, **table)
