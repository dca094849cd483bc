"""The program: one JSON object on stdin, one on stdout, exit status 0 unless it crashed.

    python -m orchestrator.cri < request.json

`request` has the fields of the question, `command` those of `access`, `proof` those of the answers. Nothing else is
ever written to stdout; stderr is for gRPC's and Python's own troubles. The password of a request appears neither in an
argv nor in an answer.

The main thread only waits: for the worker's answer, for a signal (SIGTERM, SIGINT, SIGHUP: the sandbox is removed and
the answer says `stopped`), or for the hard deadline, after which it answers for a worker that hangs and leaves without
it. That deadline is the request's timeout plus what the removal of a sandbox may take.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from orchestrator.cri import proof
from orchestrator.cri.outcomes import Verdict
from orchestrator.cri.request import parse
from orchestrator.cri.stop import Stop
from orchestrator.errors import GvisorNodesError

if TYPE_CHECKING:
    from orchestrator.cri.request import Request

# Ending the connection comes after the removal: two waits of two seconds each.
CLOSING_SECONDS = 8.0


def run(request: Request, stop: Stop) -> dict[str, Any]:
    """The answer to a request, by its verb."""
    verbs = {"status": proof.status, "prove": proof.prove, "clean": proof.clean}
    return verbs[request.verb](request, stop)


def fault(request: Request | None, code: str, detail: str, remedy: str = "") -> dict[str, Any]:
    """The answer where the verb came to no end, in the shape of that verb."""
    error = {"code": code, "detail": detail, "remedy": remedy}
    if request is not None and request.verb == "prove":
        outcome = "timeout" if code == "hard-deadline" else "failed"
        # whether the sandbox is gone is not known here, and must not be claimed
        course = proof.Course(request.timeout, removed=False)
        return proof.answer(Verdict(outcome, detail, remedy, code), course)
    # every shape at once: a request that could not be read has no verb
    nothing = proof.answer(Verdict("failed", detail, remedy, code), proof.Course(0.0))
    return {**nothing, "ok": False, "error": error, "version": None, "handlers": {}, "sandbox_image": None}


def scrubbed(answer: dict[str, Any], request: Request | None) -> str:
    """The answer as text, without the password, should a node have printed it."""
    become = request.access.become if request else None
    secret = become.password if become else ""

    def clean(key: str, value: Any) -> Any:
        # codes and outcomes are words of ours, and programs read them: a password "wrong" must not change them
        if isinstance(value, str):
            return value.replace(secret, "***") if secret and key not in {"outcome", "code", "remedy"} else value
        if isinstance(value, list):
            return [clean(key, item) for item in value]
        if isinstance(value, dict):
            return {name: clean(name, item) for name, item in value.items()}
        return value

    # what a node printed may be no valid Unicode; ASCII always gets through
    return json.dumps(clean("", answer))


def main() -> None:
    """Read, work, answer; never returns."""
    stdout = os.dup(1)
    os.dup2(2, 1)
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    request, answers = None, []
    try:
        request = parse(json.load(sys.stdin))
    except ValueError as error:
        answers.append(fault(None, "InvalidInputError", f"the request is no JSON: {error}"))
    except GvisorNodesError as error:
        answers.append(fault(None, type(error).__name__, f"{error.what}: {error.why}", error.remedy))
    if request is not None:
        answers.append(_work(request))
    data = scrubbed(answers[0], request).encode() + b"\n"
    while data:
        data = data[os.write(stdout, data) :]
    # not sys.exit: a thread of gRPC, or a worker that hangs, must not hold the process
    os._exit(0)


def _work(request: Request) -> dict[str, Any]:
    stop = Stop()
    answers: list[dict[str, Any]] = []
    news, bell = socket.socketpair()
    bell.settimeout(0)  # set_wakeup_fd wants it so

    def work() -> None:
        try:
            answers.append(run(request, stop))
        except Exception as error:  # noqa: BLE001 -- the caller gets an answer, whatever it is
            answers.append(fault(request, "crash", f"{type(error).__name__}: {error}"))
        # Who waits may have left with the answer already, and a bell that is full has been rung.
        with contextlib.suppress(OSError):
            bell.send(b"\0")

    # A signal rings the bell as well. Waiting on a lock would lose one that comes just before the wait begins: its
    # handler runs only when the main thread comes back to Python.
    signal.set_wakeup_fd(bell.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stop.request())
    threading.Thread(target=work, daemon=True).start()
    allowed = request.timeout + proof.REMOVAL_SECONDS + CLOSING_SECONDS
    end = time.monotonic() + allowed
    while not answers and (left := end - time.monotonic()) > 0:
        if select.select([news], [], [], left)[0]:
            news.recv(16)
    if answers:
        return answers[0]
    return fault(
        request,
        "hard-deadline",
        f"no end after {allowed:g} s",
        "a sandbox labelled gvisor-nodes/purpose=proof may be left; the next proof on this node removes it",
    )


if __name__ == "__main__":
    main()
