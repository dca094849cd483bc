# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start a sandbox through CRI with the installed handler and look at what really runs."""

from __future__ import annotations

from ansible.plugins.loader import action_loader

from orchestrator.errors import GvisorNodesError

NodeAction = action_loader.get("gvisor_base", class_only=True).__mro__[1]


class ActionModule(NodeAction):
    """Step ``proof``."""

    step = "proof"

    def act(self):
        if self.check_mode:
            return self.answer("check mode proves nothing")
        if not self.desired.is_live:
            self.memory["proof"] = {"outcome": "not-possible"}
            return self.answer("no daemon runs from this root: nothing to prove")
        found = self.cri("prove", timeout=float(self.settings.proof_timeout))
        self.memory["proof"] = {
            "outcome": found["outcome"],
            "seconds": found.get("seconds"),
            "evidence": found.get("evidence") or {},
        }
        if found["outcome"] != "proved":
            raise GvisorNodesError(
                f"the sandbox is not proved: {found['outcome']}",
                why=found.get("detail", ""),
                remedy=found.get("remedy", ""),
            )
        return self.answer(
            f"a sandbox of {self.desired.release} ran and was removed, {found['seconds']:.1f} s",
            data={"proof": self.memory["proof"]},
        )
