# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the host's NVIDIA driver with what the wanted release supports, before the flag is set. No round trip."""

from __future__ import annotations

from ansible.plugins.loader import action_loader

from orchestrator.errors import RefusedError
from orchestrator.gvisor.drivers import judge

NodeAction = action_loader.get("gvisor_base", class_only=True).__mro__[1]


class ActionModule(NodeAction):
    """Step ``nvproxy``."""

    step = "nvproxy"

    def act(self):
        if not self.desired.nvproxy:
            return self.answer("nvproxy is not asked for")
        if self.check_mode:
            return self.answer("the driver is checked when the release is on the node")
        found = self.state.nvidia
        verdict = judge(
            proc=found.proc,
            module=found.module,
            supported=self.memory.get("drivers") or "",
            release=self.desired.release,
        )
        data = {"verdict": verdict.kind, "driver": verdict.driver, "nearest": verdict.nearest}
        if verdict.kind in {"known-unsupported", "unknown", "reboot-pending"}:
            raise RefusedError(verdict.message, why=f"verdict: {verdict.kind}", remedy=verdict.remedy)
        return self.answer(verdict.message, data=data)
