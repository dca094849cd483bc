"""A local unix socket whose other end is containerd's socket on the node.

gRPC can only dial an address, so the frames of a `Session` are offered as one: a socket in a folder of ours (mode
0700, so nobody else reaches the node's root socket through it), removed at the end.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cri.node_side import CHUNK

if TYPE_CHECKING:
    from orchestrator.cri.session import Session

# sun_path holds 108 bytes with its final zero (unix(7)); a folder below a long TMPDIR would not fit.
LONGEST = 107


class Bridge:
    """Listens until closed; every connection made to `path` is one to the node's socket.

    Frames have no flow control of their own: a connection that nobody reads holds up the others. gRPC uses one, and
    reads it.

    Args:
        session: an open one.
        target: the socket on the node.
    """

    def __init__(self, session: Session, target: str) -> None:
        self.fault = ""
        self._session = session
        self._target = target
        self._folder = short_folder()
        self.path = str(self._folder / "s")
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(8)
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close every connection and remove the socket."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=2)
        self._listener.close()
        for connection in list(self._open):
            self._hang_up(connection)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.add(connection)
                threading.Thread(target=self._carry, args=(connection,), daemon=True).start()

    def _carry(self, connection: socket.socket) -> None:
        def heard(data: bytes, closed: str | None) -> None:
            if closed is not None:
                self.fault = closed or self.fault
                self._hang_up(connection)
                return
            with contextlib.suppress(OSError):
                connection.sendall(data)

        number = self._session.connect(self._target, heard)
        with contextlib.suppress(OSError):
            while data := connection.recv(CHUNK):
                self._session.send(number, data)
        self._session.disconnect(number)
        connection.close()
        self._open.discard(connection)

    @staticmethod
    def _hang_up(connection: socket.socket) -> None:
        # shutdown wakes the thread that reads it, which then closes it
        with contextlib.suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def short_folder() -> Path:
    """A new folder of mode 0700 in which a socket's path is short enough."""
    for base in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108 -- mkdtemp makes it private
        if base and os.path.isdir(base) and os.access(base, os.W_OK) and len(base.encode()) < LONGEST - 24:  # noqa: PTH112
            return Path(tempfile.mkdtemp(prefix="gvn-", dir=base))
    return Path(tempfile.mkdtemp(prefix="gvn-", dir="/tmp"))
