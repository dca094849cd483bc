"""The command that a Job's container runs: one node, from inside a pod on it. People use ``apply`` and ``remove``.

The log of the pod is a line a step. The result is the container's termination message.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from orchestrator.errors import GvisorNodesError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.execution.job import Verb
    from orchestrator.execution.job_result import JobResult
    from orchestrator.execution.results import HostEvent

EXIT_CODES: Final = {"ok": 0, "changed": 0, "interrupted": 1, "invalid": 2, "refused": 4}
FAILED: Final = 3

app = typer.Typer(
    name="job",
    help="What a Kubernetes Job runs in its pod on a node; the controller makes these Jobs.",
    no_args_is_help=True,
)

Variables = Annotated[Path, typer.Option(help="JSON object of the playbooks' variables: the pool's ConfigMap.")]
Message = Annotated[Path, typer.Option(help="Where the result goes: the container's termination message.")]
HostRoot = Annotated[str, typer.Option(help="Where the host's root directory is mounted in the pod.", metavar="PATH")]


@app.command()
def apply(variables: Variables, message: Message = Path("/dev/termination-log"), host_root: HostRoot = "/host") -> None:
    """Install gVisor on the node of this pod and prove it. NODE_NAME names the node."""
    raise typer.Exit(_run("apply", variables, message, host_root))


@app.command()
def remove(
    variables: Variables, message: Message = Path("/dev/termination-log"), host_root: HostRoot = "/host"
) -> None:
    """Take gVisor away from the node of this pod. NODE_NAME names the node."""
    raise typer.Exit(_run("remove", variables, message, host_root))


def _run(verb: Verb, variables: Path, message: Path, host_root: str) -> int:
    started = time.monotonic()
    cancel = threading.Event()
    with _stopped_by_signals(cancel):
        from orchestrator.execution import job  # noqa: PLC0415 - a signal that comes early is not lost in imports

        try:
            work = job.Job(
                verb=verb,
                node=os.environ.get("NODE_NAME", ""),
                variables=job.read_wish(variables),
                host_root=host_root,
                artifacts=os.environ.get("GVISOR_NODES_ARTIFACTS", ""),
            )
            _say(f"{verb} gVisor {work.desired.release} on {work.node}")
            result = work.run(_show, cancel=cancel)
        except GvisorNodesError as error:
            result = job.failed(verb, error, started)
        except Exception as error:  # noqa: BLE001 - who waits for the Job is told, whatever it was
            traceback.print_exc()
            result = job.failed(verb, error, started)
        _conclude(result, message)
    return EXIT_CODES.get(result.outcome, FAILED)


@contextlib.contextmanager
def _stopped_by_signals(cancel: threading.Event) -> Iterator[None]:
    """Until the run has its own handlers, and after it, SIGTERM (an eviction) is a wish to stop and nothing more."""
    before = {number: signal.signal(number, lambda *_: cancel.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _show(event: HostEvent) -> None:
    if event.status != "started":
        _say(f"{event.step}: {event.status} ({event.seconds:.2f} s)" + (f": {event.message}" if event.message else ""))


def _say(text: str) -> None:
    now = time.strftime("%H:%M:%SZ", time.gmtime())
    print(now, " ".join(text.split()), flush=True)  # noqa: T201 - this is the pod's log


def _conclude(result: JobResult, message: Path) -> None:
    from orchestrator.execution.job_result import render  # noqa: PLC0415 - see _run

    words = [f"{result.outcome} after {result.seconds:.1f} s", result.message, result.cause]
    _say(": ".join(word for word in words if word))
    if result.remedy:
        _say(f"to do: {result.remedy}")
    # In place and in one write: the kubelet has mounted this very file into the container.
    try:
        descriptor = os.open(message, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, render(result).encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        print(f"the result cannot be written to {message}: {error}", file=sys.stderr)  # noqa: T201 - see above
