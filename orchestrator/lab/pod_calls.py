"""The CRI calls that the lab's pods need beside those of a proof; each has a deadline, none is ever stopped early."""

from __future__ import annotations

import importlib
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.cri.client import NOT_YET, RuntimeClient
from orchestrator.cri.faults import CallError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.cri.stop import Stop


@dataclass(frozen=True, slots=True)
class HostAccess:
    """What a container gets of its node, as a Job's pod does: the node's / at ``root``, its processes, and powers.

    Attributes:
        root: where the node's root directory is mounted.
        mounts: files of the node by their path in the container.
        privileged: every capability and device.
        capabilities: those added where it is not privileged, without CAP_.
        user: who its process is.
        host_pid: whether it sees the node's processes.
    """

    root: str = "/host"
    mounts: Mapping[str, str] = field(default_factory=dict)
    privileged: bool = True
    capabilities: tuple[str, ...] = ()
    user: int = 0
    host_pid: bool = True


# containerd's own timeout of a command is whole seconds; ours comes after it, for a containerd that hangs.
_LATER = 10.0


class PodCalls(RuntimeClient):
    """Every call waits, within its deadline, for a containerd that is just starting.

    Pods live longer than a containerd: as the kubelet does, a call asks again where its connection broke, for one that
    was opened before a restart is found to be broken by who sends something.

    Args:
        address: path of the unix socket.
        stop: never requested here.
    """

    def __init__(self, address: str, stop: Stop) -> None:
        super().__init__(address, stop)
        stubs: Any = importlib.import_module("orchestrator.cri.runtime_pb2_grpc")
        # the interface's other service, on the same socket
        self._stub.ImageStatus = stubs.ImageServiceStub(self._channel).ImageStatus

    def has_image(self, name: str, seconds: float) -> bool:
        """Tell whether the CRI knows the image."""
        messages = self._messages
        request = messages.ImageStatusRequest(image=messages.ImageSpec(image=name))
        return bool(self._call("ImageStatus", request, seconds, wait=True).HasField("image"))

    def sandbox_config(
        self,
        *,
        name: str,
        namespace: str,
        uid: str,
        labels: dict[str, str],
        annotations: dict[str, str],
        log_directory: str,
        cgroup_parent: str,
        access: HostAccess | None = None,
    ) -> Any:
        """Return a pod's configuration, which its containers' creation names again; the network is the node's."""
        messages = self._messages
        return messages.PodSandboxConfig(
            metadata=messages.PodSandboxMetadata(name=name, uid=uid, namespace=namespace),
            labels=labels,
            annotations=annotations,
            log_directory=log_directory,
            linux=messages.LinuxPodSandboxConfig(
                cgroup_parent=cgroup_parent,
                security_context=messages.LinuxSandboxSecurityContext(
                    namespace_options=self._namespaces(access), privileged=bool(access and access.privileged)
                ),
            ),
        )

    def run_pod(self, config: Any, handler: str, seconds: float) -> str:
        """Start a sandbox; return its id."""
        request = self._messages.RunPodSandboxRequest(config=config, runtime_handler=handler)
        return str(self._call("RunPodSandbox", request, seconds, wait=True).pod_sandbox_id)

    def sandbox_pid(self, sandbox: str, seconds: float) -> int:
        """The process id that the verbose status names, or 0."""
        return int(json.loads(self.sandbox_info(sandbox, seconds).get("info", "{}")).get("pid") or 0)

    def create_container(
        self,
        sandbox: str,
        sandbox_config: Any,
        *,
        name: str,
        image: str,
        command: Sequence[str],
        environment: dict[str, str],
        annotations: dict[str, str],
        attempt: int,
        log_path: str,
        seconds: float,
        access: HostAccess | None = None,
    ) -> str:
        """Create a container; return its id. The log's path is relative to the pod's log directory."""
        messages = self._messages
        security = messages.LinuxContainerSecurityContext(namespace_options=self._namespaces(access))
        mounts = []
        if access is not None:
            security.privileged = access.privileged
            security.run_as_user.value = access.user
            security.capabilities.add_capabilities.extend(access.capabilities)
            mounts = [messages.Mount(container_path=path, host_path=host) for path, host in access.mounts.items()]
            follows = messages.PROPAGATION_HOST_TO_CONTAINER
            mounts.append(messages.Mount(container_path=access.root, host_path="/", propagation=follows))
        config = messages.ContainerConfig(
            metadata=messages.ContainerMetadata(name=name, attempt=attempt),
            image=messages.ImageSpec(image=image),
            command=command,
            envs=[messages.KeyValue(key=key, value=value.encode()) for key, value in environment.items()],
            labels={**sandbox_config.labels, "io.kubernetes.container.name": name},
            annotations=annotations,
            log_path=log_path,
            mounts=mounts,
            linux=messages.LinuxContainerConfig(security_context=security),
        )
        request = messages.CreateContainerRequest(pod_sandbox_id=sandbox, config=config, sandbox_config=sandbox_config)
        return str(self._call("CreateContainer", request, seconds, wait=True).container_id)

    def _call_once(self, name: str, request: Any, seconds: float, *, wait: bool, stop: Stop) -> Any:
        end = time.monotonic() + seconds
        try:
            return super()._call_once(name, request, seconds, wait=wait, stop=stop)
        except CallError as error:
            if error.code != "UNAVAILABLE" or NOT_YET in error.message:
                raise
        return super()._call_once(name, request, max(0.001, end - time.monotonic()), wait=True, stop=stop)

    def _namespaces(self, access: HostAccess | None) -> Any:
        messages = self._messages
        pid = messages.NODE if access is not None and access.host_pid else messages.POD
        return messages.NamespaceOption(network=messages.NODE, pid=pid)

    def start_container(self, container: str, seconds: float) -> None:
        """Start a created container."""
        self._call("StartContainer", self._messages.StartContainerRequest(container_id=container), seconds, wait=True)

    def stop_container(self, container: str, seconds: float) -> None:
        """Kill a container at once."""
        request = self._messages.StopContainerRequest(container_id=container, timeout=0)
        self._call("StopContainer", request, seconds, wait=True)

    def remove_container(self, container: str, seconds: float) -> None:
        """Remove a container; one that runs is killed, one that is gone is no error."""
        self._call("RemoveContainer", self._messages.RemoveContainerRequest(container_id=container), seconds, wait=True)

    def containers(self, sandbox: str, seconds: float) -> list[str]:
        """Ids of the containers of a sandbox, in whatever state."""
        messages = self._messages
        request = messages.ListContainersRequest(filter=messages.ContainerFilter(pod_sandbox_id=sandbox))
        return [str(item.id) for item in self._call("ListContainers", request, seconds, wait=True).containers]

    def exit_code(self, container: str, seconds: float) -> int | None:
        """The exit code of a container, None while it runs."""
        messages = self._messages
        request = messages.ContainerStatusRequest(container_id=container)
        status = self._call("ContainerStatus", request, seconds, wait=True).status
        return int(status.exit_code) if status.state == messages.CONTAINER_EXITED else None

    def execute(self, container: str, argv: Sequence[str], seconds: int) -> tuple[int, str]:
        """Run a command to its end; its exit code, and what it printed on stdout, then on stderr."""
        request = self._messages.ExecSyncRequest(container_id=container, cmd=list(argv), timeout=seconds)
        reply = self._call("ExecSync", request, seconds + _LATER, wait=True)
        return int(reply.exit_code), (reply.stdout + reply.stderr).decode("utf-8", "replace")

    def stop_sandbox(self, sandbox: str, seconds: float) -> None:
        """Stop a sandbox with its containers."""
        request = self._messages.StopPodSandboxRequest(pod_sandbox_id=sandbox)
        self._call("StopPodSandbox", request, seconds, wait=True)

    def remove_stopped_sandbox(self, sandbox: str, seconds: float) -> None:
        """Remove a sandbox that was stopped."""
        request = self._messages.RemovePodSandboxRequest(pod_sandbox_id=sandbox)
        self._call("RemovePodSandbox", request, seconds, wait=True)
