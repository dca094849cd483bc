"""A real kube-apiserver with its etcd on loopback ports, without containers: for tests and for clusters of the lab.

Both run as processes of the caller's and keep everything in one directory. etcd does not wait for its disk, so this is
no place for anything that shall survive. Who may what is RBAC's; the kubeconfig is that of an administrator, by a
client certificate. ServiceAccount admission is off, because not every server has a controller that makes
ServiceAccounts; privileged pods are allowed, as they are in a Shoot.

One that serves nodes (:mod:`orchestrator.lab.cluster_nodes`) listens where they reach it, asks for ServiceAccounts, and
lets a kubelet do what a kubelet may.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final, Self

from orchestrator.lab.certificates import Certificate, ClientAuthority
from orchestrator.lab.control_plane import program
from orchestrator.lab.etcd_server import EtcdServer
from orchestrator.lab.health import is_well
from orchestrator.lab.kubernetes import kubernetes
from orchestrator.lab.paths import replace_file
from orchestrator.lab.ports import LOOPBACK, kept_ports
from orchestrator.lab.process import Process, await_ready

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import TracebackType

# An API server waits for its clients to end their watches. It keeps nothing, so it need not be waited for.
_STOP_SECONDS: Final = 0.0
# It collects garbage more rarely: a quarter of the processor's time of its start less, for a tenth of a gigabyte more.
_VARIABLES: Final = {"GOGC": "400"}

SERVICES: Final = "10.96.0.0/16"
"""The addresses of Services; the first is that of the API server itself, for pods."""

_ADMIN: Final = "admin"
_KUBELET_CLIENT: Final = "apiserver-kubelet"
_MASTERS: Final = "system:masters"
_WITHOUT_NODES: Final = ("--authorization-mode=RBAC", "--disable-admission-plugins=ServiceAccount")
_ANONYMOUS: Final = {
    "apiVersion": "apiserver.config.k8s.io/v1",
    "kind": "AuthenticationConfiguration",
    "anonymous": {"enabled": True, "conditions": [{"path": path} for path in ("/livez", "/readyz", "/healthz")]},
}
"""Who says not who he is may ask whether it is well, and nothing else."""


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
        self.clients = ClientAuthority(directory)
        self._address = LOOPBACK

    def serve_nodes(self, address: str) -> None:
        """Listen at this address of the machine, where nodes come from, when it is started; admit them and their pods.

        ServiceAccounts are asked for then, so it needs a controller manager before it takes any pod.
        """
        self._address = address

    @property
    def serves_nodes(self) -> bool:
        """Whether there may be nodes."""
        return self._address != LOOPBACK

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
        return self.process.start(program(kubernetes()), self._arguments(), variables=_VARIABLES)

    def await_ready(self, *others: Process) -> None:
        """Wait until the API server is ready, and write its kubeconfig; it is an error if one of the others ends."""
        admin = self.clients.signed(_ADMIN)
        identity = (admin.certificate, admin.key)
        await_ready(
            lambda: is_well(self.port, "/readyz", self.authority_file, identity, self._address),
            self.process,
            self._store.process,
            *others,
        )
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
        return f"https://{self._address}:{self.port}"

    @property
    def authority(self) -> bytes:
        """The certificates (PEM) by which the server's is verified."""
        return self.authority_file.read_bytes()

    @property
    def authority_file(self) -> Path:
        """The file of them; it writes it at its first start."""
        return self._directory / "serving" / "apiserver.crt"

    @property
    def account_key(self) -> Path:
        """The file of the key by which tokens of ServiceAccounts are signed."""
        return self._directory / "accounts.key"

    @property
    def kubeconfig_file(self) -> Path:
        """The administrator's kubeconfig, once the server was ready."""
        return self._directory / "kubeconfig"

    def kubeconfig(self, token: str = "") -> dict[str, Any]:
        """A kubeconfig with everything inline: the administrator's, or of the user with this token."""
        return self._kubeconfig({"token": token} if token else _inline(self.clients.signed(_ADMIN)))

    def kubeconfig_of(self, name: str, user: str, group: str) -> dict[str, Any]:
        """A kubeconfig of a user by a certificate, which is kept under this name."""
        return self._kubeconfig(_inline(self.clients.sign(name, user, group)))

    def _kubeconfig(self, user: dict[str, str]) -> dict[str, Any]:
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
        self.clients.make_account_key()
        self.clients.make()
        self.clients.sign(_ADMIN, "admin", _MASTERS)
        self.clients.sign(_KUBELET_CLIENT, "kube-apiserver", _MASTERS)
        replace_file(self._directory / "anonymous.json", json.dumps(_ANONYMOUS) + "\n")
        lines = (f"{token},{user},{user}\n" for token, user in self._tokens.items())
        replace_file(self._directory / "tokens.csv", "".join(lines), mode=0o600)

    def _arguments(self) -> list[str]:
        return [
            f"--etcd-servers={self._store.url}",
            f"--etcd-prefix={self._prefix}",
            f"--bind-address={self._address}",
            f"--secure-port={self.port}",
            f"--cert-dir={self._directory / 'serving'}",
            f"--client-ca-file={self.clients.certificate}",
            *([f"--token-auth-file={self._directory / 'tokens.csv'}"] if self._tokens else []),
            *(
                [
                    f"--audit-policy-file={self._directory / 'audit.json'}",
                    f"--audit-log-path={self._directory / 'audit.log'}",
                ]
                if self._audited
                else []
            ),
            "--allow-privileged=true",
            *(self._arguments_of_nodes() if self.serves_nodes else _WITHOUT_NODES),
            f"--service-cluster-ip-range={SERVICES}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.account_key}",
            f"--service-account-signing-key-file={self.account_key}",
        ]

    def _arguments_of_nodes(self) -> list[str]:
        client = self.clients.signed(_KUBELET_CLIENT)
        return [
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--authentication-config={self._directory / 'anonymous.json'}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-client-certificate={client.certificate}",
            f"--kubelet-client-key={client.key}",
        ]


def _inline(signed: Certificate) -> dict[str, str]:
    return {
        "client-certificate-data": _encoded(signed.certificate.read_bytes()),
        "client-key-data": _encoded(signed.key.read_bytes()),
    }


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
