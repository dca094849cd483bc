# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the action plugins of this role share: raw variables in, one module call as one round trip, answers out.

Thinking is done by the pure parts of `orchestrator`, which is why these plugins run in its virtual environment. What
one step learns, the next ones find in the host's fact `gvisor_node`. Licence: plugins run inside ansible-core.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

from ansible import constants
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import module_loader

from orchestrator.errors import GvisorNodesError, InvalidInputError, RefusedError
from orchestrator.execution.node_program import OLDEST_PYTHON, node_program
from orchestrator.gvisor.catalogue import Catalogue
from orchestrator.gvisor.releases import DEFAULT_RELEASE
from orchestrator.planning.desired import read_variables
from orchestrator.planning.generations import history, records
from orchestrator.planning.plan import plan
from orchestrator.planning.rollback import read_target, state_of
from orchestrator.planning.state import NodeState

PLAIN_PATH = re.compile(r"/[A-Za-z0-9._/+-]+")
ROLE = Path(__file__).resolve().parents[1]


def write_programs():
    """Write the program of each of our modules into this run's temporary directory, and let Ansible find it there."""
    directory = Path(constants.DEFAULT_LOCAL_TMP, "gvisor_programs")
    directory.mkdir(exist_ok=True)
    for module in (ROLE / "library").glob("*.py"):
        program = node_program(ROLE, module.stem)
        (directory / f"{module.stem}_program.py").write_text(program, encoding="ascii")
    module_loader.add_directory(str(directory))


# Ansible loads its actions before it forks: the processes of all tasks and hosts find what was written once.
write_programs()


