"""Bearer tokens that somebody else renews: in a file, read again often enough.

The kubelet rewrites a projected ServiceAccount token when four fifths of its life are over; client-go reads the file
again after a minute (kubernetes/client-go v0.37 ``transport/token_source.go``).
"""

from __future__ import annotations

import re
import threading
import time
from typing import TYPE_CHECKING, Final, Protocol

from orchestrator.errors import InvalidInputError, NotReadyError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PERIOD: Final = 60.0  # seconds


# What can stand in a header. An error of the HTTP library about anything else would quote the token.
_TOKEN: Final = re.compile(r"[!-~]*")


def cleaned(text: str, place: str) -> str:
    """The token without the space around it.

    Raises:
        InvalidInputError: it cannot be one; it is not quoted.
    """
    token = text.strip()
    if not _TOKEN.fullmatch(token):
        raise InvalidInputError(
            f"{place} cannot be used",
            why="a bearer token is one line of ASCII without spaces",
            remedy="write the token and nothing else into it",
        )
    return token


class Token(Protocol):
    """Where the bearer token of a request comes from."""

    def read(self) -> str:
        """The token of now.

        Raises:
            NotReadyError: there is none at the moment.
        """

    def renew(self) -> bool:
        """Forget what is known, because the server refused it; tell whether reading again can bring another one."""


class FixedToken:
    """A token that came with the credentials; whoever has newer credentials makes a new client."""

    def __init__(self, token: str) -> None:
        self._token = cleaned(token, "the token of the kubeconfig")

    def read(self) -> str:
        """The token."""
        return self._token

    def renew(self) -> bool:
        """It stays what it is."""
        return False


class FileToken:
    """A token in a file that others replace.

    Args:
        path: the file.
        clock: seconds that only grow.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._token = ""
        self._read_at = 0.0

    def read(self) -> str:
        """The token, at most a minute old; an older one where the file cannot be read at the moment.

        Raises:
            NotReadyError: the file was never readable, or empty.
            InvalidInputError: what is in it can be no token.
        """
        with self._lock:
            now = self._clock()
            if not self._token or now - self._read_at >= _PERIOD:
                self._token = self._content() or self._token
                self._read_at = now
            return self._token

    def renew(self) -> bool:
        """Read the file at the next request."""
        with self._lock:
            self._read_at = self._clock() - _PERIOD
        return True

    def _content(self) -> str:
        try:
            token = cleaned(self._path.read_text(encoding="utf-8", errors="replace"), str(self._path))
        except OSError as error:
            if self._token:
                return ""
            raise NotReadyError(
                "there is no token for the API server",
                why=f"{self._path} cannot be read: {error}",
                remedy="look at the volume of the ServiceAccount token, or at tokenFile in the kubeconfig",
            ) from error
        if not token and not self._token:
            raise NotReadyError(
                "there is no token for the API server",
                why=f"{self._path} is empty",
                remedy="wait until its token has been written",
            )
        return token
