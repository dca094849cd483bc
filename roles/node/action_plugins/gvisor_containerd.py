# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The containerd transaction: candidates, staged validation, commit with an armed rollback, CRI check.

``state: present`` makes the handler known, ``state: rollback`` puts the old bytes (and the previous generation) back.
Removing the handler is part of `gvisor_uninstall`, which uses the same steps.
"""

from __future__ import annotations

import base64

from ansible.plugins.loader import action_loader

from orchestrator.errors import GvisorNodesError, RefusedError
from orchestrator.planning.containerd_config import remove_handler, verify_dump
from orchestrator.planning.plan import handler

NodeAction = action_loader.get("gvisor_base", class_only=True).__mro__[1]


class ActionModule(NodeAction):
    """Steps ``containerd`` and ``rollback``."""

    _VALID_ARGS = frozenset(("state",))
    step = "containerd"

    def act(self):
        if self._task.args.get("state") == "rollback":
            return self.roll_back()
        plan = self.plan()
        daemon = self.state.containerd
        if plan.refusals:
            first = plan.refusals[0]
            raise RefusedError(first.what, why=first.why, remedy=first.remedy)
        self.memory.setdefault("restarts", 0)
        if not plan.edits[0].changes:
            return self.unchanged()
        edit = self.valid(plan.edits)
        file = edit.drop_in or daemon.config
        diff = {
            "before": (edit.current or b"").decode(errors="replace"),
            "before_header": file,
            "after": edit.content.decode(errors="replace"),
            "after_header": file,
        }
        if self.check_mode:
            return self.answer(
                f"would add {', '.join(edit.added)} and restart containerd once", changed=True, diff=diff
            )
        self.commit(edit.content, edit.drop_in, keep_original=self.is_foreign(edit.current))
        self.check()
        return self.answer(
            f"handler {self.desired.handler} added to {file}, containerd restarted once",
            changed=True,
            diff=diff,
            data={"restarts": 1},
        )

    @property
    def common(self):
        daemon = self.state.containerd
        return {
            **self.place,
            "token": self.memory.get("token", ""),
            "config": daemon.config,
            "binary": daemon.binary,
            "service": self.desired.service,
            "socket": daemon.socket,
            "rollback_seconds": self.settings.rollback_seconds,
            "restart_timeout": self.settings.restart_timeout,
        }

    def valid(self, edits):
        """The first candidate that the daemon's own binary reads as meant: our table is there, nothing else differs."""
        before = self.state.containerd.dump.text
        reasons = []
        for edit in edits:
            file = edit.drop_in or self.state.containerd.config
            content = base64.b64encode(edit.content).decode()
            staged = self.module(
                "gvisor_containerd", **self.common, state="stage", content=content, drop_in=edit.drop_in
            )
            dump = staged["dump"]
            if edit.drop_in and edit.current is None and staged["found"] is not None:
                reasons.append(f"{file} is there already and was not made by gvisor-nodes")
                continue
            if dump["rc"] != 0:
                reasons.append(f"{file}: containerd does not read it: {dump['error'].strip().splitlines()[-1:]}")
                continue
            differences = verify_dump(before, dump["text"], handler(self.desired))
            if not differences:
                return edit
            reasons.append(f"{file}: it would change more than our handler: " + "; ".join(differences[:5]))
        raise RefusedError(
            f"no safe change of {self.state.containerd.config} was found",
            why=" | ".join(reasons),
            remedy=f"add the handler by hand (runtime_type {self.desired.shim}), or simplify the file",
        )

    def is_foreign(self, content):
        """Whether nothing in the file is ours, so that it is what an uninstall shall restore."""
        return content is None or remove_handler(content, self.original, handler(self.desired)) == content

    @property
    def original(self):
        """The file's bytes before us, as the node kept them."""
        text = self.memory["state"].get("original")
        return None if text is None else text.encode("utf-8", "surrogateescape")

    def commit(self, content, drop_in=None, *, keep_original, wanted="installed"):
        """Write the main file, or the drop-in; None removes it."""
        daemon = self.state.containerd
        beside = daemon.drop_in.file if daemon.drop_in and daemon.drop_in.path == drop_in else None
        file = beside if drop_in else daemon.file
        arguments = {
            **self.common,
            "state": "commit",
            "drop_in": drop_in,
            "expect": file.sha256 if file else "absent",
            "keep_original": keep_original,
            "wanted": wanted,
        }
        if content is not None:
            arguments["content"] = base64.b64encode(content).decode()
        self.memory["restarts"] = self.memory.get("restarts", 0) + (1 if self.desired.is_live else 0)
        try:
            self.module("gvisor_containerd", **arguments)
        except GvisorNodesError as error:
            self.undo(error)

    def check(self, *, gone=False):
        """The only success there is: CRI answers, and the running daemon shows our handler with our ConfigPath."""
        if not self.desired.is_live:
            return
        status = self.cri("status", wait=True, timeout=float(self.settings.restart_timeout))
        if gone:
            if status.get("ok") and self.desired.handler not in status.get("handlers", {}):
                return
            why = (status.get("error") or {}).get("detail") or "the handler is still there"
        elif self.serves(status):
            return
        else:
            why = (status.get("error") or {}).get(
                "detail"
            ) or f"handlers: {', '.join(status.get('handlers', {})) or 'none'}"
        self.undo(
            GvisorNodesError(
                "containerd's CRI does not answer as it should after the restart",
                why=why,
                remedy="see journalctl -u " + self.desired.service,
            )
        )

    def serves(self, status):
        found = (status.get("handlers") or {}).get(self.desired.handler) or {}
        wanted = {"runtime_type": self.desired.shim, "config_path": self.desired.config_path}
        return bool(status.get("ok")) and {key: found.get(key) for key in wanted} == wanted

    def unchanged(self):
        """The file is right: a killed run may have written it without a restart, so ask the running daemon."""
        if self.check_mode or not self.desired.is_live:
            return self.answer("nothing to do")
        status = self.cri("status", timeout=20.0)
        if self.serves(status):
            return self.answer("the running containerd serves the handler")
        self.memory["restarts"] += 1
        self.module("gvisor_containerd", **self.common, state="commit", expect="unchanged")
        self.check()
        return self.answer(
            "the file was right, containerd had not read it: restarted once", changed=True, data={"restarts": 1}
        )

    def undo(self, error):
        """Put the old bytes back on the node and raise what went wrong."""
        undone = self.module("gvisor_containerd", **self.common, state="rollback", current=self.memory.get("previous"))
        if undone.get("rolled_back"):
            self.memory["restarts"] = self.memory.get("restarts", 0) + 1
            raise GvisorNodesError(
                error.what,
                why=error.why,
                remedy=f"the old configuration is back and containerd runs with it; {error.remedy}",
            ) from error
        raise error

    def roll_back(self):
        """After a failed proof: bytes, generation, lease."""
        self.step = "rollback"
        if self.check_mode or not self.memory.get("token"):
            return self.answer("nothing to put back")
        found = self.module("gvisor_containerd", **self.common, state="rollback", current=self.memory.get("previous"))
        self.memory["restarts"] = self.memory.get("restarts", 0) + (1 if found["rolled_back"] else 0)
        back = ["the old configuration is back"] if found["rolled_back"] else []
        if found["switched"]:
            back.append(f"generation {self.memory['previous']['number']} is current again")
        return self.answer("; ".join(back) or "nothing to put back", changed=found["changed"])
