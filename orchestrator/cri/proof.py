"""One attempt to run a sandbox with a handler, and to say what it was.

The order matters. A call that anybody would answer comes first, so that a runtime that cannot be asked is not mistaken
for anything else. Then the lock: with it in hand every sandbox that carries our label is what a killed proof left,
and goes. Then the flags, asked of runsc itself, because containerd's error for a refused flag has no reason in it and
on 1.7 may come a minute late. Then the sandbox, one look at its process, and its removal, which has a deadline of its
own and is done whatever happened.
"""

from __future__ import annotations

import json
import posixpath
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.cri import daemon, outcomes
from orchestrator.cri.access import reach
from orchestrator.cri.client import ANSWER_SECONDS, RuntimeClient
from orchestrator.cri.faults import AccessError, CallError
from orchestrator.errors import GvisorNodesError

if TYPE_CHECKING:
    from orchestrator.cri.access import Node
    from orchestrator.cri.request import Request
    from orchestrator.cri.stop import Stop

# Selectors compare values, so what all proofs share and what tells one from another are two labels.
OURS = {"gvisor-nodes/purpose": "proof"}
LABEL = "gvisor-nodes/proof"
# Getting in: an SSH handshake and a sudo are seconds even on a busy node.
ACCESS_SECONDS = 30.0
# A stop is 0.3 s with the slowest shim; the rest is for a node that is busy.
REMOVAL_SECONDS = 25.0
# The kubelet removes pods that it does not know; a proof that it won the race against is simply done again.
ATTEMPTS = 3


@dataclass(slots=True)
class Course:
    """What happened, as far as it came; the answer is made of it."""

    seconds_allowed: float
    started: float = field(default_factory=time.monotonic)
    view: daemon.HandlerView | None = None
    flags: dict[str, Any] | None = None
    evidence: dict[str, Any] | None = None
    leftovers: int = 0
    removed: bool = True

    def left(self) -> float:
        """Seconds until the deadline."""
        return self.started + self.seconds_allowed - time.monotonic()


def status(request: Request, stop: Stop) -> dict[str, Any]:
    """Ask the runtime what it is and which handlers it serves.

    Returns:
        {"ok", "version", "handlers", "sandbox_image", "error"}, as JSON; error is null or {"code", "detail", "remedy"}.
    """
    course = Course(request.timeout)
    try:
        with reach(request, min(ACCESS_SECONDS, course.left()), stop) as node, RuntimeClient(node.address, stop) as cri:
            try:
                version, view = _version(request, course, cri), _view(course, cri)
            except CallError as error:
                verdict = outcomes.classify(outcomes.Facts(failure=_explained(error, node)), request)
                return _no_status(verdict.code, verdict.detail, verdict.remedy)
    except GvisorNodesError as error:
        return _no_status(_code(error), *_words(error))
    handlers = {
        name: {"runtime_type": handler.runtime_type, "config_path": handler.config_path}
        for name, handler in view.handlers.items()
    }
    return {"ok": True, "version": version, "handlers": handlers, "sandbox_image": view.sandbox_image, "error": None}


def clean(request: Request, stop: Stop) -> dict[str, Any]:
    """Remove every sandbox that a killed proof left, once no proof runs.

    Returns:
        {"ok", "removed": number, "error"}, as JSON.
    """
    course = Course(request.timeout)
    try:
        with reach(request, min(ACCESS_SECONDS, course.left()), stop) as node, RuntimeClient(node.address, stop) as cri:
            try:
                _version(request, course, cri)
                _lock(request, course, node)
                removed, stuck = _sweep(cri, course)
            except CallError as error:
                verdict = outcomes.classify(outcomes.Facts(failure=_explained(error, node)), request)
                return _not_clean(verdict.code, verdict.detail, verdict.remedy)
    except GvisorNodesError as error:
        return _not_clean(_code(error), *_words(error))
    if stuck:
        return _not_clean("stuck", f"cannot be removed: {', '.join(stuck)}", "see `journalctl -u containerd`", removed)
    return {"ok": True, "removed": removed, "error": None}


def prove(request: Request, stop: Stop) -> dict[str, Any]:
    """Run a sandbox and judge it.

    Returns:
        {"outcome", "code", "detail", "remedy", "seconds", "evidence", "removed", "leftovers"}, as JSON.
    """
    course = Course(request.timeout)
    try:
        with reach(request, min(ACCESS_SECONDS, course.left()), stop) as node, RuntimeClient(node.address, stop) as cri:
            failure = None
            try:
                _attempt(request, course, node, cri)
            except CallError as error:
                failure = _explained(error, node)
            facts = outcomes.Facts(course.view, course.flags, failure, course.evidence)
            verdict = outcomes.classify(facts, request)
    except AccessError as error:
        verdict = _refused(error, course)
    except GvisorNodesError as error:
        verdict = outcomes.unreachable(*_words(error), _code(error))
    return answer(verdict, course)


def answer(verdict: outcomes.Verdict, course: Course) -> dict[str, Any]:
    """The answer to `prove`, as JSON."""
    evidence = {key: value for key, value in (course.evidence or {}).items() if key != "runsc"}
    return {
        "outcome": verdict.outcome,
        "code": verdict.code,
        "detail": verdict.detail,
        "remedy": verdict.remedy,
        "seconds": round(time.monotonic() - course.started, 3),
        "evidence": evidence,
        "removed": course.removed,
        "leftovers": course.leftovers,
    }


