"""What the processes of a run find in their environment: chosen variable by variable.

ansible-runner writes its whole environment into its artifacts and ansible-playbook takes settings from any
``ANSIBLE_*`` variable, so nothing is inherited that is not named here.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import MissingComponentError
from orchestrator.execution.processes import MARK

if TYPE_CHECKING:
    from orchestrator.execution.content import Content

INHERITED = (
    "HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK",
    # the artifact cache and the lab's state are looked up by action plugins on this machine
    "XDG_CACHE_HOME", "XDG_STATE_HOME",
    # artifacts may come through a proxy or be built from the published Go module
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "GOPROXY", "GOFLAGS", "GOMODCACHE", "GOPATH", "GOCACHE", "GOSUMDB", "GONOSUMDB", "GONOPROXY", "GOPRIVATE",
    "GOINSECURE", "GOTOOLCHAIN", "GOENV",
    # tests measure the coverage of the processes that they start
    "COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG", "COVERAGE_FILE",
)  # fmt: skip
"""Variables that the child inherits if they are set."""


def for_child(directory: Path) -> dict[str, str]:
    """Return the whole environment of the child process of the run in ``directory``."""
    variables = {name: os.environ[name] for name in INHERITED if name in os.environ}
    variables |= {
        "PATH": search_path(),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "TMPDIR": str(directory / "tmp"),
        MARK: str(directory),
    }
    source = Path(__file__).resolve().parents[2]
    if source.name != "site-packages":  # a checkout that may not be installed in this environment
        variables["PYTHONPATH"] = str(source)
    return variables


def for_ansible(directory: Path, content: Content) -> dict[str, str]:
    """Return what ansible-playbook finds in addition: its configuration, and its own files inside ``directory``."""
    return {
        "ANSIBLE_CONFIG": str(content.config),
        "ANSIBLE_HOME": str(directory / "home"),
        "ANSIBLE_LOCAL_TEMP": str(directory / "tmp"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(directory / "cp"),
        # ansible-runner switches these two off unless it finds them set.
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_FORCE_COLOR": "False",
        "ANSIBLE_NOCOLOR": "True",
    }


def search_path() -> str:
    """Return PATH with this interpreter's directory first, so that its own ansible-playbook is the one that runs."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def require_programs(*, ssh: bool = True) -> None:
    """Check that what a run needs on this machine is installed; ``ssh`` unless every connection is local.

    Raises:
        MissingComponentError: with the command that installs it.
    """
    remedies = {
        "ansible-playbook": f"install it beside gvisor-nodes: {sys.executable} -m pip install ansible-core",
        "ssh": "install it: apt-get install openssh-client",
    }
    for program, remedy in remedies.items():
        if program == "ssh" and not ssh:
            continue
        if shutil.which(program, path=search_path()) is None:
            raise MissingComponentError(
                f"{program} is missing on this machine", why=f"it is not in {search_path()}", remedy=remedy
            )
