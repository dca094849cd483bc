"""How what the process tells becomes lines: one JSON object each, or text for people.

The code logs with the standard library (``logging.getLogger(__name__)``) and knows nothing of this; structlog only
renders. What a line is about comes from context variables, so that code far below a reconcile needs no arguments for
it. Threads begin without context: what a reconcile hands to another thread runs in ``contextvars.copy_context()``.

Tracebacks never show the values of variables, and libraries are held to ``info``: at ``debug`` a client of an API
server would log the bodies of its answers, Secrets among them.
"""

from __future__ import annotations

import logging
import sys
import threading
import uuid
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO

import structlog
from structlog.contextvars import bind_contextvars, bound_contextvars, merge_contextvars

if TYPE_CHECKING:
    from collections.abc import Iterator

    from structlog.typing import EventDict, Processor, WrappedLogger

OWN: Final = "orchestrator"
"""The logger above all of this package's."""
UNDECIDED: Final = "undecided"
"""The verb of a reconcile that has not decided on one."""

_log = logging.getLogger(__name__)


def configure(
    level: Literal["debug", "info", "error"] = "info",
    form: Literal["json", "console"] = "json",
    stream: TextIO | None = None,
) -> None:
    """Let the whole process log this way, also threads that die of an error. The last call counts.

    Args:
        level: the least that is told.
        form: of a line.
        stream: where to; standard error if None.
    """
    stream = stream or sys.stderr
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[merge_contextvars],
            processors=_json() if form == "json" else _console(colors=stream.isatty()),
        )
    )
    wanted = logging.getLevelNamesMapping()[level.upper()]
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(wanted, logging.INFO))
    logging.getLogger(OWN).setLevel(wanted)
    logging.captureWarnings(capture=True)
    threading.excepthook = _thread_died


@contextmanager
def reconcile(subject: str, reconcile_id: str = "") -> Iterator[None]:
    """Let every line of this thread tell which reconcile it belongs to, until the context ends.

    Args:
        subject: the object, as ``namespace/name``.
        reconcile_id: tells one reconcile of an object from the next; a random one if empty.
    """
    with bound_contextvars(reconcile_id=reconcile_id or uuid.uuid4().hex[:12], object=subject, verb=UNDECIDED):
        yield


def decided(verb: str) -> None:
    """Let the following lines of this reconcile tell its verb."""
    bind_contextvars(verb=str(verb))


def _json() -> list[Processor]:
    return [_shape, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _console(*, colors: bool) -> list[Processor]:
    return [
        _shape,
        # Not the default: where rich is installed, that shows the values of variables.
        structlog.dev.ConsoleRenderer(
            colors=colors,
            event_key="msg",
            timestamp_key="ts",
            exception_formatter=structlog.dev.plain_traceback,
        ),
    ]


def _shape(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The fields of every line, first and in this order; what the line is about follows."""
    record: logging.LogRecord = event.pop("_record")
    event.pop("_from_structlog")
    shaped: dict[str, Any] = {
        "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "msg": event.pop("event"),
    }
    return {**shaped, **event}


def _thread_died(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is SystemExit or args.exc_value is None:
        return
    name = args.thread.name if args.thread else "unknown"
    _log.error("the thread %s died", name, exc_info=args.exc_value)
