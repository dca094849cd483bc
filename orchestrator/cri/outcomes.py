"""What an attempt amounts to: one of ten outcomes, with the cause and the next step. Pure.

The texts are what containerd 1.6 to 2.4 and runsc really say; where a text is a symptom of something that it does not
name, the remedy names it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.cri import evidence as compare

if TYPE_CHECKING:
    from orchestrator.cri.daemon import HandlerView
    from orchestrator.cri.faults import CallError
    from orchestrator.cri.request import Request

# runsc's exit status for flags it refuses: 2 an unknown one or a bad value, 128 a forbidden combination
REFUSALS = frozenset({2, 128})


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found out, as far as the attempt came.

    Args:
        view: the handler as the running daemon has it, None if it has none of that name.
        flags: answer of `node_side.flags`, None if not asked.
        failure: the call that failed.
        evidence: answer of `node_side.inspect`.
    """

    view: HandlerView | None = None
    flags: dict[str, Any] | None = None
    failure: CallError | None = None
    evidence: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome for programs, the rest for people."""

    outcome: str
    detail: str
    remedy: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A text of RunPodSandbox, and what it means."""

    pattern: re.Pattern[str]
    outcome: str
    remedy: str


def _rule(pattern: str, outcome: str, remedy: str) -> Rule:
    return Rule(re.compile(pattern, re.IGNORECASE | re.DOTALL), outcome, remedy)


SHIM = "put the shim back (apply again); the handler's runtime_type must be its absolute path and the file executable"

RUNSC = "put runsc back (apply again); the options file's binary_name must be an executable file"

RULES = (
    _rule(
        r"no runtime for \S+ is configured",
        "handler-missing",
        "add the handler to containerd's configuration and restart containerd (apply does both)",
    ),
    _rule(r"failed to resolve runtime path|binary not installed|invalid runtime name", "shim-missing", SHIM),
    _rule(
        r"failed to get sandbox image|failed to ensure sandbox image|failed to pull image",
        "pause-image-missing",
        "let the node pull its pause image (`ctr -n k8s.io images pull IMAGE`), import it, or set the sandbox image "
        "in containerd's configuration to one that is there",
    ),
    _rule(
        r'dial unix \{"version"',
        "failed",
        "this shim needs containerd 1.7 or newer: choose a gVisor release up to 20260224, or upgrade containerd",
    ),
    _rule(
        r"decode config file",
        "failed",
        "repair the handler's options file (runsc.toml): every value of [runsc_config] is a quoted string",
    ),
    _rule(
        r"invalid systemd path|expected cgroupsPath to be of format",
        "failed",
        "runsc's systemd-cgroup and the cgroup parent do not fit: with systemd-cgroup the parent must be a slice",
    ),
    _rule(
        r"waiting for sandbox to start: EOF",
        "failed",
        "runsc must be a static binary, and all of gvisor-bin of the same release: `gvisor-nodes releases verify`",
    ),
    _rule(
        r"failed to set OOM Score on shim",
        "failed",
        "the shim may not lower its OOM score: run containerd with CAP_SYS_RESOURCE",
    ),
    _rule(
        r"unknown platform",
        "flags-refused",
        "correct runsc_flags: this release does not know that platform",
    ),
    # `start` is the shim itself; errors of `create shim task` come from a shim that works
    _rule(
        r"failed to start shim: .*(no such file|not found|file does not exist|permission denied|exec format error)",
        "shim-missing",
        SHIM,
    ),
    _rule(r"fork/exec \S+: (no such file|permission denied)", "failed", RUNSC),
)
# runsc ended before it could log: refused flags, or a runsc that cannot be executed; the text does not say which.
SILENT = re.compile(r"did not terminate successfully \(unable to retrieve OCI runtime error")


def classify(facts: Facts, request: Request) -> Verdict:
    """Judge an attempt.

    Args:
        facts: what is known; a proof has evidence, everything else has a failure, a refusal or no handler.
        request: what was wanted.
    """
    if facts.failure is None and facts.evidence is not None:
        return _judge(facts.evidence, facts.view, request)
    if facts.flags is not None and facts.flags.get("rc") in REFUSALS:
        text = str(facts.flags["text"]).partition("\nUsage:")[0].strip()
        return Verdict(
            "flags-refused",
            f"runsc {request.expect.release or 'on the node'} refuses its flags: {text} "
            f"(`{' '.join(facts.flags['argv'])}` exits {facts.flags['rc']})",
            "correct runsc_flags; `gvisor-nodes plan` names the flags that this release knows",
            f"exit-{facts.flags['rc']}",
        )
    if facts.failure is not None:
        verdict = _failure(facts.failure, facts.flags, request)
        differs = difference(facts.view, request)
        if differs and verdict.outcome != "cri-unavailable":
            return Verdict(verdict.outcome, f"{verdict.detail}; {differs}", verdict.remedy, verdict.code)
        return verdict
    if facts.view is None:
        return Verdict(
            "handler-missing",
            f"the running containerd has no handler {request.handler!r}",
            "add it to containerd's configuration and restart containerd (apply does both)",
        )
    return Verdict("failed", "the attempt came to no end")


