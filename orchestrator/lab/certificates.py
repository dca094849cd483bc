"""The certificates by which an API server of the lab knows who asks: one authority for each server, made by openssl."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from orchestrator.lab.program import call, require

if TYPE_CHECKING:
    from pathlib import Path

_DAYS: Final = "3650"
_REQUEST: Final = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_FILES: Final = frozenset({"-out", "-keyout", "-in", "-CA", "-CAkey"})
"""Options that a file follows."""
# Each signature counts up one file.
_SIGNING: Final = threading.Lock()


@dataclass(frozen=True, slots=True)
class Certificate:
    """The files of a certificate and its key."""

    certificate: Path
    key: Path


class ClientAuthority:
    """Signs certificates of clients.

    Args:
        directory: where all of it is kept, as ``ca.crt``, ``NAME.crt`` and their keys.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def certificate(self) -> Path:
        """The file of the authority's own certificate."""
        return self._directory / "ca.crt"

    def make(self) -> None:
        """Make the authority; one that was there goes, with all certificates that it signed."""
        for signed in self._directory.glob("*.crt"):
            signed.unlink()
        self._openssl(*_REQUEST, "-x509", "-days", _DAYS, "-subj", "/CN=lab", "-keyout", "ca.key", "-out", "ca.crt")

    def sign(self, name: str, user: str, group: str) -> Certificate:
        """The certificate of a user in a group, under this name; made if there is none."""
        made = self.signed(name)
        with _SIGNING:
            if not made.certificate.exists():
                subject = ("-subj", f"/O={group}/CN={user}")
                self._openssl(*_REQUEST, *subject, "-keyout", made.key.name, "-out", f"{name}.csr")
                draft = f"{name}.new"
                signer = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial")
                self._openssl("x509", "-req", "-in", f"{name}.csr", *signer, "-days", _DAYS, "-out", draft)
                (self._directory / draft).replace(made.certificate)
        return made

    def signed(self, name: str) -> Certificate:
        """Where the certificate of this name is."""
        return Certificate(self._directory / f"{name}.crt", self._directory / f"{name}.key")

    def make_account_key(self) -> Path:
        """Make the key by which tokens of ServiceAccounts are signed."""
        self._openssl("genrsa", "-out", "accounts.key", "2048")
        return self._directory / "accounts.key"

    def _openssl(self, *arguments: str) -> None:
        argv = [require("openssl")]
        for before, argument in zip(("", *arguments), arguments, strict=False):
            argv.append(str(self._directory / argument) if before in _FILES else argument)
        call(argv, what="a certificate for the API server cannot be made", timeout=60)
