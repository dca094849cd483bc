"""A request is checked before anything is started; nothing secret shows in its text."""

import pytest

from orchestrator.cri.request import Become, parse
from orchestrator.errors import InvalidInputError


def test_a_request_is_read_with_its_defaults():
    request = parse({"verb": "status"})

    assert (request.socket, request.timeout, request.access.argv) == ("/run/containerd/containerd.sock", 60.0, ())
    assert request.access.become is None


def test_everything_a_caller_may_say_is_understood():
    request = parse(
        {
            "verb": "prove",
            "access": {
                "argv": ["ssh", "node"],
                "become": {"command": "sudo sh -c '@COMMAND@'", "prompt": "p:", "password": "s3cret", "success": "ok"},
                "env": {"LANG": "C"},
            },
            "socket": "/run/k3s/containerd/containerd.sock",
            "python": "/usr/bin/python3",
            "timeout": 5,
            "handler": "gvisor",
            "expect": {"release": "20260905.0", "flags": ["--debug=true"], "runsc": None},
            "wait": True,
            "cgroup_parent": "system.slice",
        }
    )

    assert request.access.become == Become("sudo sh -c '@COMMAND@'", "p:", "s3cret", "ok")
    assert request.expect.flags == ("--debug=true",)
    assert request.expect.runsc == ""
    assert "s3cret" not in repr(request)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ([], "request"),
        ({}, "verb"),
        ({"verb": "destroy"}, "verb"),
        ({"verb": 1}, "verb"),
        ({"verb": "status", "tiemout": 3}, "tiemout"),
        ({"verb": "status", "timeout": 0}, "timeout"),
        ({"verb": "status", "timeout": True}, "timeout"),
        ({"verb": "status", "timeout": "60"}, "timeout"),
        ({"verb": "status", "wait": 1}, "wait"),
        ({"verb": "status", "socket": "containerd.sock"}, "socket"),
        ({"verb": "status", "access": {"argv": "ssh node"}}, "access.argv"),
        ({"verb": "status", "access": {"argv": ["ssh", "a\0b"]}}, "access.argv"),
        ({"verb": "status", "access": {"env": {"A": 1}}}, "access.env"),
        ({"verb": "status", "access": {"become": {"pasword": "x"}}}, "pasword"),
        ({"verb": "status", "access": {"become": {"password": 5}}}, "access.become.password"),
        ({"verb": "status", "access": {"become": {"password": "a\nb"}}}, "access.become.password"),
        ({"verb": "prove", "expect": {"flags": "--debug"}}, "expect.flags"),
        ({"verb": "prove", "expect": {"runsc": 1}}, "expect.runsc"),
    ],
)
def test_a_request_with_a_fault_is_refused_and_the_field_is_named(data, name):
    with pytest.raises(InvalidInputError) as caught:
        parse(data)

    assert name in caught.value.why
