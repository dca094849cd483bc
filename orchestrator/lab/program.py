"""Programs of this machine that the lab calls: found, run, and their failures told with the last lines they said."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

from orchestrator.errors import GvisorNodesError, MissingComponentError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

type Progress = Callable[[str], None]
"""Takes one line that tells what begins now; never called from inside a lock that the callee could want."""

# Debian's names of the packages that hold the programs the lab calls.
PACKAGES = {
    "podman": "podman runc netavark aardvark-dns iptables nftables uidmap",
    "debootstrap": "debootstrap",
    "gcc": "gcc libc6-dev",
    "busybox": "busybox-static",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "go": "golang-go",
    "openssl": "openssl",
    "tar": "tar",
    "chroot": "coreutils",
}

_SHOWN_LINES = 12


def silent(_line: str) -> None:
    """Be a progress callback that says nothing."""


def require(program: str) -> str:
    """Find ``program`` in PATH or where Debian keeps the programs of root; return its absolute path.

    Raises:
        MissingComponentError: it is not there; the remedy is the command that installs it.
    """
    search = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))
    found = shutil.which(program, path=search)
    if found is None:
        raise MissingComponentError(
            f"The lab needs {program}",
            why=f"{program} was not found in PATH",
            remedy=f"apt-get install --no-install-recommends {PACKAGES.get(program, program)}",
        )
    return found


def call(
    argv: Sequence[str],
    *,
    what: str,
    remedy: str = "",
    stdin: str | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return what it said.

    Args:
        argv: the program and its arguments, never a shell line.
        what: what fails if this fails, for the error.
        remedy: what to do then.
        stdin: text for its standard input; without it the input is empty.
        environment: variables added to our own.
        timeout: seconds; None waits for ever.
        check: raise when it exits with another code than 0.

    Raises:
        GvisorNodesError: it exited with a code other than 0 (and ``check``), or ran into ``timeout``.
    """
    try:
        done = subprocess.run(
            list(argv),
            input=stdin if stdin is not None else "",
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise GvisorNodesError(what, why=f"{argv[0]} did not end within {timeout:.0f} s", remedy=remedy) from error
    except FileNotFoundError as error:
        raise MissingComponentError(what, why=f"{argv[0]} was not found", remedy=f"install {argv[0]}") from error
    if check and done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-_SHOWN_LINES:]
        raise GvisorNodesError(what, why=f"{argv[0]} exited with {done.returncode}: " + "\n".join(said), remedy=remedy)
    return done
