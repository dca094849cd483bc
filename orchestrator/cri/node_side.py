"""What runs on the node: a relay to containerd's socket, and a look at one process.

This file is sent to the node as text and run there by the node's own Python (see `command`), so it is one file, uses
the standard library only, and keeps to Python 3.9. It writes nothing and leaves nothing behind; it ends when its
standard input ends, that is, when the connection does. With direct access (no prefix) its functions are called where
they are.

The relay speaks frames on stdin and stdout: one byte kind, a four byte connection number, a four byte length (big
endian), payload.

    O   open a connection to the socket named in the payload
    D   data, in either direction
    C   the connection is closed; from the node the payload says why, empty means it simply ended
    Q   a question, JSON {"verb", "arguments"}; the connection number names it
    A   the answer to it, JSON {"result"} or {"error"}
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

HELLO = "gvisor-nodes-relay"
HEADER = struct.Struct(">cII")
CHUNK = 65536
# A cgroup v1 file without a limit holds the largest page aligned number, about 9.2e18; nobody has a node of 2^60 bytes.
UNLIMITED = 1 << 60


def read_text(path: str) -> str | None:
    """The stripped content of a small file, None where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:  # noqa: PTH123 -- one import less on the node
            return file.read().strip()
    except OSError:
        return None


def cgroup_mounts(root: str) -> dict[str, tuple[str, str]]:
    """Where cgroups are mounted: controller name ("" for cgroup v2) to (root of the mount, mount point).

    For process 1: in a pod our own mounts are others.
    """
    mounts = {}
    for line in (read_text(root + "/proc/1/mountinfo") or "").splitlines():
        left, _, right = line.partition(" - ")
        fields, kind = left.split(), right.split()
        if len(fields) < 5 or len(kind) < 3:  # noqa: PLR2004 -- see proc(5), mountinfo
            continue
        if kind[0] == "cgroup2":
            mounts[""] = (fields[3], root + fields[4])
        elif kind[0] == "cgroup":
            for option in kind[2].split(","):
                mounts[option] = (fields[3], root + fields[4])
    return mounts


def ancestry(mount: tuple[str, str], path: str) -> list[str]:
    """The folders of a cgroup and of everything above it, the cgroup first; empty for one outside of this mount."""
    root, point = mount
    if "/.." in path:
        return []
    if root != "/" and (path == root or path.startswith(root + "/")):
        path = path[len(root) :]
    parts = [part for part in path.split("/") if part]
    return [os.path.join(point, *parts[:depth]) for depth in range(len(parts), -1, -1)]  # noqa: PTH118


