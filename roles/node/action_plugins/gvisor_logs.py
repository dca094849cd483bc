# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetch a node's debug logs: packed there, one file here, whose name and place are chosen here."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from datetime import UTC, datetime

from ansible.errors import AnsibleError
from ansible.plugins.loader import action_loader

from orchestrator.errors import GvisorNodesError, InvalidInputError, RefusedError
from orchestrator.planning.log_collection import file_name, read_collection

NodeAction = action_loader.get("gvisor_base", class_only=True).__mro__[1]


class ActionModule(NodeAction):
    """Step ``report``."""

    _VALID_ARGS = frozenset(())
    step = "report"

    def act(self):
        wanted = read_collection(self.task_vars)
        target = self.target(wanted)
        if self.check_mode:
            return self.answer(f"would fetch logs to {target}")
        self.probe()
        token = uuid.uuid4().hex
        root = self.desired.host_root
        found = self.module(
            "gvisor_logs",
            state="packed",
            token=token,
            host_root=root,
            host_live=self.desired.is_live,
            login=self._connection.get_option("remote_user") or "" if self._connection.transport == "ssh" else "",
            directory=self.desired.directory,
            debug_logs_directory=self.desired.debug_logs_directory,
            pod=wanted.pod,
            container=wanted.container,
            since=wanted.since,
            size=wanted.size,
        )
        if "sha256" not in found:
            raise self.nothing(wanted, found)
        try:
            self.fetch(os.path.join(root, f"run/gvisor-nodes/logs-{token}/logs.tar.gz"), target, found["sha256"])
        finally:
            self.module("gvisor_logs", state="absent", token=token, host_root=root)
        data = {name: found[name] for name in ("size", "containers", "files", "left_out", "pods", "stopped")}
        message = f"{found['files']} logs of {found['containers']} containers in {target}"
        if found["left_out"]:
            message += f"; {found['left_out']} are left out, the manifest says why"
        return self.answer(message, data={**data, "file": target})

    def target(self, wanted):
        """The file to make on this machine; never one that is there."""
        target = wanted.to
        if os.path.isdir(target):
            target = os.path.join(target, file_name(self.task_vars["inventory_hostname"], datetime.now(UTC)))
        if not os.path.isdir(os.path.dirname(target)):
            raise InvalidInputError(f"there is no directory {os.path.dirname(target)}", remedy="make it first")
        if os.path.lexists(target):
            raise InvalidInputError(f"{target} is there already", remedy="name another file, or a directory")
        return target

    def fetch(self, source, target, digest):
        """Copy the archive beside its place, check it, give it its name. Logs hold secrets: mode 0600 all the way."""
        aside = os.path.join(os.path.dirname(target), f".gvisor-nodes-{uuid.uuid4().hex}")
        os.mkdir(aside, 0o700)
        try:
            part = os.path.join(aside, "part")
            self.memory["round_trips"] = self.memory.get("round_trips", 0) + 1
            self._connection.fetch_file(source, part)
            os.chmod(part, 0o600)
            with open(part, "rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    raise GvisorNodesError("the archive arrived damaged", remedy="run the same command again")
            os.link(part, target)  # unlike a rename, a link never takes the place of a file that came meanwhile
        except (AnsibleError, OSError) as error:
            raise GvisorNodesError(
                "cannot fetch the archive", why=str(error), remedy="run the command again"
            ) from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def nothing(self, wanted, found):
        """Why there is nothing to fetch, for the person who asked."""
        known = ", ".join(found["known_pods"]) or "no pod by name"
        if found["stopped"]:
            why = f"logging is stopped: {found['stopped']}"
            remedy = "make room on the node, then start the pod anew"
        elif not found["known_containers"]:
            current = self.state.tree.generations.get(self.state.tree.current or "")
            on = "--debug-log=" in ((current.flags if current else "") or "")
            why = "the flag debug is on, but no pod has started since" if on else "the flag debug is off"
            remedy = "start a pod" if on else "gvisor-nodes apply --flag debug=true, then start the pod anew"
        elif wanted.pod in found["running_pods"]:
            why = f"{wanted.pod} runs, but it started without the flag debug"
            remedy = "switch debug on if it is off, then start the pod anew"
        else:
            why = f"there are logs of {found['known_containers']} containers: {known}"
            remedy = "check the name, the time after --since, or leave them out"
        what = "there are no debug logs on this node"
        if wanted.pod:
            what = f"there are no debug logs of the pod {wanted.pod} on this node"
        elif wanted.container:
            what = f"there are no debug logs of a container {wanted.container} on this node"
        return RefusedError(what, why=why, remedy=remedy)
