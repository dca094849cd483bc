"""How the API server of a Shoot is reached from its seed: by the Secrets that Gardener keeps for that.

Two Secrets of the Shoot's namespace hold a whole kubeconfig with a token that is renewed in place, so it is read anew
for every run: ``gardener-internal`` by the address inside the seed, ``gardener`` by the Shoot's own. Gardener's generic
kubeconfig is not used: it names a token file that exists in pods of the Shoot's namespace only.

Source: gardener/gardener v1.149.3 ``extensions/pkg/util/shoot_clients.go``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from orchestrator.errors import NotReadyError
from orchestrator.kube import credentials
from orchestrator.kube.api_error import AbsentError
from orchestrator.kube.resource import Resource

if TYPE_CHECKING:
    from orchestrator.kube.client import Client
    from orchestrator.kube.credentials import Credentials

SECRETS: Final = Resource("", "v1", "secrets", "Secret")

_INTERNAL: Final = "gardener-internal"
_EXTERNAL: Final = "gardener"


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
    for name in (_EXTERNAL,) if external else (_INTERNAL, _EXTERNAL):
        try:
            return credentials.from_secret(seed.get(SECRETS, name, namespace))
        except AbsentError:
            continue
    raise NotReadyError(
        f"there is no access to the API server of {namespace} yet",
        why=f"neither Secret {_INTERNAL} nor {_EXTERNAL} is there" if not external else f"no Secret {_EXTERNAL}",
        remedy="wait until gardenlet has made it",
    )
