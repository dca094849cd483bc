# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a node is as it was wanted, changing nothing: drift is a failure that names what drifted."""

from __future__ import annotations

from ansible.plugins.loader import action_loader

from orchestrator.errors import GvisorNodesError

ProbeAction = action_loader.get("gvisor_probe", class_only=True)


class ActionModule(ProbeAction):
    """Steps ``verify`` and ``report``."""

    _VALID_ARGS = frozenset(("state",))
    step = "verify"

    def act(self):
        if self._task.args.get("state") == "report":
            return self.report()
        self.probe()
        plan = self.plan(self.known_releases())
        self.memory["plan"] = plan.as_data()
        self.warn(*plan.warnings)
        if self.state.journal is None:
            raise GvisorNodesError(
                "gVisor is not installed here", why="the node has no journal", remedy="gvisor-nodes apply"
            )
        # A proof that is merely due (containerd was started anew) is made by the next task; unused is no drift.
        drift = [change for change in plan.changes if change.step not in {"proof", "collect"}]
        if drift:
            raise GvisorNodesError(
                "the node is not as it should be",
                why="; ".join(f"{change.what}: {change.why}" for change in drift),
                remedy="gvisor-nodes apply repairs it",
            )
        return self.answer(
            "everything is as it was sealed", data={"plan": self.memory["plan"], "state": self.summary()}
        )

    def report(self):
        self.step = "report"
        proof = self.memory.get("proof") or {}
        data = {
            "containerd": self.state.containerd.version,
            "release": self.desired.release,
            "restarts": 0,
            "proof": proof.get("outcome", ""),
            "round_trips": self.memory.get("round_trips", 0),
            "changes": [],
            "warnings": self.memory.get("warnings", []),
        }
        return self.answer(f"gVisor {self.desired.release} is proved", data=data)
