"""The SSH keys of a Shoot's nodes: the key pairs that gardenlet keeps in the Shoot's namespace of the seed.

There is one, or two for the time of a rotation, when both are let in. Their names end in a hash, so they are found by
their labels. They are read anew for every run, and kept by nobody. Source: gardener/gardener v1.149.3
``pkg/utils/secrets/manager/manager.go`` (labels), ``pkg/utils/secrets/rsa_private_key.go`` (the data's key).
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

from orchestrator.errors import InvalidInputError, NotReadyError
from orchestrator.kube.client import Selection
from orchestrator.kube.resource import name_of, namespace_of
from orchestrator.kube.shoot_credentials import SECRETS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.api.view import RawObject
    from orchestrator.kube.client import Client

_LABELS: Final = "name=ssh-keypair,managed-by=secrets-manager,manager-identity=gardenlet"
_ROTATED: Final = "last-rotation-initiation-time"
_DATA: Final = ("id_rsa", "ssh-privatekey")
"""Gardener's key, and the one of Kubernetes' own type ``kubernetes.io/ssh-auth``."""


def shoot_keys(seed: Client, namespace: str) -> tuple[str, ...]:
    """The private keys of a Shoot's nodes as PEM, the newest first.

    Raises:
        NotReadyError: there is none.
        InvalidInputError: a Secret holds no key.
        ApiError: the seed's API server does not show them.
    """
    found = [raw for page in seed.pages(SECRETS, Selection(namespace, labels=_LABELS)) for raw in page.items]
    if not found:
        raise NotReadyError(
            f"there is no SSH key pair of {namespace}",
            why=f"no Secret has the labels {_LABELS}",
            remedy="wait until gardenlet has made one; without SSH access of the Shoot it makes none",
        )
    return tuple(private_key(raw) for raw in newest_first(found))


def newest_first(secrets: Iterable[RawObject]) -> list[RawObject]:
    """Key pairs in the order of their rotations; one that was never rotated is the oldest. Pure."""

    def rotated(raw: RawObject) -> tuple[int, str]:
        text = str(((raw.get("metadata") or {}).get("labels") or {}).get(_ROTATED) or "")
        return int(text) if text.isdecimal() else 0, name_of(raw)

    return sorted(secrets, key=rotated, reverse=True)


def private_key(raw: RawObject) -> str:
    """The private key in a Secret. Pure.

    Raises:
        InvalidInputError: there is none; what there is instead is not shown.
    """
    data = raw.get("data") or {}
    for name in _DATA:
        try:
            return base64.b64decode(data[name], validate=True).decode("ascii")
        except KeyError:
            continue
        except (binascii.Error, UnicodeDecodeError):
            break
    raise InvalidInputError(
        f"the Secret {namespace_of(raw)}/{name_of(raw)} holds no SSH key",
        why=f"none of {', '.join(_DATA)} is a text in its data",
        remedy="put a private key without a passphrase there",
    ) from None
