# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the host's NVIDIA driver with what the wanted release supports, before the switch to it. No round trip.

The node's own copy of the binary has listed its drivers in the step before. What is refused and what is only said is
decided in `orchestrator.planning.gpu`; this is the last moment before `current` names the release.
"""

from __future__ import annotations

from ansible.plugins.loader import action_loader

from orchestrator.planning import gpu

NodeAction = action_loader.get("gvisor_base", class_only=True).__mro__[1]


class ActionModule(NodeAction):
    """Step ``nvproxy``."""

    step = "nvproxy"

    def act(self):
        if not (self.desired.nvproxy or gpu.has_driver(self.state)):
            return self.answer("nvproxy is not asked for")
        if self.check_mode:
            return self.answer("the driver is checked when the release is on the node")
        listing = self.memory.get("drivers")
        if listing is None:
            listing = self.state.nvidia.supported.get(self.desired.release)
        self.say(gpu.findings(self.desired, self.state, target=listing, known=self.known_releases()))
        if not self.desired.nvproxy:
            return self.answer("nvproxy is not asked for")
        verdict = gpu.verdict(self.state, self.desired.release, listing or "", flags=self.desired.flags)
        data = {"verdict": verdict.kind, "driver": verdict.driver, "nearest": verdict.nearest}
        return self.answer(verdict.message, data=data)
