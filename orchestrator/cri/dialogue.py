"""The text between a prefix process and us before its relay greets: a prompt, a marker, noise, and the greeting.

Pure: it is told what was heard and says what to send. The pipes and the deadline are in `session`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cri.faults import missing_password, wrong_password
from orchestrator.cri.node_side import HELLO

if TYPE_CHECKING:
    from orchestrator.cri.request import Access

# What a node prints before it greets is for a person; more than this of it is noise.
KEPT = 8192


class Dialogue:
    """The text before the greeting: what to answer to it.

    Args:
        access: with the become method, if any.
        token: the one that the greeting must repeat.
        line: what to send once we are root (the relay's program).
    """

    def __init__(self, access: Access, token: str, line: bytes) -> None:
        become = access.become
        self.prompt = become.prompt.strip().encode() if become else b""
        self.password = become.password.encode() if become else b""
        self.success = become.success.encode() if become else b""
        self.greeting = f"{HELLO} {token} ".encode()
        self.line = line
        self.texts = {"stdout": b"", "stderr": b""}
        self.seen = {"stdout": 0, "stderr": 0}
        self.answered = False
        self.root = False
        self.version = ""
        self.rest = b""

    def begin(self) -> bytes:
        """What to send at once: the program, unless a marker has to come first."""
        if self.success:
            return b""
        self.root = True
        return self.line

    def hear(self, stream: str, data: bytes) -> bytes:
        """Take what a stream said.

        Returns:
            What to write to stdin now; `version` is set once the relay has greeted, `rest` is what followed.

        Raises:
            AccessError: a password is asked for that we do not have, or again.
        """
        self.texts[stream] += data
        if not self.root:
            if stream == "stdout" and any(
                self.success in line.rstrip() for line in self.texts[stream].splitlines(keepends=True)
            ):
                self.root = True
                self.seen[stream] = self.texts[stream].index(self.success) + len(self.success)
                return self.line
            return self._password(stream)
        if stream == "stdout":
            self._greeted()
        return b""

    def said(self) -> str:
        """Everything that was printed, without the greeting and without the password."""
        text = (self.texts["stderr"][-KEPT:] + b"\n" + self.texts["stdout"][-KEPT:]).decode("utf-8", "replace")
        for word in (self.password, self.success, self.prompt):
            if word:
                text = text.replace(word.decode("utf-8", "replace"), "")
        return text

    def _password(self, stream: str) -> bytes:
        new = self.texts[stream][self.seen[stream] :]
        if not self.prompt or not any(line.strip().startswith(self.prompt) for line in new.splitlines()):
            return b""
        self.seen[stream] = len(self.texts[stream])
        if self.answered:
            raise wrong_password("it was asked for a second time")
        if not self.password:
            raise missing_password("the become method asked for it")
        self.answered = True
        return self.password + b"\n"

    def _greeted(self) -> None:
        text = self.texts["stdout"]
        start = text.find(self.greeting)
        end = text.find(b"\n", start)
        if start < 0 or end < 0:
            return
        self.version = text[start + len(self.greeting) : end].decode("utf-8", "replace")
        self.texts["stdout"], self.rest = text[:start], text[end + 1 :]
