# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take gVisor away: the handler first (staged, armed, one restart, CRI check), then every file the journal knows."""

from __future__ import annotations

import base64

from ansible.plugins.loader import action_loader

from orchestrator.errors import RefusedError
from orchestrator.planning.containerd_config import Handler, remove_handler, verify_removal
from orchestrator.planning.removal import running

ContainerdAction = action_loader.get("gvisor_containerd", class_only=True)


class ActionModule(ContainerdAction):
    """Steps ``preflight``, ``containerd`` and ``report`` of a removal."""

    _VALID_ARGS = frozenset(())
    step = "remove"

    def act(self):
        journal = self.state.journal
        if journal is None:
            return self.answer(
                "nothing of gvisor-nodes is on this node", step="report", data={"removed": False, "restarts": 0}
            )
        settings = journal.get("settings") or {}
        directory = settings.get("directory", self.desired.directory)
        refusal = running(self.state)
        if refusal and not self.check_mode and self.cri("clean", timeout=30.0).get("removed"):
            # It was a sandbox that a killed proof left behind.
            self.probe()
            refusal = running(self.state)
        if refusal:
            raise RefusedError(refusal.what, why=refusal.why, remedy=refusal.remedy, step="preflight")
        self.memory.setdefault("restarts", 0)
        handler = Handler(
            name=settings.get("handler", self.desired.handler),
            runtime_type=f"{directory}/containerd-shim-runsc-v1",
            config_path=f"{directory}/runsc.toml",
        )
        before = self.file.content
        after = self.without(handler, journal)
        if self.check_mode:
            return self.would(before, after, journal)
        if after != before:
            self.validate(after, handler)
            self.commit(after, self.drop_in, keep_original=False, wanted="removed")
            self.check(gone=True)
        elif self.lingers(handler, journal):
            self.memory["restarts"] += 1
            self.module("gvisor_containerd", **self.common, state="commit", expect="unchanged")
            self.check(gone=True)
        found = self.module(
            "gvisor_uninstall",
            **self.place,
            token=self.memory["token"],
            directory=directory,
            config=self.state.containerd.config,
        )
        data = {
            "removed": True,
            "restarts": self.memory["restarts"],
            "round_trips": self.memory["round_trips"],
            "kept": found["kept"],
        }
        message = "gVisor is removed"
        if found["kept"]:
            message += f"; left, because others put files there: {', '.join(found['kept'])}"
        return self.answer(message, changed=True, data=data, step="report")

    @property
    def file(self):
        """The file that the handler was written to: the one beside the main file, or the main file."""
        return self.state.containerd.drop_in or self.state.containerd

    @property
    def drop_in(self):
        """The path of the file beside the main file, where there is one."""
        return self.file.path if self.state.containerd.drop_in else None

    def lingers(self, handler, journal):
        """Whether the running daemon still serves what is no longer in its files: a removal was killed in between."""
        if not journal.get("containerd") or not self.desired.is_live:
            return False
        handlers = self.cri("status", timeout=20.0).get("handlers") or {}
        return (handlers.get(handler.name) or {}).get("config_path") == handler.config_path

    def without(self, handler, journal):
        """The configuration file as it is without us; None where there was none before."""
        content = self.file.content
        record = journal.get("containerd") or {}
        if content is None or not record:
            return content
        return remove_handler(content, self.original, handler)

    def validate(self, after, handler):
        """The daemon's own binary reads the file without us as the one with us, less our table."""
        if after is None and self.drop_in is None:
            return
        content = None if after is None else base64.b64encode(after).decode()
        dump = self.module("gvisor_containerd", **self.common, state="stage", content=content, drop_in=self.drop_in)[
            "dump"
        ]
        if dump["rc"] != 0:
            why = dump["error"].strip()
        else:
            why = "; ".join(verify_removal(self.state.containerd.dump.text, dump["text"], handler)[:5])
        if why:
            raise RefusedError(
                f"{self.drop_in or self.state.containerd.config} without our handler is not what it should be",
                why=why,
                remedy="take the tables marked gvisor-nodes out by hand, restart containerd, run remove again",
                step="containerd",
            )

    def would(self, before, after, journal):
        paths = [entry["path"] for entry in journal["entries"]]
        diff = [{"before": path + "\n", "after": "", "before_header": path} for path in reversed(paths)]
        if after != before:
            diff.insert(
                0,
                {
                    "before": (before or b"").decode(errors="replace"),
                    "after": (after or b"").decode(errors="replace"),
                    "before_header": self.drop_in or self.state.containerd.config,
                    "after_header": self.drop_in or self.state.containerd.config,
                },
            )
        data = {"removed": False, "restarts": 0}
        return self.answer(f"would remove {len(paths)} paths", changed=True, diff=diff, data=data, step="report")