def unreachable(detail: str, remedy: str, code: str) -> Verdict:
    """The verdict where the runtime was never asked."""
    return Verdict("cri-unavailable", detail, remedy, code)


def difference(view: HandlerView | None, request: Request) -> str:
    """In what the running daemon's handler is not the wanted one; "" if in nothing."""
    if view is None:
        return f"containerd runs without a handler {request.handler!r}"
    pairs = (
        ("runtime_type", view.runtime_type, request.expect.runtime_type),
        ("ConfigPath", view.config_path, request.expect.config_path),
    )
    return ", ".join(
        f"the running containerd's {name} of {request.handler!r} is {has!r}, not {wanted!r}"
        for name, has, wanted in pairs
        if wanted and has != wanted
    )


def _failure(failure: CallError, flags: dict[str, Any] | None, request: Request) -> Verdict:
    detail = f"{failure.call}: {failure.message}"
    if failure.code == "DEADLINE_EXCEEDED":
        return Verdict(
            "timeout",
            f"{failure.call} gave no answer within the deadline ({request.timeout:g} s in all)",
            "look at `journalctl -u containerd` of this minute: a shim or runsc hangs (containerd 1.7 holds a failed "
            "start for 60 s before it says why, so a timeout above that shows the reason)",
            failure.code,
        )
    if failure.code == "UNIMPLEMENTED":
        return unreachable(
            f"{detail} (containerd runs, but without its CRI plugin)",
            "`journalctl -u containerd` says why the plugin io.containerd.grpc.v1.cri did not load; often the default "
            "runtime is missing from the configuration",
            failure.code,
        )
    if failure.code == "UNAVAILABLE":
        return unreachable(
            detail,
            "the socket is root's: log in as root, or become root"
            if "permission denied" in failure.message.lower()
            else "check `systemctl status containerd` and that the socket path is right",
            failure.code,
        )
    verdict = _silent(failure, flags) or next(
        (
            Verdict(rule.outcome, detail, rule.remedy, failure.code)
            for rule in RULES
            if rule.pattern.search(failure.message)
        ),
        None,
    )
    return verdict or Verdict(
        "failed",
        detail,
        "look at `journalctl -u containerd`, and set runsc_flags debug and debug-log for runsc's own words",
        failure.code,
    )


def _silent(failure: CallError, flags: dict[str, Any] | None) -> Verdict | None:
    """The verdict where runsc ended without a word, by what its own check of the flags gave; None elsewhere."""
    if not SILENT.search(failure.message) or flags is None or flags.get("rc") is None:
        return None
    detail = f"{failure.call}: {failure.message}"
    if flags["rc"] == 0:
        return Verdict(
            "flags-refused",
            f"{detail} (the flags of runsc_flags are not the reason: runsc takes them)",
            "look at [runsc_config] of the handler's options file: runsc refuses a flag that is set there",
            failure.code,
        )
    said = f"`{' '.join(flags['argv'])}` exits {flags['rc']}: {flags['text']}"
    return Verdict("failed", f"{detail} ({said})", RUNSC, failure.code)


def _judge(evidence: dict[str, Any], view: HandlerView | None, request: Request) -> Verdict:
    exe, words = compare.executable(evidence), evidence.get("cmdline") or []
    if not exe:
        return Verdict(
            "failed",
            f"the sandbox process {evidence.get('pid')} was gone before it could be looked at",
            "see whether something removes unknown pods (the kubelet does), and prove again",
        )
    wanted = request.expect.runsc
    ours = compare.is_release(evidence, wanted) if wanted else True
    if not compare.is_gvisor(evidence):
        return Verdict(
            "not-gvisor",
            f"handler {request.handler!r} runs {exe} ({' '.join(words[:1])!r}), which is no gVisor sandbox"
            + (f"; {differs}" if (differs := difference(view, request)) else ""),
            "the handler's runtime_type must be gVisor's shim: apply again",
        )
    if not ours:
        return Verdict(
            "wrong-release",
            f"the sandbox runs {exe}, not {wanted}"
            + (f" of release {request.expect.release}" if request.expect.release else ""),
            "apply again; if it stays, something else writes the current generation or runsc.toml's binary_name",
        )
    faults = compare.lacking(request.expect.flags, words)
    if faults:
        return Verdict(
            "failed",
            f"the sandbox runs without wanted flags: {', '.join(faults)}",
            "apply again; if it stays, look for another writer of the current generation's flags",
            "flags-differ",
        )
    differs = difference(view, request)
    if differs:
        return Verdict(
            "handler-missing",
            differs,
            "containerd has not been restarted since its configuration changed, or another file overrides ours",
            "handler-differs",
        )
    return Verdict("proved", f"{exe} runs sandboxes of handler {request.handler!r}")