def _attempt(request: Request, course: Course, node: Node, cri: RuntimeClient) -> None:
    _version(request, course, cri)
    _lock(request, course, node)
    view = _view(course, cri)
    course.leftovers, _ = _sweep(cri, course)
    course.view = view.handlers.get(request.handler)
    if course.view is None:
        return
    course.flags = _flags(request, node)
    if course.flags.get("rc") in outcomes.REFUSALS:
        return
    for _ in range(ATTEMPTS):
        course.evidence = _sandbox(request, course, node, cri)
        if course.evidence["exe"] or course.left() <= 0:
            return


def _sandbox(request: Request, course: Course, node: Node, cri: RuntimeClient) -> dict[str, Any]:
    """Run one sandbox, look at it, remove it."""
    uid = str(uuid.uuid4())
    labels = {LABEL: uid}
    try:
        sandbox = cri.run_sandbox(request.handler, uid, {**OURS, **labels}, request.cgroup_parent, course.left())
        try:
            info = json.loads(cri.sandbox_info(sandbox, min(ANSWER_SECONDS, course.left())).get("info", "{}"))
            pid = int(info.get("pid") or 0)
        except (ValueError, AttributeError):
            pid = 0
        return node.ask("inspect", ANSWER_SECONDS, pid=pid, runsc=request.expect.runsc)
    finally:
        course.removed = _remove(cri, labels, time.monotonic() + REMOVAL_SECONDS)


def _remove(cri: RuntimeClient, labels: dict[str, str], end: float) -> bool:
    """Remove the sandboxes of this proof until there is none.

    They are found by label, since a call that ran into its deadline gave no id but may have made a sandbox.
    """
    while True:
        try:
            found = cri.sandboxes(labels, min(ANSWER_SECONDS, end - time.monotonic()))
            for sandbox in found:
                cri.remove_sandbox(sandbox, max(1.0, end - time.monotonic()))
        except CallError:
            found = ["unknown"]
        if not found:
            return True
        if time.monotonic() >= end:
            return False
        time.sleep(0.05)  # between two looks at the list; the runtime offers nothing to wait on


def _sweep(cri: RuntimeClient, course: Course) -> tuple[int, list[str]]:
    """Remove what earlier proofs left; the lock is held, so none of them is still at work.

    Returns:
        How many went, and the ids of those that would not: they must not stop a proof.
    """
    stuck = []
    found = cri.sandboxes(OURS, ANSWER_SECONDS)
    for sandbox in found:
        try:
            cri.remove_sandbox(sandbox, min(ANSWER_SECONDS, max(1.0, course.left())))
        except CallError:
            stuck.append(sandbox)
    return len(found) - len(stuck), stuck


def _version(request: Request, course: Course, cri: RuntimeClient) -> dict[str, str]:
    seconds = course.left() if request.wait else min(ANSWER_SECONDS, course.left())
    return cri.version(seconds, wait=request.wait)


def _view(course: Course, cri: RuntimeClient) -> daemon.DaemonView:
    return daemon.read(cri.status_info(min(ANSWER_SECONDS, course.left())))


def _flags(request: Request, node: Node) -> dict[str, Any]:
    """Let runsc judge its flags: through the dispatcher, which adds those of new pods, else the wanted ones."""
    programs = []
    if request.expect.directory:
        programs.append([posixpath.join(request.expect.directory, "runsc"), "--root=/nonexistent", "list"])
    if request.expect.runsc:
        programs.append([request.expect.runsc, "--root=/nonexistent", *request.expect.flags, "list"])
    return node.ask("flags", 30.0, programs=programs)


def _lock(request: Request, course: Course, node: Node) -> None:
    seconds = course.left()
    folder = posixpath.dirname(request.socket)
    if not node.ask("lock", seconds + 5, folder=folder, seconds=seconds)["taken"]:
        raise AccessError(
            "timeout",
            "another proof holds this node",
            why=f"the lock on {folder} was not free within {request.timeout:g} s",
            remedy="wait for the other run, then prove again",
        )


def _refused(error: AccessError, course: Course) -> outcomes.Verdict:
    if error.code == "stopped":
        left = "the sandbox is removed" if course.removed else "the sandbox could not be removed"
        return outcomes.Verdict("failed", f"stopped on request; {left}", "prove again", "stopped")
    return outcomes.unreachable(*_words(error), error.code)


def _explained(error: CallError, node: Node) -> CallError:
    """An unreachable socket with the node's own reason instead of gRPC's."""
    if error.code == "UNAVAILABLE" and node.fault:
        return CallError(error.call, error.code, node.fault)
    return error


def _code(error: GvisorNodesError) -> str:
    return error.code if isinstance(error, AccessError) else type(error).__name__


def _words(error: GvisorNodesError) -> tuple[str, str]:
    return f"{error.what}: {error.why}" if error.why else error.what, error.remedy


def _error(code: str, detail: str, remedy: str) -> dict[str, str]:
    return {"code": code, "detail": detail, "remedy": remedy}


def _not_clean(code: str, detail: str, remedy: str, removed: int = 0) -> dict[str, Any]:
    return {"ok": False, "removed": removed, "error": _error(code, detail, remedy)}


def _no_status(code: str, detail: str, remedy: str) -> dict[str, Any]:
    error = _error(code, detail, remedy)
    return {"ok": False, "version": None, "handlers": {}, "sandbox_image": None, "error": error}
