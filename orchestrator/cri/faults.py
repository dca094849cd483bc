"""Errors of reaching and asking a runtime, with a code that a program can read.

Codes of AccessError: unreachable, host-key, become-password-wrong, become-password-missing, become-refused,
python-missing, socket, timeout, stopped, lost. Codes of CallError are the names of gRPC's status codes.
"""

from __future__ import annotations

from orchestrator.errors import GvisorNodesError


class AccessError(GvisorNodesError):
    """The node, or root on it, or its socket could not be reached. Nothing was changed."""

    def __init__(self, code: str, what: str, *, why: str = "", remedy: str = "") -> None:
        self.code = code
        super().__init__(what, why=why, remedy=remedy)


class CallError(GvisorNodesError):
    """The runtime, or gRPC on the way to it, answered a call with an error.

    Args:
        call: the method.
        code: name of the gRPC status code, such as UNAVAILABLE.
        message: the runtime's own words.
    """

    def __init__(self, call: str, code: str, message: str) -> None:
        self.call = call
        self.code = code
        self.message = message
        super().__init__(f"{call} failed", why=f"{code}: {message}")


def departure(exit_status: int | None, said: str, *, become: bool) -> AccessError:
    """Why a prefix process ended before our relay greeted.

    Args:
        exit_status: its exit status; 255 is ssh's own failure.
        said: what it printed, stderr and stdout.
        become: whether a become method was in the command line.
    """
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    why = " / ".join(lines[-4:]) or f"exit status {exit_status}, nothing printed"
    lower = said.lower()

    def has(*words: str) -> bool:
        return any(word in lower for word in words)

    if has("host key verification failed", "remote host identification has changed"):
        error = AccessError(
            "host-key",
            "the node's SSH host key is not the known one",
            why=why,
            remedy="compare the key with the node's own, then update known_hosts",
        )
    elif become and has("incorrect password", "sorry, try again", "authentication failure", "authentication failed"):
        error = wrong_password(why)
    elif become and has("a password is required", "no password was provided", "a terminal is required"):
        error = missing_password(why)
    elif become and has("not in the sudoers", "may not run", "not allowed to", "operation not permitted"):
        error = AccessError(
            "become-refused",
            "this login may not become root",
            why=why,
            remedy="allow it in the node's sudoers, or log in as another user",
        )
    elif exit_status == 255:  # noqa: PLR2004 -- ssh(1), exit status
        error = AccessError(
            "unreachable", "the node cannot be reached", why=why, remedy="check the address, the network and sshd"
        )
    elif has("unknown option: -i", "syntaxerror", "modulenotfounderror"):
        error = AccessError(
            "python-missing",
            "the node's Python is too old or not complete",
            why=why,
            remedy="install python3 (>= 3.9, not python3-minimal) on the node, or set ansible_python_interpreter",
        )
    elif exit_status in {126, 127} or has("not found", "no such file"):
        error = AccessError(
            "python-missing",
            "the node has no Python where one was expected",
            why=why,
            remedy="install python3 (>= 3.9) on the node, or set ansible_python_interpreter",
        )
    else:
        error = AccessError(
            "lost",
            "the command on the node ended before it answered",
            why=why,
            remedy="run the same login and become method by hand: `ansible HOST -m raw -a id -b`",
        )
    return error


def wrong_password(why: str) -> AccessError:
    """The password was given and refused."""
    return AccessError(
        "become-password-wrong",
        "the become password is wrong",
        why=why,
        remedy="give the right one: --ask-become-pass, or ansible_become_password from a vault",
    )


def missing_password(why: str) -> AccessError:
    """A password was asked for, and there is none."""
    return AccessError(
        "become-password-missing",
        "a become password is needed, and none was given",
        why=why,
        remedy="give it: --ask-become-pass, or ansible_become_password from a vault",
    )
