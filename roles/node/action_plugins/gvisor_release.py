# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the wanted release to the node: checked here before the node sees it, checked there before it gets its name."""

from __future__ import annotations

import dataclasses
import posixpath

from ansible.errors import AnsibleError
from ansible.plugins.loader import action_loader

from orchestrator.errors import GvisorNodesError
from orchestrator.gvisor import compatibility, driver_lists
from orchestrator.gvisor.artifacts import resolve
from orchestrator.gvisor.bundle import pack
from orchestrator.gvisor.flag_binaries import require_accepted
from orchestrator.planning import gpu

NodeAction = action_loader.get("gvisor_base", class_only=True).__mro__[1]


class ActionModule(NodeAction):
    """Step ``release``."""

    step = "release"

    def act(self):
        plan = self.plan()
        judged = not plan.needs("generation") or (
            (self.check_mode or not plan.needs("release")) and self.judged_from_cache()
        )
        if self.check_mode:
            if not plan.needs("release"):
                return self.answer(f"release {self.desired.release} is there")
            diff = {"before": "", "after": "", "after_header": f"{self.desired.release_directory}/"}
            return self.answer(f"would place release {self.desired.release}", changed=True, diff=diff)
        arguments = {
            **self.place,
            "token": self.memory["token"],
            "login": self._connection.get_option("remote_user") or "" if self._connection.transport == "ssh" else "",
            "directory": self.desired.directory,
            "release": self.desired.release,
            "flags": self.checked_flags,
            "drivers": self.desired.nvproxy or gpu.has_driver(self.state),
        }
        if not plan.needs("release") and not self.desired.nvproxy:
            if not judged:  # no file to place, so the node's own binary is asked and nothing else
                self.module("gvisor_release", **arguments, files={})
            return self.answer(f"release {self.desired.release} is there")
        artifacts = resolve(self.desired.release, self.state.host.architecture, self.sources)
        self.check_artifacts(artifacts)
        if not judged:
            require_accepted(artifacts, self.checked_flags)
        arguments["files"] = {file.path: file.sha512 for file in artifacts.files}
        if self._connection.transport == "local":  # the files are on that machine: nothing is packed and sent
            arguments["source"] = str(artifacts.directory)
        found = self.module("gvisor_release", **arguments)
        if found.get("upload"):
            try:
                self._connection.put_file(str(pack(artifacts)), posixpath.join(found["upload"], "release.tar.gz"))
            except AnsibleError as error:
                raise GvisorNodesError(
                    f"cannot upload release {self.desired.release}", why=str(error), remedy="run the same command again"
                ) from error
            self.memory["round_trips"] += 1
            found = self.module("gvisor_release", **arguments)
        self.memory["drivers"] = found.get("drivers")
        self.warn(*artifacts.warnings)
        verb = "placed" if found["changed"] else "is there"
        message = f"release {self.desired.release} {verb} ({artifacts.source})"
        return self.answer(message, changed=found["changed"], data={"warnings": list(artifacts.warnings)})

    def check_artifacts(self, artifacts):
        """What the binaries themselves say against this node, before any of them is sent there."""
        known, version = self.known_releases(), self.state.containerd.version
        predicted = list(compatibility.judge(version, self.desired.release, known=known))
        found = compatibility.judge(version, self.desired.release, shim=artifacts.shim_containerd, known=known)
        self.say(found)
        listing = driver_lists.of_artifacts(artifacts)
        if listing is not None:
            predicted += gpu.findings(self.desired, self.state, known=known)
            listed = gpu.findings(self.desired, self.state, target=listing, known=known)
            self.say(listed, step="nvproxy")
            found = (*found, *listed)
        outdated = {str(one) for one in predicted} - {str(one) for one in found}
        self.memory["warnings"] = [text for text in self.memory.get("warnings", []) if text not in outdated]

    @property
    def checked_flags(self):
        """The flags that a binary can be asked about: one that names a log would already write that log."""
        return [flag for flag in self.desired.flags if not flag.startswith("--debug-log=")]

    def judged_from_cache(self):
        """Whether the release's runsc was asked about the flags here, without fetching or building anything for it."""
        if not self.checked_flags:
            return True
        here = dataclasses.replace(self.sources, offline=True, go_module=False)
        try:
            artifacts = resolve(self.desired.release, self.state.host.architecture, here)
        except GvisorNodesError:
            return False
        return require_accepted(artifacts, self.checked_flags)
