"""One run of one playbook, from the outside: start, watch, stop, clean up.

Everything that must not leak stays in a fresh directory on tmpfs that is removed whatever happens: extra variables, the
become password, Ansible's home, SSH control sockets, what ansible-runner writes. The child process
(``orchestrator.execution.child``) does the running; events become results in ``orchestrator.execution.collector``.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from orchestrator.errors import GvisorNodesError, MissingComponentError
from orchestrator.execution import environment, inputs, processes
from orchestrator.execution.collector import Collector
from orchestrator.execution.content import Content, locate
from orchestrator.execution.login import file_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from orchestrator.execution.login import Login
    from orchestrator.execution.results import HostEvent, RunResult

_GRACE_SECONDS = 10.0  # for ansible-playbook to end its workers after SIGTERM
_TICK_SECONDS = 0.2  # how often the deadline and a cancel from another thread are looked at
_LONGEST_PARENT = 40  # SSH's control sockets are inside, and a unix socket's path holds 107 bytes
_TMPFS = Path("/dev/shm")  # noqa: S108 - its own 0700 directory is made inside


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What ``ansible-playbook`` is told beyond playbook and inventory.

    ``limit`` is an Ansible host pattern, ``forks`` hosts at once, ``connect_timeout`` seconds for a connection attempt,
    ``timeout`` seconds for the whole run, after which it is stopped like by SIGINT. ``ssh`` is false where every
    connection is local, so that no client is needed. ``login`` says with which keys ssh logs in and which hosts it
    believes; without it that is ssh's own configuration.
    """

    limit: str | None = None
    forks: int | None = None
    check: bool = False
    diff: bool = False
    user: str | None = None
    become: bool = False
    become_password: str | None = field(default=None, repr=False)
    connect_timeout: int | None = None
    timeout: float | None = None
    ssh: bool = True
    login: Login | None = None


def run(
    playbook: str,
    inventory: Path | str | Sequence[Path | str] | Mapping[str, Any],
    *,
    extra_vars: Mapping[str, object] | None = None,
    options: Options | None = None,
    on_event: Callable[[HostEvent], None] | None = None,
    content: Content | None = None,
    cancel: threading.Event | None = None,
    grace: float = _GRACE_SECONDS,
) -> RunResult:
    """Run ``playbook`` (a name, see :class:`Content`) on the hosts of ``inventory`` and return what each host did.

    In the main thread SIGINT and SIGTERM stop the run: the first gives it ``grace`` seconds, the second kills at once.
    Elsewhere ``cancel`` does what the first signal does. The result then says ``interrupted``.

    Args:
        playbook: the name of a playbook of ``content``.
        inventory: what Ansible takes after ``-i``: a file, a directory, or a comma separated list; or several of them;
            or the content of one, as :func:`orchestrator.planning.inventory.build` makes it.
        extra_vars: highest precedence variables, JSON values. A string that Jinja would evaluate is refused.
        options: the rest of the command line.
        on_event: called in this thread for every event of a host, in order; it may be slow.
        content: where playbooks and roles are; default: those of this package.
        cancel: set it to stop the run from another thread.
        grace: seconds between asking the run to stop and killing it.

    Raises:
        InvalidInputError: inventory or variables are not valid, or no host matches. Nothing was changed.
        MissingComponentError: ansible-playbook or ssh is not installed, or keys are given and there is no directory in
            memory.
        GvisorNodesError: Ansible ended without saying how the hosts fared.
    """
    options = options or Options()
    content = content or locate()
    playbook_path = content.playbook(playbook)
    sources = [] if isinstance(inventory, Mapping) else inputs.inventory_sources(inventory)
    variables = inputs.extra_vars(extra_vars or {})
    environment.require_programs(ssh=options.ssh)
    started = time.monotonic()
    collector = Collector(on_event)
    directory = private_directory(in_memory=options.login is not None)
    try:
        if isinstance(inventory, Mapping):
            sources = [_private_file(directory, "inventory.json", json.dumps(inventory))]
        arguments = _arguments(directory, sources, variables, options)
        with _Child(directory, content, playbook_path, arguments, grace) as child, child.signals():
            deadline = started + options.timeout if options.timeout else None
            for event in child.events():
                if event is not None:
                    collector.add(event)
                if deadline is not None and time.monotonic() > deadline:
                    collector.timed_out = True
                    child.stop()
                if cancel is not None and cancel.is_set():
                    child.stop()
        return collector.finish(
            interrupted=child.stopped, failure=child.failure(), seconds=time.monotonic() - started, inventory=sources
        )
    finally:
        processes.end(lambda: processes.marked(str(directory)), grace=1.0)
        shutil.rmtree(directory, ignore_errors=True)


def private_directory(*, in_memory: bool = False) -> Path:
    """Make a directory that only this user may enter, and whose path is short; whoever asks removes it.

    Args:
        in_memory: nowhere else than in memory.

    Raises:
        MissingComponentError: it must be in memory, and there is none.
    """
    return Path(tempfile.mkdtemp(prefix=f"gvn-{os.getpid()}-", dir=_private_parent(in_memory=in_memory)))


