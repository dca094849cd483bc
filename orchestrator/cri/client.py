"""CRI calls over a local unix socket, each with a deadline, each error a `CallError`.

The authority is fixed to `localhost`: gRPC would otherwise send the socket's escaped path, which containerd's HTTP/2
server refuses as a malformed header.
"""

from __future__ import annotations

import importlib
import time
from typing import TYPE_CHECKING, Any, Self

from orchestrator.cri.faults import CallError
from orchestrator.cri.stop import Stop

if TYPE_CHECKING:
    from types import TracebackType

# A local daemon answers in milliseconds; ten seconds is a daemon that hangs.
ANSWER_SECONDS = 10.0

# A containerd that was just started answers every call so, from the moment its socket is there until it has looked at
# the pods that run: UNKNOWN on 1.x, UNAVAILABLE on 2.x (checkInitialized in its CRI's instrumented_service.go). The
# call was not looked at, so it is made again, within its deadline.
NOT_YET = "server is not initialized yet"
PAUSE = 0.05

# Quick to try again, for a daemon that is just starting. grpc.min_reconnect_backoff_ms stays as it is: it is also how
# long a connection may take to be made, and over a bridge that is a round trip to the node.
OPTIONS = (
    ("grpc.default_authority", "localhost"),
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)


class RuntimeClient:
    """The calls a proof needs.

    Args:
        address: path of the unix socket.
        stop: interrupts every call but those of removal.
    """

    def __init__(self, address: str, stop: Stop) -> None:
        # half of the program's start-up time; by name, since grpc comes without types
        self._grpc: Any = importlib.import_module("grpc")
        from orchestrator.cri import runtime_pb2, runtime_pb2_grpc  # noqa: PLC0415 -- imports grpc

        self._messages: Any = runtime_pb2
        self._channel = self._grpc.insecure_channel(f"unix://{address}", options=OPTIONS)
        self._stub: Any = runtime_pb2_grpc.RuntimeServiceStub(self._channel)
        self._stop = stop

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def version(self, seconds: float, *, wait: bool = False) -> dict[str, str]:
        """Name and version of the runtime: {"runtime_name", "runtime_version"}.

        Args:
            seconds: deadline.
            wait: whether to wait for a runtime that does not answer yet.
        """
        reply = self._call("Version", self._messages.VersionRequest(), seconds, wait=wait)
        return {"runtime_name": str(reply.runtime_name), "runtime_version": str(reply.runtime_version)}

    def status_info(self, seconds: float) -> dict[str, str]:
        """The verbose part of Status: names to texts, "config" among them."""
        return dict(self._call("Status", self._messages.StatusRequest(verbose=True), seconds).info)

    def run_sandbox(self, handler: str, uid: str, labels: dict[str, str], cgroup_parent: str, seconds: float) -> str:
        """Start a sandbox in the node's own network, so that no CNI is needed.

        It gets no hostname: with the node's network it has the node's UTS namespace too, and runc refuses one there.

        Returns:
            Its id.
        """
        messages = self._messages
        config = messages.PodSandboxConfig(
            metadata=messages.PodSandboxMetadata(name="gvisor-nodes-proof", uid=uid, namespace="gvisor-nodes"),
            labels=labels,
            linux=messages.LinuxPodSandboxConfig(
                cgroup_parent=cgroup_parent,
                security_context=messages.LinuxSandboxSecurityContext(
                    namespace_options=messages.NamespaceOption(network=messages.NODE)
                ),
            ),
        )
        request = messages.RunPodSandboxRequest(config=config, runtime_handler=handler)
        return str(self._call("RunPodSandbox", request, seconds).pod_sandbox_id)

    def sandbox_info(self, sandbox: str, seconds: float) -> dict[str, str]:
        """The verbose part of a sandbox's status: names to texts, "info" among them."""
        request = self._messages.PodSandboxStatusRequest(pod_sandbox_id=sandbox, verbose=True)
        return dict(self._call("PodSandboxStatus", request, seconds).info)

    def sandboxes(self, labels: dict[str, str], seconds: float) -> list[str]:
        """Ids of all sandboxes with these labels, in whatever state. Cannot be stopped: removal needs it."""
        chosen = self._messages.PodSandboxFilter(label_selector=labels)
        reply = self._call(
            "ListPodSandbox", self._messages.ListPodSandboxRequest(filter=chosen), seconds, stoppable=False
        )
        return [str(item.id) for item in reply.items]

    def remove_sandbox(self, sandbox: str, seconds: float) -> None:
        """Stop and remove a sandbox; one that is gone is fine (the interface says so). Cannot be stopped."""
        messages = self._messages
        self._call("StopPodSandbox", messages.StopPodSandboxRequest(pod_sandbox_id=sandbox), seconds, stoppable=False)
        self._call(
            "RemovePodSandbox", messages.RemovePodSandboxRequest(pod_sandbox_id=sandbox), seconds, stoppable=False
        )

    def _call(self, name: str, request: Any, seconds: float, *, wait: bool = False, stoppable: bool = True) -> Any:
        end = time.monotonic() + seconds
        while True:
            left = max(0.001, end - time.monotonic())
            try:
                return self._call_once(name, request, left, wait=wait, stop=self._stop if stoppable else Stop())
            except CallError as error:
                if NOT_YET not in error.message or time.monotonic() + PAUSE >= end:
                    raise
            time.sleep(PAUSE)

    def _call_once(self, name: str, request: Any, seconds: float, *, wait: bool, stop: Stop) -> Any:
        future = getattr(self._stub, name).future(request, timeout=seconds, wait_for_ready=wait)
        with stop.by(future.cancel):
            try:
                return future.result()
            except self._grpc.RpcError as error:
                raise CallError(name, error.code().name, error.details() or "") from error
            except self._grpc.FutureCancelledError as error:
                raise CallError(name, "CANCELLED", "cancelled here") from error
