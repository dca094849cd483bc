"""A real kube-apiserver with its etcd on loopback ports, without containers: for tests and for clusters of the lab.

Both run as processes of the caller's and keep everything in one directory. etcd does not wait for its disk, so this is
no place for anything that shall survive. Who may what is RBAC's; the kubeconfig is that of an administrator, by a
client certificate. ServiceAccount admission is off, because no controller makes ServiceAccounts here.
"""

from __future__ import annotations

import base64
import http.client
import os
import signal
import socket
import ssl
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self

from orchestrator.errors import GvisorNodesError
from orchestrator.lab.etcd import etcd
from orchestrator.lab.kubernetes import kubernetes
from orchestrator.lab.paths import replace_file
from orchestrator.lab.program import call, require

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    from orchestrator.lab.kept_build import KeptBuild

BUILD: Final = "make control-plane"
"""The command that builds both programs, for errors."""

_LOOPBACK: Final = "127.0.0.1"
_READY_SECONDS: Final = 120.0  # three on an idle machine
# An API server waits a minute for its clients to end their watches. It keeps nothing, so it need not be waited for.
_STOP_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.1  # neither program tells anybody that it is ready


class ApiServer:
    """Use it in a ``with`` block: both run inside it.

    Args:
        directory: an empty directory of its own, or that of an ApiServer that has ended.
        tokens: bearer tokens and the users they stand for; what those may do is RBAC's.

    Raises:
        MissingComponentError: the programs are not built.
        GvisorNodesError: one of them does not start; the last lines of its log are in it.
    """

    def __init__(self, directory: Path, tokens: Mapping[str, str] | None = None) -> None:
        self._directory = directory
        self._programs = {"etcd": _program("etcd", etcd()), "kube-apiserver": _program("kube-apiserver", kubernetes())}
        self._tokens = dict(tokens or {})
        self._etcd_port, self._etcd_peer_port, self.port = _free_ports(3)
        self._running: dict[str, tuple[subprocess.Popen[bytes], IO[bytes]]] = {}

    def __enter__(self) -> Self:
        self._write_files()
        try:
            self._start("etcd", self._etcd_arguments())
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for name in reversed(tuple(self._running)):  # the API server first: without etcd it does not end
            self._stop(name)

    def start(self) -> None:
        """Start the API server on its port, with what etcd holds, and wait until it is ready."""
        self._start("kube-apiserver", self._api_server_arguments())
        self._await_ready()

    def stop(self) -> None:
        """Stop the API server and wait for its end; etcd stays."""
        self._stop("kube-apiserver")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let the API server neither answer nor hang up for as long as the block lasts."""
        process, _ = self._running["kube-apiserver"]
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"https://{_LOOPBACK}:{self.port}"

    @property
    def authority(self) -> bytes:
        """The certificates (PEM) by which the server's is verified."""
        return (self._directory / "serving" / "apiserver.crt").read_bytes()

    def kubeconfig(self, token: str = "") -> dict[str, Any]:
        """A kubeconfig with everything inline: the administrator's, or of the user with this token."""
        user: dict[str, str] = {"token": token}
        if not token:
            user = {
                "client-certificate-data": _encoded((self._directory / "admin.crt").read_bytes()),
                "client-key-data": _encoded((self._directory / "admin.key").read_bytes()),
            }
        cluster = {"server": self.url, "certificate-authority-data": _encoded(self.authority)}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": "lab", "user": user}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
            "current-context": "lab",
        }

    def _write_files(self) -> None:
        if (self._directory / "admin.crt").exists():
            return
        self._openssl("genrsa", "-out", "accounts.key", "2048")
        request = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        self._openssl(*request, "-x509", "-days", "3650", "-subj", "/CN=lab", "-keyout", "ca.key", "-out", "ca.crt")
        subject = ("-subj", "/O=system:masters/CN=admin")
        self._openssl(*request, *subject, "-keyout", "admin.key", "-out", "admin.csr")
        signer = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial")
        self._openssl("x509", "-req", "-in", "admin.csr", *signer, "-days", "3650", "-out", "admin.crt")
        lines = (f"{token},{user},{user}\n" for token, user in self._tokens.items())
        replace_file(self._directory / "tokens.csv", "".join(lines), mode=0o600)

    def _openssl(self, *arguments: str) -> None:
        names = {"-out", "-keyout", "-in", "-CA", "-CAkey"}
        argv = [require("openssl")]
        for before, argument in zip(("", *arguments), arguments, strict=False):
            argv.append(str(self._directory / argument) if before in names else argument)
        call(argv, what="a certificate for the API server cannot be made", timeout=60)

    def _etcd_arguments(self) -> list[str]:
        client, peer = (f"http://{_LOOPBACK}:{port}" for port in (self._etcd_port, self._etcd_peer_port))
        return [
            f"--data-dir={self._directory / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def _api_server_arguments(self) -> list[str]:
        return [
            f"--etcd-servers=http://{_LOOPBACK}:{self._etcd_port}",
            f"--bind-address={_LOOPBACK}",
            f"--secure-port={self.port}",
            f"--cert-dir={self._directory / 'serving'}",
            f"--client-ca-file={self._directory / 'ca.crt'}",
            *([f"--token-auth-file={self._directory / 'tokens.csv'}"] if self._tokens else []),
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._directory / 'accounts.key'}",
            f"--service-account-signing-key-file={self._directory / 'accounts.key'}",
        ]

    def _start(self, name: str, arguments: Sequence[str]) -> None:
        log = self._log(name).open("ab")
        process = subprocess.Popen(
            [str(self._programs[name]), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C is the caller's, who stops both in their order
        )
        self._running[name] = process, log

    def _stop(self, name: str) -> None:
        process, log = self._running.pop(name)
        with log:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _await_ready(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not self._is_ready():
            for name, (process, _) in self._running.items():
                if process.poll() is not None:
                    raise self._failure(name, f"it exited with {process.returncode}")
            if time.monotonic() > deadline:
                raise self._failure("kube-apiserver", f"it was not ready after {_READY_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)

    def _is_ready(self) -> bool:
        if not (self._directory / "serving" / "apiserver.crt").exists():
            return False
        try:
            context = ssl.create_default_context(cadata=self.authority.decode())
            context.load_cert_chain(self._directory / "admin.crt", self._directory / "admin.key")
            connection = http.client.HTTPSConnection(_LOOPBACK, self.port, context=context, timeout=5)
            try:
                connection.request("GET", "/readyz")
                return connection.getresponse().status == http.HTTPStatus.OK
            finally:
                connection.close()
        except (OSError, http.client.HTTPException):
            return False

    def _failure(self, name: str, why: str) -> GvisorNodesError:
        lines = self._log(name).read_text(errors="replace").splitlines()[-8:]
        return GvisorNodesError(
            f"{name} does not start",
            why="\n".join((why, *lines)),
            remedy=f"look at the whole of {self._log(name)}",
        )

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"


def _program(name: str, build: KeptBuild) -> Path:
    """Where a program is: in the directory that people know from kubebuilder's envtest, else as it is built here."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    return Path(assets or build.find(BUILD)) / name


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server((_LOOPBACK, 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
