"""What a Job on a node came to, small enough for a container's termination message. Pure.

The kubelet keeps 4096 bytes of that message and cuts where they end, so :func:`render` shortens texts and never JSON.
:func:`parse` reads what a pod on a node wrote, which is a stranger to who reads it: nothing in there is believed before
it is looked at, no text keeps what a terminal or a log could take for its own, and a message that is not whole says
nothing at all. It never raises. The Job is run by ``orchestrator.execution.job``.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

type Action = Literal["apply", "remove", ""]
type JobOutcome = Literal["ok", "changed", "failed", "refused", "invalid", "unreachable", "interrupted", "unknown"]

SCHEMA: Final = 1
LONGEST: Final = 4096
"""Bytes of UTF-8 that the kubelet keeps of a termination message."""
SUCCESSES: Final = frozenset({"ok", "changed"})
PODS: Final = 20
WARNINGS: Final = 10
STEPS: Final = 40

# Bytes of JSON each; the cause gets what the others leave, as the text that is longest and ends in the pod's log too.
_STEP: Final = 100
_TEXT: Final = 480
_RELEASE: Final = 40
_LISTS: Final = {"pods": 560, "warnings": 640, "steps": 480}
_CAUSE: Final = 3000

_FINGERPRINT: Final = re.compile(r"[0-9a-f]{64}")
_ESCAPE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])|\x9b[0-?]*[ -/]*[@-~]")
_MOST: Final = {"generation": 10**9, "restarts": 1000, "pods_total": 10**6, "seconds": 10.0**6}
# Of Unicode's categories: control, format (turns the direction of text), surrogate, private, unassigned, separators.
_UNSHOWN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"})


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What became of one node.

    ``message``, ``cause`` and ``remedy`` are those of ``step``, the one that decided. ``fingerprint`` is that of the
    desired state the Job worked for, empty where it never came to know one. ``proved`` says that the node was proved,
    or that its earlier proof still holds, for exactly that fingerprint. ``pods`` are some of the ``pods_total`` that
    use gVisor where a removal is refused, as "namespace/name". ``action`` is empty where a message said nothing.
    """

    action: Action
    outcome: JobOutcome
    step: str = ""
    message: str = ""
    cause: str = ""
    remedy: str = ""
    release: str = ""
    fingerprint: str = ""
    generation: int | None = None
    proved: bool = False
    restarts: int = 0
    pods: tuple[str, ...] = ()
    pods_total: int = 0
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    steps: Mapping[str, float] = field(default_factory=dict)

    @property
    def succeeded(self) -> bool:
        """Whether what was wanted is so."""
        return self.outcome in SUCCESSES

    @property
    def proves(self) -> bool:
        """Whether a proof can be what this says: after an apply that succeeded, for a fingerprint."""
        return self.proved and self.succeeded and self.action == "apply" and is_fingerprint(self.fingerprint)


def is_fingerprint(text: str) -> bool:
    """Whether the text is a fingerprint of a desired state."""
    return _FINGERPRINT.fullmatch(text) is not None


def render(result: JobResult) -> str:
    """The result as JSON, never more than :data:`LONGEST` bytes, whatever its texts are; :func:`parse` reads it."""
    seconds = {plain(name): _rounded(number) for name, number in result.steps.items()}
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "action": result.action,
        "outcome": result.outcome,
        "step": _fitted(plain(result.step), _STEP),
        "message": _fitted(plain(result.message), _TEXT),
        "cause": "",
        "remedy": _fitted(plain(result.remedy), _TEXT),
        "release": _fitted(plain(result.release), _RELEASE),
        "fingerprint": result.fingerprint if is_fingerprint(result.fingerprint) else "",
        "generation": None if result.generation is None else _counted(result.generation, "generation"),
        "proved": result.proves,
        "restarts": _counted(result.restarts, "restarts"),
        "pods": _listed(result.pods, "pods", PODS),
        "pods_total": _counted(max(result.pods_total, len(result.pods)), "pods_total"),
        "warnings": _listed(result.warnings, "warnings", WARNINGS),
        "seconds": min(_rounded(result.seconds), _MOST["seconds"]),
        "steps": _mapped(seconds),
    }
    document["cause"] = _fitted(plain(result.cause), min(_CAUSE, LONGEST - _size(document)))
    return _json(document)


def parse(text: str) -> JobResult:
    """What a termination message says; outcome ``unknown`` and a message that says why where it says nothing. Total."""
    if not text.strip():
        return _unknown("the Job left no message", "it ended before it could write one")
    try:
        return _read(_document(text))
    except (ValueError, RecursionError) as error:
        return _unknown("the Job's message cannot be understood", _fitted(plain(str(error)), _TEXT))


