# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Probe a node and plan: with ``state: begin`` also take the lease, with ``state: end`` give it back."""

from __future__ import annotations

import os
import uuid

from ansible.plugins.loader import action_loader

from orchestrator.errors import RefusedError
from orchestrator.planning import generations
from orchestrator.planning.plan import needs

NodeAction = action_loader.get("gvisor_base", class_only=True).__mro__[1]


class ActionModule(NodeAction):
    """Steps ``probe``, ``lock`` and ``unlock``."""

    _VALID_ARGS = frozenset(("state", "removal", "refuse"))
    step = "probe"

    def act(self):
        verb = self._task.args.get("state", "probe")
        if verb == "end":
            self.step = "unlock"
            if self.memory.get("token"):
                self.probe(unlock=self.memory["token"])
            return self.answer("the node is free for another run")
        if verb == "begin":
            return self.begin()
        self.memory.clear()  # of an earlier play, or of a cache of facts
        self.probe()
        return self.planned()

    def begin(self):
        """Nobody else changes this node from here on; read again what it is like now."""
        self.step = "lock"
        if self.check_mode:
            return self.answer("check mode takes no lease")
        waited = self.hold()
        message = f"waited {waited} s for another run" if waited >= 1 else "holds the node"
        result = self.planned()
        result["msg"] = result["gvisor"]["message"] = message
        return result

    def hold(self):
        """Take the lease and read the node anew; return the seconds that another run was waited for."""
        token = uuid.uuid4().hex
        lock = {
            "token": token,
            "holder": self.holder(),
            "timeout": self.settings.lock_timeout,
            "ttl": self.settings.lock_ttl,
            "process": os.getppid() if self._connection.transport == "local" and self.desired.is_live else 0,
        }
        found = self.probe(lock=lock)
        self.memory["token"] = token
        if not self._task.args.get("removal"):
            self.remember_current()
        return found.get("waited", 0)

    def planned(self):
        plan = self.plan(self.known_releases())
        self.memory["plan"] = plan.as_data()
        ready = self._task.args.get("refuse", True) and not self._task.args.get("removal")
        if ready and plan.refusals and (plan.needed or self.step == "lock"):
            first, *others = plan.refusals
            more = "".join(f"; also: {r.what} ({r.why}): {r.remedy}" for r in others)
            raise RefusedError(first.what, why=first.why, remedy=first.remedy + more, step="preflight")
        if not self._task.args.get("removal"):
            self.memory["warnings"] = []
            self.warn(*plan.warnings)
        data = {"plan": self.memory["plan"], "state": self.summary()}
        if self._task.args.get("removal"):
            message = "gVisor is installed" if self.state.journal else "nothing of gvisor-nodes is here"
        else:
            message = "; ".join(f"{c.what}: {c.why}" for c in plan.changes) or "nothing to do"
        return self.answer(message, data=data)

    def summary(self):
        """The state without the long texts."""
        state = self.state
        containerd = state.containerd
        return {
            "host": state.host.model_dump(),
            "containerd": {"version": containerd.version, "config": containerd.config, "pid": containerd.pid},
            "tree": {
                "current": state.tree.current,
                "generations": {n: g.model_dump() for n, g in state.tree.generations.items()},
                "releases": sorted(state.tree.releases),
            },
            "journal": None if state.journal is None else {"sealed": state.sealed},
            "pods": generations.pod_data(generations.pods(state)),
            "generations": generations.table(needs(self.desired, state)),
            "retention": {
                "active": state.retention.active if state.retention else "",
                "stopped": state.retention.stopped if state.retention else "",
            },
            "nvidia": state.nvidia.model_dump(),
            "milliseconds": self.memory["state"].get("milliseconds"),
        }
