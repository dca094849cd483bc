"""How ssh logs in where only this run may say so: keys that it has in memory, and host keys of its own.

Without one of these ssh goes by the person's own configuration and agent, as it does for whoever types a command. A
process that serves a cluster has neither, and must not find one by chance. ``orchestrator.execution.runner`` writes the
keys into the run's private directory, in memory and nowhere else, and removes them with it.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from orchestrator.errors import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_BEGIN: Final = re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\r?\n")
_END: Final = re.compile(r"-----END (?:[A-Z]+ )?PRIVATE KEY-----\s*\Z")
_PLACE: Final = re.compile(r"/[A-Za-z0-9._/@+-]+")


@dataclass(frozen=True, slots=True)
class Login:
    """Keys, and which hosts are believed.

    Attributes:
        identities: private keys in PEM, tried in this order; none has a passphrase.
        known_hosts: the file with the hosts' keys; its path has no blanks.
        learns: whether a host that the file does not have is believed and written into it; one that has another key
            than the file says never is.
    """

    identities: tuple[str, ...] = field(repr=False)
    known_hosts: Path
    learns: bool = False

    def __post_init__(self) -> None:
        for key in self.identities:
            if not (_BEGIN.search(key) and _END.search(key)):
                # What was given is not shown: it may be half a key.
                raise InvalidInputError("an SSH key is no private key", why="it has no BEGIN and END PRIVATE KEY lines")
        if not self.identities:
            raise InvalidInputError("no SSH key is given")
        if not _PLACE.fullmatch(str(self.known_hosts)):
            raise InvalidInputError(
                "the path of the known hosts cannot be used",
                why="it is not absolute, or has other characters than letters, digits and ._/@+-",
            )

    def arguments(self, files: Iterable[str]) -> str:
        """The options of ssh as one shell-quoted text.

        Args:
            files: where the identities are, in their order.
        """
        options = [
            "BatchMode=yes",  # nobody is there to be asked
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            *(f"IdentityFile={file}" for file in files),
            f"UserKnownHostsFile={self.known_hosts}",
            "GlobalKnownHostsFile=/dev/null",
            f"StrictHostKeyChecking={'accept-new' if self.learns else 'yes'}",
            "UpdateHostKeys=no",
            "ForwardAgent=no",
        ]
        return shlex.join(["-F", "none", *(word for option in options for word in ("-o", option))])


def file_text(key: str) -> str:
    """A key as ssh wants it in a file: lines as on Unix, the last one ended."""
    return "\n".join(key.strip().splitlines()) + "\n"
