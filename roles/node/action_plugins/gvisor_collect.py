# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take away the generations and releases that nothing needs, after everything is proved and sealed."""

from __future__ import annotations

from ansible.plugins.loader import action_loader

from orchestrator.planning.generations import GRACE_SECONDS

NodeAction = action_loader.get("gvisor_base", class_only=True).__mro__[1]


class ActionModule(NodeAction):
    """Step ``collect``."""

    _VALID_ARGS = frozenset(())
    step = "collect"

    def act(self):
        unused = self.plan().unused
        if not unused:
            return self.answer("nothing to remove")
        paths = [f"{self.desired.directory}/{one.kind}/{one.name}" for one in unused]
        diff = [
            {"before": f"{one.why}\n", "after": "", "before_header": p} for one, p in zip(unused, paths, strict=True)
        ]
        if self.check_mode:
            what = ", ".join(one.what for one in unused)
            return self.answer(f"would remove {what}", changed=True, diff=diff)
        # The module gives the lease back, whatever happens.
        token = self.memory.pop("token")
        found = self.module(
            "gvisor_collect",
            **self.place,
            token=token,
            directory=self.desired.directory,
            containerd_state=self.state.containerd.state,
            generations=[one.name for one in unused if one.kind == "generations"],
            releases=[one.name for one in unused if one.kind == "releases"],
            keep=self.desired.keep_generations,
            grace=GRACE_SECONDS,
        )
        gone = [one.what for one in unused if f"{one.kind}/{one.name}" in found["collected"]]
        message = f"removed {', '.join(gone)}" if gone else "nothing was removed"
        if found["kept"]:
            message += "; still needed: " + ", ".join(f"{name} ({why})" for name, why in found["kept"].items())
        return self.answer(message, changed=found["changed"], diff=diff, data={"collected": gone})
