"""How the API server of a Shoot is reached from its seed: by the Secrets that Gardener keeps for that.

Two Secrets of the Shoot's namespace hold a whole kubeconfig with a token that is renewed in place, so it is read anew
for every run: ``gardener-internal`` by the address inside the seed, ``gardener`` by the Shoot's own. Gardener's generic
kubeconfig is not used: it names a token file that exists in pods of the Shoot's namespace only.

Source: gardener/gardener v1.149.3 ``extensions/pkg/util/shoot_clients.go``.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from orchestrator.errors import NotReadyError
from orchestrator.kube import credentials
from orchestrator.kube.api_error import AbsentError
from orchestrator.kube.resource import Resource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.kube.client import Client
    from orchestrator.kube.credentials import Credentials

SECRETS: Final = Resource("", "v1", "secrets", "Secret")

_PERIOD: Final = 300.0  # seconds; tokens live for hours, and the old one for a while after the new one is there
_INTERNAL: Final = "gardener-internal"
_OUTSIDE: Final = "gardener"
_CLIENT: Final = "GARDENER_SHOOT_CLIENT"
_EXTERNAL: Final = "external"


def wants_external(environment: Mapping[str, str]) -> bool:
    """Whether this process is told never to use the address inside the seed."""
    return environment.get(_CLIENT) == _EXTERNAL


class ShootToken:
    """The token in a Shoot's Secret, read again as whoever renews it rewrites the Secret.

    See :class:`~orchestrator.kube.token.Token`.

    Args:
        read: reads the Secret, and gives what is in it now.
        first: what was read last.
        clock: seconds that only grow.
    """

    def __init__(
        self, read: Callable[[], Credentials], first: Credentials, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._token = first.token
        self._read_at = clock()

    def read(self) -> str:
        """The token, at most five minutes old."""
        with self._lock:
            if self._clock() - self._read_at >= _PERIOD:
                self._token = self._read().token
                self._read_at = self._clock()
            return self._token.read() if self._token is not None else ""

    def renew(self) -> bool:
        """Read the Secret at the next request."""
        with self._lock:
            self._read_at = self._clock() - _PERIOD
        return True


def renewed_credentials(seed: Client, namespace: str, *, external: bool = False) -> Credentials:
    """As :func:`shoot_credentials`, for a client that lives for longer than a run: its token is read again."""

    def read() -> Credentials:
        return shoot_credentials(seed, namespace, external=external)

    first = read()
    return first if first.token is None else replace(first, token=ShootToken(read, first))


def shoot_credentials(seed: Client, namespace: str, *, external: bool = False) -> Credentials:
    """Read how a Shoot's API server is reached now.

    Args:
        seed: the client of the seed.
        namespace: the Shoot's in the seed, such as ``shoot--foo--bar``.
        external: never by the address inside the seed (``GARDENER_SHOOT_CLIENT=external``).

    Raises:
        NotReadyError: the Secrets, or the token in them, are not there yet.
        InvalidInputError: the kubeconfig is not valid.
        ApiError: the seed's API server does not show the Secret.
    """
    for name in (_OUTSIDE,) if external else (_INTERNAL, _OUTSIDE):
        try:
            return credentials.from_secret(seed.get(SECRETS, name, namespace))
        except AbsentError:
            continue
    raise NotReadyError(
        f"there is no access to the API server of {namespace} yet",
        why=f"neither Secret {_INTERNAL} nor {_OUTSIDE} is there" if not external else f"no Secret {_OUTSIDE}",
        remedy="wait until gardenlet has made it",
    )
