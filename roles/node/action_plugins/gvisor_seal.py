# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""End an apply: call the rollback off, write down what was proved, give the lease back, report."""

from __future__ import annotations

from ansible.plugins.loader import action_loader

NodeAction = action_loader.get("gvisor_base", class_only=True).__mro__[1]


class ActionModule(NodeAction):
    """Steps ``seal`` and ``report``, told apart by the argument ``state``."""

    _VALID_ARGS = frozenset(("state",))

    def act(self):
        self.step = self._task.args.get("state", "report")
        return self.seal() if self.step == "seal" else self.report()

    def seal(self):
        if self.check_mode or not self.memory.get("token"):
            return self.answer("nothing to seal")
        proof = self.memory.get("proof") or {}
        target = self.memory.get("target") or {}
        seal = {
            "fingerprint": self.desired.fingerprint,
            "release": self.desired.release,
            "generation": target.get("number") or self.plan().generation,
            "flags": list(self.desired.flags),
            "directory": self.desired.directory,
            "proof": {"outcome": proof.get("outcome"), "seconds": proof.get("seconds")},
        }
        collects = self.memory["plan"]["collects"]
        self.module(
            "gvisor_seal",
            **self.place,
            token=self.memory["token"],
            service=self.desired.service,
            config=self.state.containerd.config,
            seal=seal,
            release=not collects,
        )
        if not collects:
            self.memory.pop("token")
        return self.answer("what was proved is written down")

    def report(self):
        if self.memory.get("token"):  # another run did it all while this one waited
            self.probe(unlock=self.memory.pop("token"))
        state = self.state
        sealed = state.sealed.get("proof") or {}
        proof = (self.memory.get("proof") or sealed).get("outcome", "")
        plan = self.memory["plan"]
        report = {
            "containerd": state.containerd.version,
            "release": self.desired.release,
            "generation": plan["generation"],
            "restarts": self.memory.get("restarts", 0),
            "proof": proof,
            "round_trips": self.memory.get("round_trips", 0),
            "changes": plan["changes"],
            "warnings": self.memory.get("warnings", []),
        }
        if not plan["needed"]:
            message = "nothing to do"
        elif self.check_mode:
            message = "this would be done"
        elif not plan["installs"]:
            message = "what nothing needs any more is removed"
        else:
            verb = "back" if "target" in self.memory else "installed"
            done = f"{verb} and proved" if proof == "proved" else f"{verb}; nothing runs from this root to prove it"
            message = f"gVisor {self.desired.release} is {done}"
        return self.answer(message, data=report)
