# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose the generation to go back to, and make it current by one rename.

What is chosen is kept in the host's memory: from there on every step (proof, seal) works for that generation's release
and flags, not for those of the inventory.
"""

from __future__ import annotations

from ansible.plugins.loader import action_loader

from orchestrator.errors import GvisorNodesError
from orchestrator.planning.plan import generation_files
from orchestrator.planning.rollback import choose, plan_rollback, state_of

ProbeAction = action_loader.get("gvisor_probe", class_only=True)


class ActionModule(ProbeAction):
    """Steps ``probe`` and ``generation``, told apart by the argument ``state``."""

    _VALID_ARGS = frozenset(("state",))

    def act(self):
        if self._task.args.get("state") == "switch":
            return self.switch()
        self.memory.clear()
        if self.check_mode:
            self.probe()
        else:
            self.hold()
        try:
            return self.chosen()
        except GvisorNodesError:
            if self.memory.get("token"):
                self.probe(unlock=self.memory.pop("token"))
            raise

    def chosen(self):
        """The answer to a probe: what would be done, or why it cannot be."""
        target = choose(self.state, self.settings.rollback_generation)
        self.desired = state_of(self.desired, target)
        plan = plan_rollback(self.desired, self.state, target)
        self.memory["target"] = target.as_data()
        self.memory["plan"] = plan.as_data()
        message = f"generation {target.number} is current already"
        if plan.needed:
            message = "; ".join(f"{change.what}: {change.why}" for change in plan.changes)
        return self.answer(message, data={"plan": self.memory["plan"], "state": self.summary()})

    def switch(self):
        self.step = "generation"
        number = self.memory["target"]["number"]
        current = self.state.tree.current
        if current == str(number):
            return self.answer("nothing to do")
        path = f"{self.desired.directory}/current"
        diff = {"before": f"{current}\n", "before_header": path, "after": f"{number}\n", "after_header": path}
        if self.check_mode:
            return self.answer(f"would make generation {number} current", changed=True, diff=diff)
        self.module(
            "gvisor_files",
            **self.place,
            token=self.memory["token"],
            directory=self.desired.directory,
            files=generation_files(self.desired, number)[-1:],
        )
        return self.answer(f"generation {number} is current", changed=True, diff=diff)