def _private_parent(*, in_memory: bool = False) -> Path:
    """Return a directory for the run's files: in memory if there is one, else, unless it must be, the usual one."""
    with contextlib.suppress(OSError):
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
        mounted = any(line.split()[1:3] == [str(_TMPFS), "tmpfs"] for line in mounts)
        if mounted and os.access(_TMPFS, os.W_OK | os.X_OK):
            return _TMPFS
    if in_memory:
        raise MissingComponentError(
            "there is no place in memory for SSH keys",
            why=f"{_TMPFS} is no tmpfs that can be written to, and keys are never written to a disk",
            remedy=f"mount one there; in a pod: an emptyDir with medium Memory at {_TMPFS}",
        )
    usual = Path(tempfile.gettempdir())
    return usual if len(str(usual)) <= _LONGEST_PARENT else Path("/tmp")  # noqa: S108 - its own directory is made inside


def _arguments(directory: Path, sources: list[str], variables: dict[str, Any], options: Options) -> list[str]:
    arguments = [part for source in sources for part in ("-i", source)]
    if variables:
        arguments += ["-e", f"@{_private_file(directory, 'extra-vars.json', json.dumps(variables))}"]
    if options.become_password is not None:
        arguments += ["--become-password-file", _private_file(directory, "become", options.become_password)]
    if options.login is not None:
        keys = enumerate(options.login.identities)
        files = [_private_file(directory, f"identity-{number}", file_text(key)) for number, key in keys]
        arguments.append(f"--ssh-common-args={options.login.arguments(files)}")
    pairs = {
        "--limit": options.limit,
        "--forks": options.forks,
        "--user": options.user,
        "--timeout": options.connect_timeout,
    }
    arguments += [f"{name}={value}" for name, value in pairs.items() if value is not None]
    flags = {"--check": options.check, "--diff": options.diff, "--become": options.become}
    return arguments + [name for name, wanted in flags.items() if wanted]


def _private_file(directory: Path, name: str, text: str) -> str:
    path = directory / name
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return str(path)


class _Child:
    """The child process, its events, and the signals that stop it."""

    def __init__(self, directory: Path, content: Content, playbook: Path, arguments: list[str], grace: float) -> None:
        self._grace = grace
        self._directory = directory
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._end: dict[str, Any] | None = None
        self._complaint = ""
        self.stopped = False
        (directory / "tmp").mkdir(mode=0o700)
        read, write = os.pipe()
        self._stderr = tempfile.TemporaryFile("w+", dir=directory, encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator.execution.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
            pass_fds=(write,),
            env=environment.for_child(directory),
            cwd=directory,
            start_new_session=True,  # Ctrl-C reaches this process only, and ssh has no terminal to ask on
            text=True,
        )
        os.close(write)
        self._reader = threading.Thread(target=self._read, args=(read,), daemon=True)
        self._reader.start()
        spec = {
            "directory": str(directory),
            "cwd": str(content.root),
            "playbook": str(playbook),
            "cmdline": shlex.join(arguments),
            "environment": environment.for_ansible(directory, content),
            "events": write,
            "grace": grace,
            "parent": os.getpid(),
        }
        with contextlib.suppress(BrokenPipeError), self._process.stdin as stdin:  # type: ignore[union-attr]
            json.dump(spec, stdin)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._process.poll() is None:  # an exception on the way out: the events were not read to their end
            self._process.terminate()
        try:
            self._process.wait(self._grace + 5.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(5.0)
        self._stderr.seek(0)
        self._complaint = self._stderr.read()[-2000:]
        self._stderr.close()

    def _read(self, descriptor: int) -> None:
        # Drained by a thread: however slow the receiver is, ansible-playbook never waits for it.
        with os.fdopen(descriptor, encoding="utf-8", errors="replace") as pipe:
            for line in pipe:
                self._lines.put(line)
        self._lines.put(None)

    def events(self) -> Iterator[dict[str, Any] | None]:
        """Yield events until the child has closed its end; None on every tick without one."""
        while True:
            try:
                line = self._lines.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                yield None
                continue
            if line is None:
                return
            event: dict[str, Any] = json.loads(line)
            if event.get("event") == "end":
                self._end = event
            else:
                yield event

    def stop(self) -> None:
        """Ask the child to stop; only the first call does."""
        if not self.stopped:
            self.stopped = True
            self._process.terminate()

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Let SIGINT and SIGTERM stop the child while the block runs (main thread only)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def handle(_number: int, _frame: FrameType | None) -> None:
            if self.stopped:
                self._kill()
            self.stop()

        before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _kill(self) -> None:
        # The child first: it would otherwise report as failed what is only being killed.
        self._process.kill()
        processes.end(lambda: processes.marked(str(self._directory)), grace=0.0)

    def failure(self) -> GvisorNodesError | None:
        """Return why there is no ordinary end, or None."""
        if self.stopped or (self._end is not None and not self._end["error"]):
            return None
        cause: str = self._end["error"] if self._end else self._complaint
        return GvisorNodesError(
            "the run ended without a result",
            why=cause.strip() or f"the process that runs Ansible ended with status {self._process.returncode}",
            remedy="run the same command again: it continues where this run stopped",
        )
