"""A real kube-apiserver with its etcd on loopback ports, without containers: for tests and for clusters of the lab.

Both run as processes of the caller's and keep everything in one directory. etcd does not wait for its disk, so this is
no place for anything that shall survive. Who may what is RBAC's; the kubeconfig is that of an administrator, by a
client certificate. ServiceAccount admission is off, because not every server has a controller that makes
ServiceAccounts; privileged pods are allowed, as they are in a Shoot.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final, Self

from orchestrator.lab.control_plane import program
from orchestrator.lab.etcd_server import EtcdServer
from orchestrator.lab.health import is_well
from orchestrator.lab.kubernetes import kubernetes
from orchestrator.lab.paths import replace_file
from orchestrator.lab.ports import LOOPBACK, kept_ports
from orchestrator.lab.process import Process, await_ready
from orchestrator.lab.program import call, require

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import TracebackType

# An API server waits a minute for its clients to end their watches. It keeps nothing, so it need not be waited for.
_STOP_SECONDS: Final = 2.0


class ApiServer:
    """Use it in a ``with`` block: both run inside it.

    Args:
        directory: a directory of its own: an empty one, or that of an ApiServer, which this one then is.
        tokens: bearer tokens and the users they stand for; what those may do is RBAC's.
        store: an etcd that others use too, and that somebody else starts and stops; by default one of its own.
        prefix: below which it keeps everything in that etcd.
        audited: the users whose requests are written down; see :meth:`requests`.

    Raises:
        MissingComponentError: when it is started: the programs are not built.
        GvisorNodesError: one of them does not start; the last lines of its log are in it.
    """

    def __init__(
        self,
        directory: Path,
        tokens: Mapping[str, str] | None = None,
        *,
        store: EtcdServer | None = None,
        prefix: str = "/registry",
        audited: Collection[str] = (),
    ) -> None:
        self._directory = directory
        self._tokens = dict(tokens or {})
        self._owns_store = store is None
        self._store = store or EtcdServer(directory)
        self._prefix = prefix
        self._audited = sorted(audited)
        (self.port,) = kept_ports(directory / "kube-apiserver.ports", 1)
        self.process = Process("kube-apiserver", directory)

    def __enter__(self) -> Self:
        try:
            if self._owns_store:
                self._store.start()
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()  # first: without etcd it does not end
        if self._owns_store:
            self._store.stop()

    def start(self) -> None:
        """Start the API server on its port, with what etcd holds, and wait until it is ready."""
        self.launch()
        self.await_ready()

    def launch(self) -> bool:
        """Start the API server unless it runs, without waiting; tell whether it was started."""
        self._write_files()
        return self.process.start(program(kubernetes()), self._arguments())

    def await_ready(self) -> None:
        """Wait until the API server is ready, and write its kubeconfig."""
        serving = self._directory / "serving" / "apiserver.crt"
        admin = (self._directory / "admin.crt", self._directory / "admin.key")
        await_ready(lambda: is_well(self.port, "/readyz", serving, admin), self.process, self._store.process)
        replace_file(self.kubeconfig_file, json.dumps(self.kubeconfig(), indent=2) + "\n", mode=0o600)

    def stop(self) -> bool:
        """Stop the API server and wait for its end; etcd stays. Tell whether it ran."""
        return self.process.stop(_STOP_SECONDS)

    def frozen(self) -> AbstractContextManager[None]:
        """Let the API server neither answer nor hang up for as long as the block lasts."""
        return self.process.frozen()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"https://{LOOPBACK}:{self.port}"

    @property
    def authority(self) -> bytes:
        """The certificates (PEM) by which the server's is verified."""
        return (self._directory / "serving" / "apiserver.crt").read_bytes()

    @property
    def kubeconfig_file(self) -> Path:
        """The administrator's kubeconfig, once the server was ready."""
        return self._directory / "kubeconfig"

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

    def requests(self, holding: str = "") -> list[dict[str, Any]]:
        """The audit events of what the audited users have asked so far, in their order.

        One is as https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/ has it; a watch is there from its
        beginning, and again at its end.

        Args:
            holding: only those with this text in their JSON, which is faster than to look at all.
        """
        log = self._directory / "audit.log"
        text = log.read_text(encoding="utf-8") if log.exists() else ""
        whole = text[: text.rfind("\n") + 1]  # the last line may be half written
        return [json.loads(line) for line in whole.splitlines() if holding in line]

    def _write_files(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        if self._audited:
            policy = {
                "apiVersion": "audit.k8s.io/v1",
                "kind": "Policy",
                "omitStages": ["RequestReceived"],
                "rules": [{"level": "Metadata", "users": self._audited}, {"level": "None"}],
            }
            replace_file(self._directory / "audit.json", json.dumps(policy))
        if (self._directory / "tokens.csv").exists():  # the last of them
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

    def _arguments(self) -> list[str]:
        return [
            f"--etcd-servers={self._store.url}",
            f"--etcd-prefix={self._prefix}",
            f"--bind-address={LOOPBACK}",
            f"--secure-port={self.port}",
            f"--cert-dir={self._directory / 'serving'}",
            f"--client-ca-file={self._directory / 'ca.crt'}",
            *([f"--token-auth-file={self._directory / 'tokens.csv'}"] if self._tokens else []),
            *(
                [
                    f"--audit-policy-file={self._directory / 'audit.json'}",
                    f"--audit-log-path={self._directory / 'audit.log'}",
                ]
                if self._audited
                else []
            ),
            "--authorization-mode=RBAC",
            "--allow-privileged=true",
            "--disable-admission-plugins=ServiceAccount",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._directory / 'accounts.key'}",
            f"--service-account-signing-key-file={self._directory / 'accounts.key'}",
        ]


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
