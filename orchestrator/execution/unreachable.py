"""Why a host could not be used at all: ssh's own words, sorted, each with what to do next.

The fragments are what OpenSSH and ansible-core print; the first one that matches wins, so the special stand before the
general (a changed host key also ends in "Host key verification failed").
"""

from __future__ import annotations

import re
from typing import NamedTuple


class Explanation(NamedTuple):
    """What happened in one sentence, and what to do."""

    message: str
    remedy: str


_CONNECTION: tuple[tuple[str, Explanation], ...] = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        Explanation(
            "the host's SSH key is not the one that is known",
            "if the host was set up again: ssh-keygen -R {address}; if not, find out who answers there",
        ),
    ),
    (
        "Host key verification failed",
        Explanation(
            "the host's SSH key is not known",
            "compare its fingerprint, then add it to known_hosts: log in once by hand, or use ssh-keyscan ({address})",
        ),
    ),
    (
        "Permission denied",
        Explanation(
            "the host refused the login",
            "check the user and the key: ssh {address} must log in without a question (ansible_user, ssh-agent)",
        ),
    ),
    (
        "Connection refused",
        Explanation(
            "nothing accepts SSH connections there",
            "check that sshd runs and that address and port are right (ansible_host, ansible_port)",
        ),
    ),
    (
        r"Could not resolve hostname|Name or service not known",
        Explanation("the host's name cannot be resolved", "check the name in the inventory, or set ansible_host"),
    ),
    (
        r"timed out|Timeout|timeout expired",
        Explanation(
            "the host did not answer in time",
            "check that it is up and that no firewall drops packets; a slow host may need a longer --connect-timeout",
        ),
    ),
    (
        r"No route to host|Network is unreachable",
        Explanation("there is no way to the host's network", "check the address, and this machine's routes and VPN"),
    ),
    (
        r"Too many authentication failures",
        Explanation(
            "the host refused the login after too many keys",
            "name the key: ansible_ssh_private_key_file in the inventory, IdentitiesOnly in ~/.ssh/config",
        ),
    ),
    (
        r"[Bb]ad permissions|UNPROTECTED PRIVATE KEY",
        Explanation("ssh ignores the private key: its file may be read by others", "chmod 600 the key file"),
    ),
)

_MODULE: tuple[tuple[str, Explanation], ...] = (
    (
        r"interpreter .* was not found|python3?: (command )?not found",
        Explanation(
            "the host has no Python where it was looked for",
            "install one (apt-get install python3-minimal), or name it: ansible_python_interpreter in the inventory",
        ),
    ),
    (
        r"requires (a )?(minimum of )?Python|SyntaxError|from __future__ import annotations",
        Explanation(
            "the host's Python is too old",
            "install Python 3.9 or newer, or name one: ansible_python_interpreter in the inventory",
        ),
    ),
    (
        r"[Mm]issing sudo password|a password is required",
        Explanation("sudo asks for a password", "add --ask-become-pass, or allow the user sudo without a password"),
    ),
    (
        r"[Ii]ncorrect (sudo|su) password|Sorry, try again",
        Explanation("the sudo password is wrong", "type it again: --ask-become-pass"),
    ),
    (
        r"sudo: (command )?not found|sudo.*not installed",
        Explanation("the host has no sudo", "install it, or log in as root: --user root without --become"),
    ),
    (
        r"Timeout \(\d+s\) waiting for privilege escalation",
        Explanation("the host did not become root in time", "try by hand: ssh {address} sudo -n true"),
    ),
)

_WRAPPING = re.compile(
    r'^Task failed: |Data could not be sent to remote host "[^"]*"\. Make sure this host can be reached over ssh: '
    r"|Failed to connect to the host via ssh: "
)

_KNOWN_AS = re.compile(r"ost key (?:is known )?for (\S+) (?:has changed )?and you have requested strict checking")


def explain_connection(words: str, address: str) -> tuple[Explanation, str]:
    """Return why ``address`` cannot be reached, and ssh's own words without what Ansible puts around them."""
    cause = "\n".join(line for line in _WRAPPING.sub("", words).strip().splitlines() if not line.startswith("@@"))
    if known := _KNOWN_AS.search(words):
        address = known[1]  # the name under which the key is kept, such as [192.0.2.1]:2222
    found = _first(_CONNECTION, words, address)
    return found or Explanation(
        "the host cannot be reached", f"try by hand: ssh {address}; a run with more detail: ssh -vvv {address}"
    ), cause


def explain_module(words: str, address: str) -> Explanation | None:
    """Return why nothing could be run on ``address`` although it answers, or None for any other failure."""
    return _first(_MODULE, words, address)


def _first(table: tuple[tuple[str, Explanation], ...], words: str, address: str) -> Explanation | None:
    for pattern, explanation in table:
        if re.search(pattern, words):
            return Explanation(explanation.message, explanation.remedy.format(address=address))
    return None
