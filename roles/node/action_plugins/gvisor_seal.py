# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""End an apply: call the rollback off, write down what was proved, give the lease back, report."""

from __future__ import annotations

from ansible.plugins.loader import action_loader

NodeAction = action_loader.get("gvisor_base", class_only=True).__mro__[1]


class ActionModule(NodeAction):
    """Step ``report``."""

    step = "report"

    def act(self):
        state = self.state
        if self.memory["plan"]["needed"] and not self.check_mode:
            proof = self.memory.get("proof") or {}
            seal = {
                "fingerprint": self.desired.fingerprint,
                "release": self.desired.release,
                "generation": self.plan().generation,
                "flags": list(self.desired.flags),
                "directory": self.desired.directory,
                "proof": {"outcome": proof.get("outcome"), "seconds": proof.get("seconds")},
            }
            self.module(
                "gvisor_seal",
                **self.place,
                token=self.memory["token"],
                service=self.desired.service,
                config=state.containerd.config,
                seal=seal,
            )
        sealed = state.sealed.get("proof") or {}
        proof = (self.memory.get("proof") or sealed).get("outcome", "")
        report = {
            "containerd": state.containerd.version,
            "release": self.desired.release,
            "restarts": self.memory.get("restarts", 0),
            "proof": proof,
            "round_trips": self.memory.get("round_trips", 0),
            "changes": self.memory["plan"]["changes"],
            "warnings": self.memory.get("warnings", []),
        }
        if not self.memory["plan"]["needed"]:
            message = "nothing to do"
        elif self.check_mode:
            message = "this would be done"
        else:
            done = "installed and proved" if proof == "proved" else "installed; nothing runs from this root to prove it"
            message = f"gVisor {self.desired.release} is {done}"
        return self.answer(message, data=report)
