# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the wanted release to the node: checked here before the node sees it, checked there before it gets its name."""

from __future__ import annotations

import posixpath
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.plugins.loader import action_loader

from orchestrator.errors import GvisorNodesError, RefusedError
from orchestrator.gvisor import compatibility, driver_lists
from orchestrator.gvisor.artifacts import DEFAULT_BUCKET, ArtifactSources, resolve
from orchestrator.gvisor.bundle import pack
from orchestrator.planning import gpu

NodeAction = action_loader.get("gvisor_base", class_only=True).__mro__[1]


class ActionModule(NodeAction):
    """Step ``release``."""

    step = "release"

    def act(self):
        plan = self.plan()
        if self.check_mode:
            if not plan.needs("release"):
                return self.answer(f"release {self.desired.release} is there")
            diff = {"before": "", "after": "", "after_header": f"{self.desired.release_directory}/"}
            return self.answer(f"would place release {self.desired.release}", changed=True, diff=diff)
        if not plan.needs("release") and not self.desired.nvproxy:
            return self.answer(f"release {self.desired.release} is there")
        settings = self.settings
        artifacts = resolve(
            self.desired.release,
            self.state.host.architecture,
            ArtifactSources(
                directory=Path(settings.artifacts_directory) if settings.artifacts_directory else None,
                releases_files=tuple(Path(name) for name in settings.releases_files),
                bucket=settings.bucket or DEFAULT_BUCKET,
                offline=settings.offline,
            ),
        )
        self.check_artifacts(artifacts)
        arguments = {
            **self.place,
            "token": self.memory["token"],
            "login": self._connection.get_option("remote_user") or "" if self._connection.transport == "ssh" else "",
            "directory": self.desired.directory,
            "release": self.desired.release,
            "files": {file.path: file.sha512 for file in artifacts.files},
            # Checking a flag that names a log would already write that log.
            "flags": [flag for flag in self.desired.flags if not flag.startswith("--debug-log=")],
            "drivers": self.desired.nvproxy or gpu.has_driver(self.state),
        }
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
        self.say(found, self.step)
        listing = driver_lists.of_artifacts(artifacts)
        if listing is not None:
            predicted += gpu.findings(self.desired, self.state, known=known)
            listed = gpu.findings(self.desired, self.state, target=listing, known=known)
            self.say(listed, "nvproxy")
            found = (*found, *listed)
        outdated = {str(one) for one in predicted} - {str(one) for one in found}
        self.memory["warnings"] = [text for text in self.memory.get("warnings", []) if text not in outdated]

    def say(self, findings, step):
        for one in findings:
            if one.effect == "refuse":
                raise RefusedError(one.what, why=one.why, remedy=one.remedy, step=step)
            self.warn(str(one))
