"""A real gardener-resource-manager, as the one that Gardener runs for a Shoot.

It reads ManagedResources in a seed and keeps what they hold in a shoot. Of its controllers those run that an extension
has to do with: ManagedResources, their health, the garbage collector of their Secrets, and the requestor of tokens.
None of its webhooks is on.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from orchestrator.lab import gardener
from orchestrator.lab.control_plane import program
from orchestrator.lab.health import is_well
from orchestrator.lab.paths import replace_file
from orchestrator.lab.ports import LOOPBACK, kept_ports
from orchestrator.lab.process import Process, Startable, await_ready
from orchestrator.lab.program import call, require

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from orchestrator.lab.api_server import ApiServer

_STOP_SECONDS: Final = 6.0  # it gives its own parts five
# Source: gardener v1.149.3 cmd/gardener-resource-manager/app/app.go: they win over its configuration.
_VARIABLES: Final = frozenset({"KUBECONFIG", "TARGET_KUBECONFIG"})


class ResourceManager(Startable):
    """Use it in a ``with`` block: it runs inside it.

    Args:
        directory: a directory of its own: an empty one, or that of a ResourceManager, which this one then is.
        seed: where the ManagedResources are; it must have their definition before this one starts.
        shoot: where what they hold goes.
        namespaces: those of the seed that it looks after; none means all.

    Raises:
        MissingComponentError: when it is started: it is not built.
        GvisorNodesError: it does not start; the last lines of its log are in it.
    """

    def __init__(self, directory: Path, seed: ApiServer, shoot: ApiServer, namespaces: Sequence[str] = ()) -> None:
        self._directory = directory
        self._seed = seed
        self._shoot = shoot
        self._namespaces = tuple(namespaces)
        self._ports = kept_ports(directory / "gardener-resource-manager.ports", 3)
        self.process = Process("gardener-resource-manager", directory)

    def start(self) -> None:
        """Start it unless it runs, and wait until it is ready."""
        self.launch()
        self.await_ready()

    def launch(self) -> bool:
        """Start it unless it runs, without waiting; tell whether it was started."""
        self._write_certificate()
        path = self._directory / "configuration.json"
        replace_file(path, json.dumps(self._configuration(), indent=2) + "\n")
        return self.process.start(program(gardener.resource_manager()), [f"--config={path}"], without=_VARIABLES)

    def await_ready(self) -> None:
        """Wait until it is ready: it knows what is in both clusters."""
        servers = self._seed.process, self._shoot.process
        await_ready(lambda: is_well(self._ports[1], "/readyz"), self.process, *servers)

    def stop(self) -> bool:
        """Stop it and wait for its end, for a seed without one; tell whether it ran."""
        return self.process.stop(_STOP_SECONDS)

    def frozen(self) -> AbstractContextManager[None]:
        """Let it do nothing for as long as the block lasts: it is stuck."""
        return self.process.frozen()

    def _configuration(self) -> dict[str, Any]:
        """Source: gardener v1.149.3 pkg/apis/config/resourcemanager/v1alpha1/types.go."""
        webhooks, health, metrics = ({"bindAddress": LOOPBACK, "port": port} for port in self._ports)
        return {
            "apiVersion": "resourcemanager.config.gardener.cloud/v1alpha1",
            "kind": "ResourceManagerConfiguration",
            "sourceClientConnection": {
                "kubeconfig": str(self._seed.kubeconfig_file),
                "namespaces": list(self._namespaces),
            },
            "targetClientConnection": {"kubeconfig": str(self._shoot.kubeconfig_file)},
            "leaderElection": {"leaderElect": False},
            "server": {
                # They are served also where there is none.
                "webhooks": {**webhooks, "tls": {"serverCertDir": str(self._directory)}},
                "healthProbes": health,
                "metrics": metrics,
            },
            "controllers": {"garbageCollector": {"enabled": True}, "tokenRequestor": {"enabled": True}},
        }

    def _write_certificate(self) -> None:
        certificate, key = self._directory / "tls.crt", self._directory / "tls.key"
        if certificate.exists():
            return
        argv = [require("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        argv += ["-nodes", "-days", "3650", "-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)]
        call(argv, what="a certificate for the resource manager cannot be made", timeout=60)
