"""Errors for the person who must act: what failed, why, and what to do next.

Every error the product raises on purpose is a :class:`GvisorNodesError`. Its class carries the decision (is it the
caller's input, a refusal that left everything as it was, or a failure), its fields carry the text. The command line
maps the class to an exit code in one place: ``exit_code``.
"""

from __future__ import annotations

from typing import ClassVar


class GvisorNodesError(Exception):
    """Something failed that a person must look at.

    Args:
        what: what was attempted and did not work, one sentence without a full stop.
        why: the cause, as near to the original words as is useful.
        remedy: the next thing to do, if possible a command.
        host: the inventory name of the host it happened on, if on one.
        step: the step of the change it happened in, if in one.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, why: str = "", remedy: str = "", host: str = "", step: str = "") -> None:
        self.what = what
        self.why = why
        self.remedy = remedy
        self.host = host
        self.step = step
        super().__init__(what)

    def __str__(self) -> str:
        where = " ".join(part for part in (self.host, f"[{self.step}]" if self.step else "") if part)
        text = f"{where}: {self.what}" if where else self.what
        if self.why:
            text += f": {self.why}"
        if self.remedy:
            text += f"\n  to do: {self.remedy}"
        return text

    @property
    def line(self) -> str:
        """The same text in one line, for logs."""
        return str(self).replace("\n", " ")


class InvalidInputError(GvisorNodesError):
    """What was given (a flag, a value, a file, a release) is not valid. Nothing was changed."""

    exit_code: ClassVar[int] = 2


class ConfigurationError(InvalidInputError):
    """What the owner of an object configured is not valid, and trying again does not help. Nothing was changed."""


class RefusedError(GvisorNodesError):
    """The input is valid, the state of the world forbids it. Nothing was changed."""

    exit_code: ClassVar[int] = 4


class NotReadyError(GvisorNodesError):
    """Something that this depends on is not ready yet; the same thing, tried later, can succeed."""


class StillThereError(NotReadyError):
    """Objects that shall be gone are not gone yet: whoever has to remove them has not done so."""


class MissingComponentError(GvisorNodesError):
    """A program or file this machine lacks; the remedy is the command that installs it."""
