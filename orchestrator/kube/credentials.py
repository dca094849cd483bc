"""How a cluster is reached and as whom: the one place where kubeconfigs and ServiceAccounts are read.

Certificates and tokens stay in memory. What comes from an object of a cluster (:func:`from_secret`) may refer to
nothing outside itself: a path would make this process read files, and an ``exec`` run programs, that the author of a
Secret chose. TLS is always verified; what asks for less is refused.

Formats: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/ and
https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from orchestrator.errors import InvalidInputError, NotReadyError
from orchestrator.kube.token import FileToken, FixedToken

if TYPE_CHECKING:
    from orchestrator.api.view import RawObject
    from orchestrator.kube.token import Token

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_CORRECT: Final = "correct the kubeconfig"


@dataclass(frozen=True, slots=True)
class Credentials:
    """Everything that a client needs to know.

    Attributes:
        server: URL, ``https://…``, without a slash at its end.
        authority: the certificates (PEM) that the server's is verified with; empty for those of the system.
        token: where the bearer token comes from, if there is one.
        certificate: the client's certificate (PEM), if there is one.
        key: its key (PEM).
        server_name: the name in the server's certificate, where it is not the URL's.
        proxy: URL of a proxy that the kubeconfig names; empty for what the environment says.
        namespace: the one that the kubeconfig or the ServiceAccount is for; empty if unknown.
    """

    server: str
    authority: bytes = b""
    token: Token | None = field(default=None, repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)
    server_name: str = ""
    proxy: str = ""
    namespace: str = ""


def default(kubeconfig: str, environment: Mapping[str, str]) -> Credentials:
    """Find the credentials of this process, in the order of Gardener's extensions.

    Args:
        kubeconfig: a path somebody asked for; empty if nobody did.
        environment: the process's; ``KUBECONFIG`` and the variables that the kubelet sets count.

    Raises:
        InvalidInputError: a kubeconfig is not valid, or there is none anywhere.
        NotReadyError: the token is not there yet.
    """
    # Source: the contract's section 6.4: flag, KUBECONFIG, in-cluster, ~/.kube/config.
    named = kubeconfig or environment.get("KUBECONFIG", "")
    if named:
        return from_file(Path(named))
    if environment.get("KUBERNETES_SERVICE_HOST"):
        return in_cluster(environment)
    home = Path(environment.get("HOME", "/")) / ".kube" / "config"
    if home.exists():
        return from_file(home)
    raise InvalidInputError(
        "no cluster is known",
        why=f"KUBECONFIG is not set, this is no pod of a cluster, and there is no {home}",
        remedy="set KUBECONFIG to the path of a kubeconfig",
    )


def in_cluster(environment: Mapping[str, str], directory: Path = SERVICE_ACCOUNT) -> Credentials:
    """The pod's ServiceAccount; its token is read again as it is renewed.

    Raises:
        InvalidInputError: this is no pod with a ServiceAccount.
        NotReadyError: the token cannot be read.
    """
    host, port = (environment.get(f"KUBERNETES_SERVICE_{name}", "") for name in ("HOST", "PORT"))
    if not host or not port:
        raise InvalidInputError(
            "this process is in no pod of a cluster",
            why="KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not both set",
            remedy="set KUBECONFIG to the path of a kubeconfig",
        )
    token = FileToken(directory / "token")
    token.read()
    authority = _file(directory / "ca.crt")
    namespace = directory / "namespace"
    return Credentials(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        authority=authority,
        token=token,
        namespace=namespace.read_text(encoding="ascii").strip() if namespace.exists() else "",
    )


def from_file(path: Path, context: str = "") -> Credentials:
    """Read a kubeconfig file. Files that it names are looked for from its directory.

    Args:
        path: the file.
        context: another context than the current one.

    Raises:
        InvalidInputError: it cannot be read, or asks for what is not supported.
    """
    return _Kubeconfig(_document(_file(path), str(path)), str(path), path.parent).credentials(context)


def from_secret(secret: RawObject, key: str = "kubeconfig") -> Credentials:
    """Read the kubeconfig in a Secret, in which everything is inline.

    Made anew for every run: whoever renews the token rewrites the Secret.

    Raises:
        NotReadyError: the Secret has no kubeconfig or no token in it yet.
        InvalidInputError: it is not valid, or refers to something outside itself.
    """
    metadata = secret.get("metadata") or {}
    place = f"Secret {metadata.get('namespace', '')}/{metadata.get('name', '')}"
    encoded = (secret.get("data") or {}).get(key)
    if not encoded:
        raise NotReadyError(
            f"{place} holds no kubeconfig yet",
            why=f"it has no data.{key}",
            remedy="wait until whoever manages this Secret has written it",
        )
    return _Kubeconfig(_document(_decoded(encoded, f"{key} in {place}"), place), place, None).credentials("")


class _Kubeconfig:
    """A kubeconfig that was read; ``directory`` is None where no files may be read."""

    def __init__(self, document: Mapping[str, Any], place: str, directory: Path | None) -> None:
        self._document = document
        self._place = place
        self._directory = directory

    def credentials(self, context_name: str) -> Credentials:
        context = self._named("contexts", "context", context_name or str(self._document.get("current-context") or ""))
        cluster = self._named("clusters", "cluster", str(context.get("cluster") or ""))
        user = self._named("users", "user", str(context.get("user") or ""))
        certificate = self._content(user, "client-certificate")
        key = self._content(user, "client-key")
        if bool(certificate) != bool(key):
            raise self._invalid("a client certificate and its key belong together, and one of them is missing")
        return Credentials(
            server=self._server(cluster),
            authority=self._content(cluster, "certificate-authority"),
            token=self._token(user, needed=not certificate),
            certificate=certificate,
            key=key,
            server_name=str(cluster.get("tls-server-name") or ""),
            proxy=str(cluster.get("proxy-url") or ""),
            namespace=str(context.get("namespace") or ""),
        )

    def _named(self, several: str, one: str, name: str) -> Mapping[str, Any]:
        for entry in self._document.get(several) or ():
            if isinstance(entry, Mapping) and entry.get("name") == name:
                content = entry.get(one)
                if isinstance(content, Mapping):
                    return content
        raise self._invalid(f"{several} has no {name!r}" if name else f"it names no {one}")

    def _server(self, cluster: Mapping[str, Any]) -> str:
        server = str(cluster.get("server") or "").rstrip("/")
        if not server.startswith("https://"):
            raise self._invalid(f"the server {server!r} is no https URL, and nothing is sent unencrypted")
        if cluster.get("insecure-skip-tls-verify"):
            raise self._invalid("insecure-skip-tls-verify would send the token to anybody; give certificate-authority")
        return server

    def _token(self, user: Mapping[str, Any], *, needed: bool) -> Token | None:
        for unsupported in ("exec", "auth-provider", "username"):
            if user.get(unsupported):
                raise self._invalid(f"credentials by {unsupported} are not supported; give a token or a certificate")
        if user.get("token"):
            return FixedToken(str(user["token"]))
        if user.get("tokenFile"):
            return FileToken(self._path(str(user["tokenFile"]), "tokenFile"))
        if not needed:
            return None
        raise NotReadyError(
            f"the kubeconfig of {self._place} holds no token yet",
            why="its user has neither token nor client certificate",
            remedy="wait until whoever renews its token has written it",
        )

    def _content(self, section: Mapping[str, Any], name: str) -> bytes:
        if inline := section.get(f"{name}-data"):
            return _decoded(inline, f"{name}-data in {self._place}")
        if path := section.get(name):
            return _file(self._path(str(path), name))
        return b""

    def _path(self, path: str, name: str) -> Path:
        if self._directory is None:
            raise self._invalid(f"{name} names a file, which a kubeconfig from a cluster must not")
        return self._directory / path

    def _invalid(self, why: str) -> InvalidInputError:
        return InvalidInputError(f"the kubeconfig of {self._place} cannot be used", why=why, remedy=_CORRECT)


def _document(content: bytes, place: str) -> Mapping[str, Any]:
    try:
        document = yaml.safe_load(content)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        # The parser's message quotes the text, which holds keys and tokens.
        mark = getattr(error, "problem_mark", None)
        where = f"it is no YAML at line {mark.line + 1}" if mark else "it is no YAML"
        raise InvalidInputError(f"the kubeconfig of {place} cannot be used", why=where, remedy=_CORRECT) from None
    if not isinstance(document, Mapping):
        raise InvalidInputError(f"the kubeconfig of {place} cannot be used", why="it is no mapping", remedy=_CORRECT)
    return document


def _decoded(encoded: Any, what: str) -> bytes:
    try:
        return base64.b64decode(str(encoded), validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInputError(f"{what} cannot be used", why="it is no base64", remedy=_CORRECT) from None


def _file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInputError(
            f"{path} cannot be read", why=error.strerror or str(error), remedy="give another path"
        ) from error