class NodeAction(ActionBase):
    """One step on one host; subclasses set ``step`` and do their work in ``act``."""

    step = "node"
    warned = ()

    def run(self, tmp=None, task_vars=None):  # noqa: ARG002 - Ansible's signature
        super().run(task_vars=task_vars)
        self.task_vars = task_vars
        self.memory = dict((task_vars.get("ansible_facts") or {}).get("gvisor_node") or {})
        try:
            self.desired, self.settings = read_variables(task_vars, DEFAULT_RELEASE)
            if "target" in self.memory:  # a rollback: the generation says which release and flags, not the inventory
                self.desired = state_of(self.desired, read_target(self.memory["target"]))
            return self.act()
        except GvisorNodesError as error:
            return self.failure(error)

    def act(self):
        """Do the step; return `answer`."""
        raise NotImplementedError

    # What is known ------------------------------------------------------------------------------------------------

    @property
    def check_mode(self):
        return bool(self._task.check_mode)

    @property
    def state(self):
        return NodeState.model_validate(self.memory["state"])

    def plan(self, known=()):
        """What this node needs; ``known`` (see below) costs a read of the catalogues, so only who tells people asks."""
        return plan(self.desired, self.state, known)

    def known_releases(self):
        """The releases that can be named as a way out: those the catalogues in use have for this node's machine."""
        try:
            catalogue = Catalogue.load([Path(name) for name in self.settings.releases_files])
        except GvisorNodesError:  # the step that needs the file says what is wrong with it
            return ()
        architecture = self.state.host.architecture
        return tuple(entry.release for _, entry in catalogue.entries() if entry.architecture == architecture)

    @property
    def sources(self):
        """Where the files of a release may come from."""
        from orchestrator.gvisor.artifacts import DEFAULT_BUCKET, ArtifactSources  # noqa: PLC0415 - few steps need it

        settings = self.settings
        return ArtifactSources(
            directory=Path(settings.artifacts_directory) if settings.artifacts_directory else None,
            releases_files=tuple(Path(name) for name in settings.releases_files),
            bucket=settings.bucket or DEFAULT_BUCKET,
            offline=settings.offline,
        )

    def warn(self, *texts):
        """Say what does not stop the run: in this task's result, and in the report at the end."""
        self.warned = (*self.warned, *texts)
        self.memory["warnings"] = list(dict.fromkeys([*self.memory.get("warnings", []), *texts]))

    def say(self, findings, step=""):
        """Warn of each finding; the first that refuses is raised, under another step's name where one is given."""
        for one in findings:
            if one.effect == "refuse":
                raise RefusedError(one.what, why=one.why, remedy=one.remedy, step=step)
            self.warn(str(one))

    @property
    def place(self):
        """The arguments every module takes: where things are on this host."""
        desired = self.desired
        root = {"host_root": desired.host_root, "host_live": desired.is_live}
        return {**root, "state_directory": desired.state_directory}

    def remember_current(self):
        """The generation that a proof that fails goes back to: the current one, or the last proved where it is not."""
        state, number = self.state, self.state.tree.current
        proved = str(state.sealed.get("generation") or "")
        if number is not None and number not in records(state).sealed and proved in state.tree.generations:
            number = proved
        if number is not None:
            before = [other for other in history(state) if other != number]
            self.memory["previous"] = {"directory": self.desired.directory, "number": number, "history": before}

    # Round trips --------------------------------------------------------------------------------------------------

    def module(self, name, **arguments):
        """Run one of our modules on the node: one round trip. Raises what the node said, in its own words."""
        self.memory["round_trips"] = self.memory.get("round_trips", 0) + 1
        result = self._execute_module(module_name=f"{name}_program", module_args=arguments, task_vars=self.task_vars)
        if not result.get("failed"):
            return result
        node = result.get("node_error")
        if node:
            kind = RefusedError if node.get("refused") else GvisorNodesError
            raise kind(node["what"], why=node.get("why", ""), remedy=node.get("remedy", ""))
        raise self._module_failure(result)

    def probe(self, **lock):
        """Read the node's whole state into memory, with ``lock=`` taking the lease first; return the answer."""
        found = self.module(
            "gvisor_probe",
            **self.place,
            directory=self.desired.directory,
            service=self.desired.service,
            debug_logs_directory=self.desired.debug_logs_directory,
            **lock,
        )
        if "state" in found:
            self.memory["state"] = found["state"]
        return found

    def _module_failure(self, result):
        """A module that gave no answer of its own: no Python, too old a Python, no way to become root, killed."""
        text = " ".join(str(result.get(k) or "") for k in ("module_stderr", "module_stdout", "msg")).strip()
        wanted = self._wanted_python()
        versions = self._pythons(wanted)
        configured, others = versions.pop(wanted, None), [f"{path} ({version})" for path, version in versions.items()]
        remedy = "install Python %d.%d or newer on the node" % OLDEST_PYTHON
        if others:
            remedy = f"set ansible_python_interpreter to one of {', '.join(others)}, or {remedy}"
        if configured is None and not others:
            return RefusedError("there is no Python on the node", why=f"{wanted} does not run", remedy=remedy)
        if configured is None:
            return RefusedError("the configured Python does not run on the node", why=wanted, remedy=remedy)
        if tuple(int(n) for n in configured.split(".")[:2] if n.isdigit()) < OLDEST_PYTHON:
            return RefusedError(f"the node's Python {configured} is too old", why=wanted, remedy=remedy)
        return GvisorNodesError(
            "a step on the node ended without an answer",
            why=text[-600:] or f"exit code {result.get('rc')}",
            remedy="run the same command again: it goes on from the journal",
        )

    def _wanted_python(self):
        """The interpreter of the inventory; only a plain path, because it goes into a shell command."""
        wanted = self.task_vars.get("ansible_python_interpreter")
        return wanted if isinstance(wanted, str) and PLAIN_PATH.fullmatch(wanted) else "/usr/bin/python3"

    def _pythons(self, wanted):
        """Path to version of every Python that runs on the node; asked only after a module failed."""
        script = (
            f'for p in {wanted} "$(command -v python3)" /usr/libexec/platform-python; do '
            '[ -x "$p" ] && v=$("$p" -c "import sys; print(sys.version.split()[0])" 2>/dev/null) && echo "$p $v"; done'
        )
        found = self._low_level_execute_command(script, sudoable=False)
        return dict(line.split(None, 1) for line in (found.get("stdout_lines") or []) if len(line.split()) > 1)

    # CRI ----------------------------------------------------------------------------------------------------------

    def access(self):
        """How the CRI client reaches the node's socket: the argv of this very connection, and how to become root."""
        connection = self._connection
        argv = []
        if connection.transport == "ssh":
            command = connection._build_command("ssh", "ssh", connection.get_option("host"))  # noqa: SLF001
            argv = [part.decode() for part in command]
        elif connection.transport == "local":
            if os.geteuid() == 0 and not connection.become:
                return {"argv": [], "become": None}
            argv = ["/bin/sh", "-c"]
        else:
            raise RefusedError(
                f"the proof does not know the connection {connection.transport}",
                remedy="use ansible_connection ssh or local",
            )
        become = connection.become
        if not become:
            return {"argv": argv, "become": None}
        wrapped = become.build_become_command("@COMMAND@", self._connection._shell)  # noqa: SLF001
        return {
            "argv": argv,
            "become": {
                "command": wrapped,
                "prompt": become.prompt or "",
                "password": become.get_option("become_pass", playcontext=self._play_context) or "",
                "success": become.success,
            },
        }

    def cri(self, verb, **arguments):
        """One call of the CRI client in a process of its own (gRPC and a forked Ansible worker do not go together)."""
        timeout = float(arguments.get("timeout", 60))
        request = {
            "verb": verb,
            "access": self.access(),
            "python": self.memory["state"]["interpreter"],
            "root": "" if self.desired.host_root == "/" else self.desired.host_root,
            "enter": self.memory["state"]["enter"],
            "socket": self.state.containerd.socket,
            "handler": self.desired.handler,
            "expect": {
                "release": self.desired.release,
                "runsc": f"{self.desired.release_directory}/runsc",
                "flags": [flag for flag in self.desired.flags if "%" not in flag],
                "config_path": self.desired.config_path,
                "runtime_type": self.desired.shim,
                "directory": self.desired.directory,
            },
            **arguments,
        }
        self.memory["round_trips"] = self.memory.get("round_trips", 0) + 1
        try:
            done = subprocess.run(  # noqa: PLW1510 - our own module, its exit code is looked at
                [sys.executable, "-m", "orchestrator.cri"],
                input=json.dumps(request),
                capture_output=True,
                text=True,
                timeout=timeout + 60,
            )
            answer = json.loads(done.stdout)
        except subprocess.TimeoutExpired:
            return {"outcome": "timeout", "ok": False, "detail": f"no answer within {timeout + 60:.0f} s", "remedy": ""}
        except ValueError:
            raise GvisorNodesError("the CRI client crashed", why=done.stderr.strip()[-600:]) from None
        return answer

    # Answers ------------------------------------------------------------------------------------------------------

    def answer(self, message, *, changed=False, data=None, diff=None, step=None, status=None):
        """A result in the shape that the orchestrator and the playbooks read."""
        result = {
            "changed": changed,
            "msg": message,
            "gvisor": {
                "step": step or self.step,
                "status": status or ("changed" if changed else "ok"),
                "message": message,
                "cause": "",
                "remedy": "",
                "data": data or {},
            },
            "ansible_facts": {"gvisor_node": self.memory},
        }
        if diff and self._task.diff:
            result["diff"] = diff
        if self.warned:  # Ansible prints a text once for all hosts, so each names its own
            host = self.task_vars.get("inventory_hostname", "")
            said = list(dict.fromkeys(self.warned))
            result["gvisor"]["warnings"] = said
            result["warnings"] = [f"{host}: {text}" for text in said]
        return result

    def failure(self, error):
        """A failed result: what, why, what to do, for a person who reads plain ansible-playbook output too."""
        status = {2: "invalid", 4: "refused"}.get(error.exit_code, "failed")
        message = error.what
        text = f"{error.step or self.step}: {message}"
        text += f": {error.why}" if error.why else ""
        text += f". To do: {error.remedy}" if error.remedy else ""
        return {
            "failed": True,
            "changed": False,
            "msg": text,
            "gvisor": {
                "step": error.step or self.step,
                "status": status,
                "message": message,
                "cause": error.why,
                "remedy": error.remedy,
                "data": {},
            },
            "ansible_facts": {"gvisor_node": {**self.memory, "failed": True}},
        }

    @staticmethod
    def holder():
        """Who holds the lease, for the person who meets it."""
        return f"{os.environ.get('USER') or 'uid ' + str(os.getuid())}@{socket.gethostname()} (pid {os.getppid()})"


class ActionModule(NodeAction):
    """Not a task of its own."""

    def act(self):
        raise InvalidInputError("gvisor_base is no task", remedy="use the roles of gvisor-nodes")