def limits(pid: int, root: str = "") -> dict[str, Any]:
    """The cgroup of a process and the limits that hold for it: the smallest on its way up.

    Args:
        pid: of the process.
        root: where /proc and /sys lie, "" for the machine's own.

    Returns:
        cgroup: its path, cgroup_version: 1 or 2, memory_limit: bytes or None, cpu_quota: processors or None.
    """
    paths = {}
    for line in (read_text(f"{root}/proc/{pid}/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path
    mounts = cgroup_mounts(root)

    def folders(controller: str) -> list[str]:
        known = controller in mounts and controller in paths
        return ancestry(mounts[controller], paths[controller]) if known else []

    version = 1 if folders("memory") else 2
    if version == 1:
        memory = [read_text(folder + "/memory.limit_in_bytes") for folder in folders("memory")]
        cpu = [
            f"{read_text(folder + '/cpu.cfs_quota_us')} {read_text(folder + '/cpu.cfs_period_us')}"
            for folder in folders("cpu")
        ]
    else:
        memory = [read_text(folder + "/memory.max") for folder in folders("")]
        cpu = [read_text(folder + "/cpu.max") or "" for folder in folders("")]
    bytes_ = [int(value) for value in memory if value and value.isdigit() and int(value) < UNLIMITED]
    return {
        "cgroup": paths.get("memory" if version == 1 else "", ""),
        "cgroup_version": version,
        "memory_limit": min(bytes_, default=None),
        "cpu_quota": min((quota for quota in map(processors, cpu) if quota is not None), default=None),
    }


def processors(text: str) -> float | None:
    """The processors that "quota period" allows; None for no limit ("max 100000", "-1 100000")."""
    words = text.split()
    if len(words) != 2 or not words[0].isdigit() or not words[1].isdigit() or not int(words[1]):  # noqa: PLR2004
        return None
    return int(words[0]) / int(words[1])


def inspect(pid: int, runsc: str, root: str = "") -> dict[str, Any]:
    """What a process of the node is, from /proc, which names its files as the process itself does.

    Args:
        pid: of the process.
        runsc: the path that its exe is to be compared with.
        root: where the node's root directory is for us.

    Returns:
        pid, exe ("" when the process is gone or not ours to look at), cmdline, kernel, runsc with its links resolved
        as exe has them, and what `limits` says.
    """
    try:
        exe = os.readlink(f"/proc/{pid}/exe")  # noqa: PTH115
    except OSError:
        exe = ""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123
            words = file.read().split(b"\0")
    except OSError:
        words = []
    cmdline = [word.decode("utf-8", "replace") for word in words[:-1]]
    found = {"pid": pid, "exe": exe, "cmdline": cmdline, "kernel": platform.release(), **limits(pid, root)}
    return {**found, "runsc": resolved(runsc, root) if runsc else ""}


def resolved(path: str, root: str) -> str:
    """The path on the node without links, each followed below ``root``, also one with an absolute target."""
    done, left, links = "", path.split("/"), 0
    while left:
        step = os.path.normpath(done + "/" + left.pop(0))
        try:
            target = os.readlink(root + step) if links < 40 else ""  # noqa: PLR2004, PTH115 -- as the kernel gives up
        except OSError:
            target = ""
        if target:
            links += 1
            left = target.split("/") + left
            done = "" if target.startswith("/") else done
        else:
            done = "" if step == "/" else step
    return done or "/"


def flags(programs: list[list[str]], root: str = "", enter: list[str] | None = None) -> dict[str, Any]:
    """Let runsc judge its own flags: run the first of these command lines whose program is there.

    `runsc --root=<nothing> <flags> list` needs no sandbox and takes milliseconds; exit 2 is an unknown flag or a value
    outside an enumeration, 128 a combination that runsc forbids.

    Args:
        programs: command lines with paths of the node.
        root: where the node's root directory is for us.
        enter: what stands before a program that runs on the node.

    Returns:
        argv, rc (None: none of the programs is there), text: the first lines of what it said.
    """
    for argv in programs:
        if not os.path.exists(root + argv[0]):  # noqa: PTH110
            continue
        try:
            done = subprocess.run(
                [*(enter or []), *argv],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=20,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return {"argv": argv, "rc": 126, "text": str(error)}
        text = done.stdout.decode("utf-8", "replace").strip()
        return {"argv": argv, "rc": done.returncode, "text": text[:2000]}
    return {"argv": [], "rc": None, "text": ""}


HELD: list[int] = []


def lock(folder: str, seconds: float, root: str = "") -> dict[str, Any]:
    """Take the node's proof lock, and keep it until this program ends.

    The lock is `flock` on the folder of containerd's socket: no file is made, two controllers see the same one, and
    it is gone with its holder, however that ends. Whoever holds it knows that every proof sandbox is a leftover.

    Returns:
        taken: whether it was to be had within the seconds.
    """
    folder_fd = os.open(root + folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(folder_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                os.close(folder_fd)
                return {"taken": False}
            time.sleep(0.1)  # flock has no deadline of its own
        else:
            HELD.append(folder_fd)
            return {"taken": True}


VERBS: dict[str, Callable[..., dict[str, Any]]] = {"inspect": inspect, "flags": flags, "lock": lock}


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """Answer one question; an exception becomes an answer too, as {"error": text}."""
    try:
        return {"result": VERBS[question["verb"]](**question["arguments"])}
    except Exception as error:  # noqa: BLE001 -- it must reach the person at the other end
        return {"error": f"{type(error).__name__}: {error}"}


class Relay:
    """The node's end of the bridge: frames on stdin and stdout, connections to local sockets."""

    def __init__(self) -> None:
        self.connections: dict[int, socket.socket] = {}
        self.writing = threading.Lock()

    def send(self, kind: bytes, number: int, payload: bytes) -> None:
        """Write one frame; a peer that is gone ends the program."""
        data = HEADER.pack(kind, number, len(payload)) + payload
        with self.writing:
            try:
                while data:
                    data = data[os.write(1, data) :]
            except OSError:
                os._exit(0)

    def open(self, number: int, path: str) -> None:
        """Connect, and pass on what comes; a failure closes the connection with its reason."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(10)
            connection.connect(path)
            connection.settimeout(None)
        except OSError as error:
            self.send(b"C", number, f"{path}: {error.strerror or error}".encode())
            return
        self.connections[number] = connection
        threading.Thread(target=self.listen, args=(number, connection), daemon=True).start()

    def listen(self, number: int, connection: socket.socket) -> None:
        """Pass on everything that the socket says, then that it closed."""
        with contextlib.suppress(OSError):
            while True:
                data = connection.recv(CHUNK)
                if not data:
                    break
                self.send(b"D", number, data)
        self.send(b"C", number, b"")

    def reply(self, number: int, payload: bytes) -> None:
        """Answer a question, in a thread of its own: some take seconds, and the data must flow."""
        self.send(b"A", number, json.dumps(answer(json.loads(payload))).encode())

    def serve(self, token: str) -> None:
        """Say hello, then work until stdin ends.

        Args:
            token: repeated in the greeting, so that nothing printed before by a login shell is taken for it.
        """
        version = ".".join(str(part) for part in sys.version_info[:3])
        os.write(1, f"\n{HELLO} {token} {version}\n".encode())
        frames = os.fdopen(0, "rb", CHUNK)
        while True:
            header = frames.read(HEADER.size)
            if len(header) < HEADER.size:
                os._exit(0)
            kind, number, length = HEADER.unpack(header)
            payload = frames.read(length)
            if kind == b"O":
                self.open(number, payload.decode())
            elif kind == b"Q":
                threading.Thread(target=self.reply, args=(number, payload), daemon=True).start()
            elif number in self.connections:
                with contextlib.suppress(OSError):
                    if kind == b"D":
                        self.connections[number].sendall(payload)
                    else:
                        self.connections.pop(number).shutdown(socket.SHUT_RDWR)


if __name__ == HELLO:
    Relay().serve(globals()["TOKEN"])
