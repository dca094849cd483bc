# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge the host's NVIDIA driver for the release in use and for others, changing nothing. No round trip."""

from __future__ import annotations

from ansible.plugins.loader import action_loader

from orchestrator.errors import GvisorNodesError
from orchestrator.gvisor import driver_lists
from orchestrator.planning import gpu_report

NodeAction = action_loader.get("gvisor_base", class_only=True).__mro__[1]


class ActionModule(NodeAction):
    """Step ``drivers``: a failure where GPU containers would fail with a release that was asked for."""

    step = "drivers"

    def act(self):
        state = self.state
        asked = self.settings.check_releases or (self.desired.release,)
        lists = {}
        for release in gpu_report.lists_needed(state, asked):
            lists[release] = driver_lists.of_release(release, state.host.architecture, self.sources, fetch=True)
        report = gpu_report.make(state, asked, lists, flags=self.desired.flags, known=self.known_releases())
        if not report.failures:
            return self.answer(report.message, data=report.as_data())
        first = report.failures[0]
        result = self.failure(GvisorNodesError(first.what, why=first.why, remedy=first.remedy))
        result["gvisor"]["data"] = report.as_data()
        return result
