"""OpenSSH's and Ansible's words, and what a person is told instead."""

from __future__ import annotations

import pytest

from orchestrator.execution.unreachable import explain_connection, explain_module

CHANGED = """Failed to connect to the host via ssh: @@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
Host key verification failed."""


@pytest.mark.parametrize(
    ("words", "message", "remedy"),
    [
        (CHANGED, "not the one that is known", "ssh-keygen -R n1"),
        (
            "Failed to connect to the host via ssh: Host key verification failed.",
            "key is not known",
            "ssh-keyscan (n1)",
        ),
        ("root@n1: Permission denied (publickey).", "refused the login", "ssh n1"),
        ("ssh: connect to host n1 port 22: Connection refused", "nothing accepts", "sshd"),
        ("ssh: Could not resolve hostname n1: Name or service not known", "cannot be resolved", "ansible_host"),
        ("ssh: connect to host n1 port 22: Connection timed out", "did not answer in time", "--connect-timeout"),
        ("Connection timed out during banner exchange", "did not answer in time", "--connect-timeout"),
        ("ssh: connect to host n1 port 22: No route to host", "no way to the host", "routes"),
        ("Received disconnect: Too many authentication failures", "too many keys", "IdentitiesOnly"),
        ("WARNING: UNPROTECTED PRIVATE KEY FILE!", "ignores the private key", "chmod 600"),
        ("something new", "cannot be reached", "ssh -vvv n1"),
    ],
)
def test_each_way_not_to_reach_a_host_is_told_apart(words, message, remedy):
    explanation, cause = explain_connection(words, "n1")

    assert message in explanation.message
    assert remedy in explanation.remedy
    assert words.splitlines()[-1].removeprefix("Failed to connect to the host via ssh: ") in cause
    assert "@@@" not in cause


def test_a_key_is_named_as_ssh_keeps_it():
    words = "No ED25519 host key is known for [127.0.0.1]:2222 and you have requested strict checking.\nHost key verification failed."
    other = (
        "REMOTE HOST IDENTIFICATION HAS CHANGED\nHost key for [h]:2 has changed and you have requested strict checking."
    )

    assert "[127.0.0.1]:2222" in explain_connection(words, "n1")[0].remedy
    assert "ssh-keygen -R [h]:2" in explain_connection(other, "n1")[0].remedy


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("The module interpreter '/usr/bin/python3' was not found.", "no Python"),
        ("ansible-core requires a minimum of Python version 3.9. Current version: 3.6", "too old"),
        ("SyntaxError: future feature annotations is not defined", "too old"),
        ("Missing sudo password", "asks for a password"),
        ("sudo: a password is required", "asks for a password"),
        ("Incorrect sudo password", "is wrong"),
        ("/bin/sh: 1: sudo: not found", "no sudo"),
        ("Timeout (12s) waiting for privilege escalation prompt:", "become root in time"),
    ],
)
def test_a_host_that_answers_and_cannot_work_is_told_apart(words, message):
    assert message in explain_module(words, "n1").message


def test_any_other_failure_speaks_for_itself():
    assert explain_module("containerd did not start", "n1") is None
