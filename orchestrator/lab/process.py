"""Programs of the lab that run until they are told to end, whoever tells them: this process or one that comes later.

Beside its log a running program has a file with its number and the time of its start. The kernel gives the number to
others when a process has ended, and only both together say which process is meant, so nobody else's is ever touched.
"""

from __future__ import annotations

import os
import select
import signal
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from orchestrator.errors import GvisorNodesError
from orchestrator.lab.paths import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

READY_SECONDS: Final = 120.0
"""How long a program may take until it is ready; on an idle machine none takes more than three seconds."""

_POLL_SECONDS: Final = 0.05  # none of the programs tells anybody that it is ready
_KILLED_SECONDS: Final = 30.0
_SHOWN_LINES: Final = 8
_ENDED: Final = frozenset("ZX")  # of the states in /proc: it has ended, and only its number is left


@dataclass(frozen=True, slots=True)
class Identity:
    """Which process is meant.

    Attributes:
        pid: its number.
        started: when it started, in the kernel's ticks since the machine did.
    """

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Self | None:
        """The process that has this number now; None if none has, or if it has ended and was not waited for yet.

        Source: proc_pid_stat(5): what follows the name in parentheses begins with the third field, the state; the
        22nd is the start time.
        """
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123 - not a file of anybody's
                fields = file.read().rpartition(b")")[2].decode("ascii").split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in _ENDED else cls(pid, int(fields[19]))


class Startable(ABC):
    """What runs inside of a ``with`` block: it is started at its beginning, and stopped at its end or if that fails."""

    @abstractmethod
    def start(self) -> object:
        """Start it, and wait until it is ready."""

    @abstractmethod
    def stop(self) -> object:
        """Stop it, also one that only half started, and wait for its end."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class Process:
    """One program, with its log and the file that says which process it is, in a directory.

    Args:
        name: of the program: of both files, and in errors.
        directory: where both are; several programs may share it.
    """

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        self._record = directory / f"{name}.pid"
        self._exit_code: int | None = None

    @property
    def identity(self) -> Identity | None:
        """The process, if it runs."""
        recorded = self._recorded()
        if recorded is None or Identity.of(recorded.pid) == recorded:
            return recorded
        self._reap(recorded.pid)
        return None

    def start(
        self,
        program: Path,
        arguments: Sequence[str],
        *,
        without: Collection[str] = (),
        variables: Mapping[str, str] | None = None,
    ) -> bool:
        """Start it, unless it runs; tell whether it was started.

        It has a session of its own, so that Ctrl-C is its starter's, who stops programs in their order, and it goes on
        when its starter ends.

        Args:
            program: path of the program.
            arguments: what follows its name.
            without: variables of the environment that it does not get.
            variables: that it gets beside the others.
        """
        if self.identity is not None:
            return False
        self._exit_code = None
        self.log.parent.mkdir(parents=True, exist_ok=True)
        appended = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        # Not subprocess: it takes whoever drops a process that still runs for one that made a mistake.
        pid = os.posix_spawn(
            program,
            [str(program), *arguments],
            {name: value for name, value in os.environ.items() if name not in without} | dict(variables or {}),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self.log), appended, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigdef=[signal.SIGPIPE],  # Python ignores it, and a child would inherit that
        )
        identity = Identity.of(pid)
        if identity is None:
            self._reap(pid)
        else:
            replace_file(self._record, f"{identity.pid} {identity.started}\n")
        return True

    def stop(self, patience: float) -> bool:
        """Ask it to end, make it end after so many seconds, and wait for its end; tell whether it ran.

        Raises:
            GvisorNodesError: it does not even end when it is killed.
        """
        with self._open() as handle:
            if handle is not None:
                signal.pidfd_send_signal(handle, signal.SIGTERM)
                if not _ends(handle, patience):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    if not _ends(handle, _KILLED_SECONDS):
                        raise self.failure("it was killed and does not end", what="does not end")
        recorded = self._recorded()
        if recorded is not None:
            self._reap(recorded.pid)
        self._record.unlink(missing_ok=True)
        return handle is not None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it do nothing at all for as long as the block lasts.

        Raises:
            GvisorNodesError: it does not run.
        """
        with self._open() as handle:
            if handle is None:
                raise self.failure("it does not run", what="cannot be frozen")
            signal.pidfd_send_signal(handle, signal.SIGSTOP)
            try:
                yield
            finally:
                with suppress(ProcessLookupError):  # it was killed meanwhile
                    signal.pidfd_send_signal(handle, signal.SIGCONT)

    def failure(self, why: str = "", what: str = "does not start") -> GvisorNodesError:
        """The error of it, with the last lines of its log; without a reason, that it has ended."""
        if not why:
            why = "it has ended" if self._exit_code is None else f"it exited with {self._exit_code}"
        lines = self.log.read_text(errors="replace").splitlines()[-_SHOWN_LINES:] if self.log.exists() else []
        return GvisorNodesError(
            f"{self.name} {what}", why="\n".join((why, *lines)), remedy=f"look at the whole of {self.log}"
        )

    def _recorded(self) -> Identity | None:
        try:
            pid, started = map(int, self._record.read_text(encoding="ascii").split())
        except (FileNotFoundError, ValueError):
            return None
        return Identity(pid, started) if pid > 0 else None  # what is not above 0 means many processes

    @contextmanager
    def _open(self) -> Iterator[int | None]:
        """A handle that means this very process whatever becomes of its number; None if it does not run."""
        identity = self.identity
        if identity is None:
            yield None
            return
        try:
            handle = os.pidfd_open(identity.pid)
        except ProcessLookupError:
            yield None
            return
        try:
            # Asked again: between the first look and the handle the number may have gone to another process.
            yield handle if Identity.of(identity.pid) == identity else None
        finally:
            os.close(handle)

    def _reap(self, pid: int) -> None:
        """Take note of the end of a child of ours."""
        with suppress(ChildProcessError):  # another process started it
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                self._exit_code = os.waitstatus_to_exitcode(status)


def await_ready(ready: Callable[[], bool], process: Process, *others: Process) -> None:
    """Wait until a program is ready.

    Args:
        ready: tells whether it is.
        process: the program.
        others: those without which it never is.

    Raises:
        GvisorNodesError: it is not ready in time, or one of them ended; the last lines of its log are in it.
    """
    deadline = time.monotonic() + READY_SECONDS
    while not ready():
        for each in (*others, process):
            if each.identity is None:
                raise each.failure()
        if time.monotonic() > deadline:
            raise process.failure(f"it was not ready after {READY_SECONDS:.0f} s")
        time.sleep(_POLL_SECONDS)


def _ends(handle: int, seconds: float) -> bool:
    """Wait for the end of a process, at most so long."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
