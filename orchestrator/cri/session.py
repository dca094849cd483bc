"""One process of the prefix, root on the node, with the relay at its other end.

Opening it is a dialogue in plain text (`dialogue`), held in the caller's own thread with a deadline. From the relay's
greeting on there are only frames (`node_side` names them), read by a thread of this object.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import selectors
import signal
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

from orchestrator.cri.command import command_line, program
from orchestrator.cri.dialogue import KEPT, Dialogue
from orchestrator.cri.faults import AccessError, departure
from orchestrator.cri.node_side import CHUNK, HEADER
from orchestrator.errors import MissingComponentError

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.cri.request import Access
    from orchestrator.cri.stop import Stop


class Session:
    """Root on the node: connections to its sockets, and questions to `node_side`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._writing = threading.Lock()
        self._listeners: dict[int, Callable[[bytes, str | None], None]] = {}
        self._answers: dict[int, dict[str, Any]] = {}
        self._news = threading.Condition()
        self._lost = False
        self._numbers = 0
        self._dialogue: Dialogue | None = None
        self._reader: threading.Thread | None = None
        self.python = ""

    def open(self, access: Access, python: str, seconds: float, stop: Stop) -> None:
        """Start the prefix, become root, start the relay.

        Args:
            access: with a non-empty argv.
            python: the node's Python.
            seconds: deadline for all that.
            stop: ends it early.

        Raises:
            InvalidInputError: python or the become command cannot be used (nothing was started).
            MissingComponentError: the prefix's program is not here.
            AccessError: the node did not let us in.
        """
        token = secrets.token_hex(8)
        template = access.become.command if access.become else ""
        argv = [*access.argv, command_line(python, template)]
        self._dialogue = Dialogue(access, token, program(token))
        try:
            # A session of its own: no terminal on which ssh could ask, and Ctrl-C is ours to handle, so that the
            # sandbox is removed over this connection before it ends.
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, **access.env},
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise MissingComponentError(
                f"{argv[0]} cannot be started",
                why=error.strerror or str(error),
                remedy="sudo apt-get install openssh-client" if argv[0].endswith("ssh") else f"install {argv[0]}",
            ) from error
        try:
            with stop.by(self._terminate):
                self._converse(self._process, self._dialogue, time.monotonic() + seconds)
        except BaseException:
            self.close()
            raise
        self.python = self._dialogue.version
        for target in (self._read_frames, self._drain_errors):
            thread = threading.Thread(target=target, daemon=True)
            thread.start()
            self._reader = self._reader or thread

    def connect(self, path: str, listener: Callable[[bytes, str | None], None]) -> int:
        """Open a connection to a unix socket of the node.

        Args:
            path: the socket.
            listener: called with data, or with (b"", reason) once it is closed; "" is an ordinary end.

        Returns:
            The connection's number for `send` and `disconnect`.
        """
        with self._news:
            self._numbers += 1
            number = self._numbers
            self._listeners[number] = listener
        self._frame(b"O", number, path.encode())
        return number

    def send(self, number: int, data: bytes) -> None:
        """Write to a connection."""
        self._frame(b"D", number, data)

    def disconnect(self, number: int) -> None:
        """Close a connection."""
        self._listeners.pop(number, None)
        self._frame(b"C", number, b"")

    def ask(self, verb: str, within: float, /, **arguments: Any) -> dict[str, Any]:
        """Ask `node_side` a question.

        Raises:
            AccessError: the connection is lost, the answer is late, or the node could not do it.
        """
        with self._news:
            self._numbers += 1
            number = self._numbers
        self._frame(b"Q", number, json.dumps({"verb": verb, "arguments": arguments}).encode())
        with self._news:
            self._news.wait_for(lambda: self._lost or number in self._answers, timeout=within)
            reply = self._answers.pop(number, None)
            lost = self._lost
        if reply is None:
            raise AccessError(
                "lost" if lost else "timeout",
                f"the node did not answer ({verb})",
                why=self.last_words() if lost else "",
            )
        return unpack(verb, reply)

    def last_words(self) -> str:
        """What the node printed on stderr, for a person."""
        lines = self._dialogue.said().splitlines() if self._dialogue else []
        return " / ".join(line.strip() for line in lines if line.strip())[-1000:]

    def close(self) -> None:
        """End the process: by closing its stdin, and if that is not enough within two seconds, by signal."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(OSError):
            process.stdin.close()  # type: ignore[union-attr]
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                process.wait(timeout=2)
            except subprocess.TimeoutExpired:
                self._signal(number)
        process.wait()
        # stderr may be held open by an ssh that stays as a connection master: do not wait for its end
        if self._reader is not None:
            self._reader.join(timeout=2)
        for pipe in (process.stdout, process.stderr):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]

    def _terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def _signal(self, number: int) -> None:
        """To the whole process group: a shell as prefix has the command as its child."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)  # type: ignore[union-attr]

    def _converse(self, process: subprocess.Popen[bytes], dialogue: Dialogue, end: float) -> None:
        with selectors.DefaultSelector() as selector:
            for name in ("stdout", "stderr"):
                selector.register(getattr(process, name), selectors.EVENT_READ, name)
            self._write(dialogue.begin())
            while not dialogue.version:
                ready = selector.select(max(0.0, end - time.monotonic()))
                if not ready:
                    raise AccessError(
                        "timeout", "the node did not let us in within the deadline", why=self.last_words()
                    )
                for key, _ in ready:
                    data = os.read(key.fd, CHUNK)
                    if not data:
                        selector.unregister(key.fileobj)
                        if key.data == "stdout":
                            self._drain(selector, dialogue)
                            status = self._exit_status(process)
                            raise departure(status, dialogue.said(), become=bool(dialogue.success))
                    else:
                        self._write(dialogue.hear(key.data, data))

    def _drain(self, selector: selectors.BaseSelector, dialogue: Dialogue) -> None:
        """Take what stderr still has: the reason often comes after the end of stdout."""
        while selector.get_map():
            ready = selector.select(1.0)
            if not ready:
                return
            for key, _ in ready:
                data = os.read(key.fd, CHUNK)
                if not data:
                    selector.unregister(key.fileobj)
                dialogue.texts[key.data] += data

    @staticmethod
    def _exit_status(process: subprocess.Popen[bytes]) -> int | None:
        try:
            return process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            return None

    def _write(self, data: bytes) -> None:
        """Write all of it; a process that has ended is noticed by its closed stdout, with its reason."""
        # ValueError: closed on our side, by a thread that ends the session while another still says goodbye
        with contextlib.suppress(OSError, ValueError):
            while data:
                data = data[self._process.stdin.write(data) :]  # type: ignore[union-attr]

    def _frame(self, kind: bytes, number: int, payload: bytes) -> None:
        with self._writing:
            self._write(HEADER.pack(kind, number, len(payload)) + payload)

    def _read_frames(self) -> None:
        buffer = self._dialogue.rest if self._dialogue else b""
        with contextlib.suppress(OSError, ValueError):
            while True:
                while len(buffer) >= HEADER.size:
                    kind, number, length = HEADER.unpack_from(buffer)
                    end = HEADER.size + length
                    if len(buffer) < end:
                        break
                    self._deliver(kind, number, buffer[HEADER.size : end])
                    buffer = buffer[end:]
                data = self._process.stdout.read(CHUNK)  # type: ignore[union-attr]
                if not data:
                    break
                buffer += data
        with self._news:
            self._lost = True
            self._news.notify_all()
        for number in list(self._listeners):
            self._deliver(b"C", number, b"the connection to the node is lost")

    def _deliver(self, kind: bytes, number: int, payload: bytes) -> None:
        if kind == b"A":
            with self._news:
                self._answers[number] = json.loads(payload)
                self._news.notify_all()
        elif kind == b"D" and number in self._listeners:
            self._listeners[number](payload, None)
        elif kind == b"C":
            listener = self._listeners.pop(number, None)
            if listener:
                listener(b"", payload.decode("utf-8", "replace"))

    def _drain_errors(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while data := self._process.stderr.read(CHUNK):  # type: ignore[union-attr]
                if self._dialogue:
                    self._dialogue.texts["stderr"] = (self._dialogue.texts["stderr"] + data)[-KEPT:]


def unpack(verb: str, reply: dict[str, Any]) -> dict[str, Any]:
    """The result of an answer.

    Raises:
        AccessError: the node could not do it.
    """
    if "error" in reply:
        raise AccessError("lost", f"the node could not answer ({verb})", why=str(reply["error"]))
    result: dict[str, Any] = reply["result"]
    return result