def _document(text: str) -> Mapping[str, Any]:
    if len(text.encode("utf-8", "replace")) > LONGEST:
        raise ValueError(f"it is longer than {LONGEST} bytes")
    document = json.loads(text, object_pairs_hook=_unique, parse_constant=_refused)
    if not isinstance(document, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - one kind of error for whatever is wrong with a text
    if document.get("schema") != SCHEMA or isinstance(document["schema"], bool):
        raise ValueError(f"its schema is not {SCHEMA}")
    return document


def _read(document: Mapping[str, Any]) -> JobResult:
    def text(name: str, longest: int = _CAUSE) -> str:
        value = document.get(name, "")
        return _fitted(plain(_of(name, value, isinstance(value, str))), longest)

    def texts(name: str, most: int) -> tuple[str, ...]:
        value = document.get(name, [])
        _of(name, value, isinstance(value, list) and all(isinstance(one, str) for one in value))
        return tuple(_listed(value, name, most))

    def number(name: str) -> int:
        value = document.get(name, 0)
        _of(name, value, isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST[name])
        return int(value)

    fingerprint, proved = document.get("fingerprint", ""), document.get("proved", False)
    steps = document.get("steps", {})
    result = JobResult(
        action=_of("action", document.get("action"), document.get("action") in ("apply", "remove")),
        outcome=_of("outcome", document.get("outcome"), document.get("outcome") in get_args(JobOutcome.__value__)),
        step=text("step", _STEP),
        message=text("message", _TEXT),
        cause=text("cause"),
        remedy=text("remedy", _TEXT),
        release=text("release", _RELEASE),
        fingerprint=_of(
            "fingerprint",
            fingerprint,
            isinstance(fingerprint, str) and (not fingerprint or is_fingerprint(fingerprint)),
        ),
        generation=None if document.get("generation") is None else number("generation"),
        proved=_of("proved", proved, isinstance(proved, bool)),
        restarts=number("restarts"),
        pods=texts("pods", PODS),
        pods_total=number("pods_total"),
        warnings=texts("warnings", WARNINGS),
        seconds=_seconds("seconds", document.get("seconds", 0.0)),
        steps=_mapped(
            {plain(name): _seconds("steps", one) for name, one in _of("steps", steps, isinstance(steps, dict)).items()}
        ),
    )
    _of("proved", proved, result.proves == result.proved)
    return result


def _of(name: str, value: Any, fits: bool) -> Any:  # noqa: FBT001 - read aloud: this value of this field, if it fits
    if not fits:
        raise ValueError(f"its field {name} is not what it should be")
    return value


def _seconds(name: str, value: Any) -> float:
    _of(name, value, isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST["seconds"])
    return float(value)


def _unknown(message: str, cause: str) -> JobResult:
    remedy = "see the log of the Job's pod, if it is still there; the node is provisioned again from its journal"
    return JobResult(action="", outcome="unknown", message=message, cause=cause, remedy=remedy)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key is there twice")
    return document


def _refused(name: str) -> None:
    raise ValueError(f"{name} is no number")


def plain(text: str) -> str:
    """The text in one line, without anything that a terminal, a log or a reader could take for more than text."""
    without = _ESCAPE.sub("", text)
    return " ".join("".join(" " if unicodedata.category(one) in _UNSHOWN else one for one in without).split())


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _size(value: object) -> int:
    return len(_json(value).encode())


def _fitted(text: str, longest: int) -> str:
    """The text, or its beginning and a mark that there was more, in at most ``longest`` bytes of JSON with quotes."""
    if _size(text) <= longest:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _size(f"{text[:middle]}…") <= longest else (low, middle - 1)
    return f"{text[:low].rstrip()}…"


def _listed(texts: Iterable[str], name: str, most: int) -> list[str]:
    """As many of the texts as there is room for, each shortened to half of it."""
    kept: list[str] = []
    for text in list(texts)[:most]:
        short = _fitted(plain(text), _LISTS[name] // 2)
        if _size([*kept, short]) > _LISTS[name]:
            break
        kept.append(short)
    return kept


def _mapped(seconds: Mapping[str, float]) -> dict[str, float]:
    kept: dict[str, float] = {}
    for name, number in list(seconds.items())[:STEPS]:
        more = {**kept, _fitted(name, _STEP): number}
        if _size(more) > _LISTS["steps"]:
            break
        kept = more
    return kept


def _counted(number: int, name: str) -> int:
    return min(max(number, 0), int(_MOST[name]))


def _rounded(number: float) -> float:
    return min(round(max(number, 0.0), 2), _MOST["seconds"]) if math.isfinite(number) else 0.0
