# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the generation, the dispatchers and ``current``, or the directory for debug logs and what keeps it small."""

from __future__ import annotations

import base64

from ansible.plugins.loader import action_loader

from orchestrator.planning.debug_logs import TIMER, log_files
from orchestrator.planning.plan import generation_files

NodeAction = action_loader.get("gvisor_base", class_only=True).__mro__[1]


class ActionModule(NodeAction):
    """Steps ``generation`` and ``debug-logs``, told apart by the argument ``of``."""

    _VALID_ARGS = frozenset(("of",))

    def act(self):
        logs = self._task.args.get("of") == "debug_logs"
        self.step = "debug-logs" if logs else "generation"
        plan = self.plan()
        files = log_files(self.desired, self.state) if logs else generation_files(self.desired, plan.generation)
        wanted = plan.needs("logs") if logs else plan.needs("generation", "files")
        what = self.desired.debug_logs_directory if logs else f"generation {plan.generation}"
        if not wanted:
            return self.answer("nothing to do")
        if self.check_mode:
            return self.answer(f"would make {what}", changed=True, diff=[self.as_diff(file) for file in files])
        settings = {
            "directory": self.desired.directory,
            "handler": self.desired.handler,
            "service": self.desired.service,
        }
        found = self.module(
            "gvisor_files",
            **self.place,
            token=self.memory["token"],
            files=files,
            timer=TIMER if logs else "",
            remember={"settings": settings},
            directory=self.desired.directory,
        )
        diff = [self.as_diff(file) for file in files if file["path"] in found["made"]]
        message = f"{what} made" if found["changed"] else f"{what} is there"
        return self.answer(message, changed=found["changed"], diff=diff)

    @staticmethod
    def as_diff(file):
        after = file.get("target", "")
        if "content" in file:
            after = base64.b64decode(file["content"]).decode()
        return {
            "before": "",
            "before_header": file["path"],
            "after": after,
            "after_header": f"{file['path']} ({file['kind']})",
        }
