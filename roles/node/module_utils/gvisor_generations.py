# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: Apache-2.0
"""Which generation is current, which were before it, and taking away those that nothing needs.

A switch is one rename of ``current``. Its intent is in the journal before, so that a process killed anywhere leaves a
history that fits whichever side of the rename it died on. A collection decides nothing new: the controller names what
it saw unused, and this module keeps all of it that anything on the node needs *now*. Standard library only,
Python >= 3.9, no Ansible.
"""

from __future__ import annotations

import base64
import os
import shutil
import time

from ansible.module_utils.gvisor_host import listdir, read_text, users
from ansible.module_utils.gvisor_journal import STAGED_SUFFIX, NodeError, sync_directory

DOOMED = ".removed"
INCOMING = ".incoming"
SHORTEST_GRACE = 600
"""Seconds: a shim may have read ``current`` and not yet written its record, and a loaded node is slow."""
OWN_FILES = ("release", "flags")


def clock():
    """Now, as it is kept: seconds since the boot (no administrator sets that clock) and which boot it was."""
    boot = (read_text("/proc/sys/kernel/random/boot_id") or "").strip()
    return {"boot_id": boot, "seconds": round(time.clock_gettime(time.CLOCK_BOOTTIME), 3), "at": int(time.time())}


def age(retired):
    """Seconds since ``retired``; those of another boot were long ago, none of their processes lives."""
    now = clock()
    return now["seconds"] - retired["seconds"] if retired.get("boot_id") == now["boot_id"] else float("inf")


class Generations:
    """``journal.data["generations"]``: what was current when, by number.

    ``current`` and ``history`` (the sealed ones before it, newest first) as of the last switch, ``next`` the same for
    a switch that was begun; ``retired``, ``made`` and ``sealed`` by number; ``last`` the highest number ever given.
    """

    def __init__(self, journal, directory):
        self.journal = journal
        self.root = journal.root
        self.directory = directory
        self.path = os.path.join(directory, "current")
        self.data = journal.data.setdefault("generations", {})
        for name in ("retired", "made", "sealed"):
            self.data.setdefault(name, {})

    @property
    def current(self):
        """The number in ``current``; ``None`` where there is no such file."""
        return (read_text(self.root.real(self.path)) or "").strip() or None

    @property
    def known(self):
        """Whether ``current`` is what we last made it: else nobody knows when which generation was in use."""
        current, intent = self.current, self.data.get("next") or {}
        return current is not None and current in (self.data.get("current"), intent.get("current"))

    @property
    def history(self):
        """The sealed generations before the current one, newest first."""
        current, intent = self.current, self.data.get("next")
        if intent and intent["current"] == current:
            return list(intent["history"])
        return [number for number in self.data.get("history", []) if number != current]

    def was_sealed(self, number):
        last = (self.journal.data.get("sealed") or {}).get("generation")
        return number in self.data["sealed"] or number == str(last)

    def base(self, number):
        return os.path.join(self.directory, "generations", number)

    def is_whole(self, number):
        """Whether a new pod would find everything that a generation is made of."""
        base = self.root.real(self.base(number))
        runsc = os.path.join(base, "release", "runsc")
        return os.path.isfile(os.path.join(base, "flags")) and os.path.isfile(runsc)

    def switch(self, wanted, history=None):
        """Put ``current`` (as `Journal.put` takes it) and record the switch; True if anything changed.

        ``history`` is given where a switch is undone: what is undone never was.

        Raises:
            NodeError: the generation is not whole, so new pods would fail.
        """
        old, new = self.current, base64.b64decode(wanted["content"]).decode().strip()
        if not self.is_whole(new):
            raise NodeError(
                "generation %s is not whole" % new,
                why="its link to a release, its flags or that release's runsc are missing",
                remedy="gvisor-nodes apply places what is missing",
            )
        if old == new:
            return self.journal.put(wanted)
        before = self.history
        if history is None:
            history = [old, *before] if old is not None and self.was_sealed(old) else before
        history = [number for number in dict.fromkeys(history) if number != new]
        self.data.update(current=old, history=before, next={"current": new, "history": history})
        self._describe(new)
        self._retire(old)
        self.journal.save()
        self.journal.put(wanted)
        self.data.update(current=new, history=history, next=None)
        self.data["retired"].pop(new, None)
        self._retire(old)
        self.journal.save()
        return True

    def go_back(self, number, history):
        """Undo a switch after a failed proof; False where there is nothing to go back to."""
        if self.current in (None, number) or not self.is_whole(number):
            return False
        content = base64.b64encode(b"%s\n" % number.encode()).decode()
        return self.switch({"path": self.path, "kind": "file", "mode": "0644", "content": content}, history)

    def seal(self, number, at):
        """The current generation was proved. What has no date of its retirement, as on older nodes, gets one now."""
        current, history = self.current, self.history
        self.data.update(current=current, history=history, next=None)
        self.data["sealed"][number] = at
        self._describe(number)
        for other in listdir(self.root.real(os.path.join(self.directory, "generations"))):
            if other.isdigit() and other != current and other not in self.data["retired"]:
                self._retire(other)

    def _retire(self, number):
        if number is not None and number.isdigit():
            self.data["retired"][number] = clock()

    def _describe(self, number):
        """Remember what a generation is, for the day on which somebody deleted it and a pod needs it."""
        base = self.root.real(self.base(number))
        if number not in self.data["made"]:
            self.data["made"][number] = {
                "at": int(time.time()),
                "release": os.path.basename(os.readlink(os.path.join(base, "release"))),
                "flags": read_text(os.path.join(base, "flags")) or "",
            }
        if number.isdigit():
            self.data["last"] = max(int(number), self.data.get("last") or 0)

    def forget(self, number):
        for name in ("retired", "made", "sealed"):
            self.data[name].pop(number, None)
        self.data["history"] = [other for other in self.history if other != number]


class Collection:
    """Takes away generations and releases that nothing needs, looking at the node before and after each rename.

    Order: announce the doomed name, rename, look again (and rename back what came into use), delete, forget. The
    journal forgets last, so that an uninstall after a kill at any point still knows every path there is.
    """

    def __init__(self, journal, options):
        self.journal = journal
        self.root = journal.root
        self.generations = Generations(journal, options["directory"])
        self.options = options
        self.kept = {}
        self.collected = []

    def run(self):
        """Take away ``options["generations"]`` and ``options["releases"]`` as far as nothing needs them."""
        if not self.root.is_live and not self.options.get("users"):
            raise NodeError(
                "nothing is collected under another root than /",
                why="who uses the files there is not known",
                remedy="run it over SSH or locally",
                refused=True,
            )
        self._take("generations", self.options["generations"], self.why_generation)
        # After the generations: a release goes with the last generation that has it.
        self._take("releases", self.options["releases"], self.why_release)
        return {"collected": self.collected, "kept": self.kept}

    def users(self):
        if self.options.get("users"):
            return self.options["users"]()
        return users(self.root, self.options["directory"], self.options["containerd_state"])

    def _path(self, kind, name):
        return os.path.join(self.options["directory"], kind, name)

    def _take(self, kind, names, why_kept):
        found = self.users()
        doomed = []
        for name in names:
            plain = name[: -len(DOOMED)] if name.endswith(DOOMED) else name
            path = self._path(kind, plain)
            reason = why_kept(plain, found, halfway=name != plain)
            if "/" in name or name.startswith(".") or self.journal.entry(path) is None:
                reason = "it was not made by gvisor-nodes"
            if reason:
                self.kept["%s/%s" % (kind, name)] = reason
            else:
                self._doom(path, rename=name == plain)
                doomed.append((name, plain, path))
        if not doomed:
            return
        sync_directory(self.root.real(os.path.join(self.options["directory"], kind)))
        found = self.users()
        for name, plain, path in doomed:
            real = self.root.real(path)
            reason = why_kept(plain, found, halfway=True)
            if reason:
                if not os.path.lexists(real):
                    os.rename(real + DOOMED, real)
                self.kept["%s/%s" % (kind, name)] = reason
                continue
            if os.path.lexists(real + DOOMED):
                shutil.rmtree(real + DOOMED)
            self._forget(kind, name, plain, path)

    def _doom(self, path, rename):
        """Give ``path`` its doomed name, which the journal knows first."""
        self.journal.announce([path + DOOMED], "directory", tree=True)
        real = self.root.real(path)
        if rename and os.path.lexists(real):
            if os.path.lexists(real + DOOMED):
                shutil.rmtree(real + DOOMED)
            os.rename(real, real + DOOMED)

    def _forget(self, kind, name, plain, path):
        gone = [path + DOOMED]
        if not os.path.lexists(self.root.real(path)):
            gone.append(path)
            if kind == "generations":
                self.generations.forget(plain)
            if not os.path.lexists(self.root.real(path + INCOMING)):
                gone.append(path + INCOMING)
        entries = self.journal.data["entries"]
        self.journal.data["entries"] = [
            entry for entry in entries if not any(entry["path"] == g or entry["path"].startswith(g + "/") for g in gone)
        ]
        self.journal.save()
        self.collected.append("%s/%s" % (kind, name))

    def why_generation(self, number, found, halfway):
        """Why a generation stays; empty where nothing needs it. ``halfway``: it has its doomed name already."""
        path = self.root.real(self._path("generations", number))
        if halfway and not os.path.lexists(path):
            path += DOOMED
        try:
            release = os.path.basename(os.readlink(os.path.join(path, "release")))
        except OSError:
            release = ""
        # One that is not whole was never current: a killed run left it.
        whole = not halfway and release and os.path.isfile(os.path.join(path, "flags"))
        strangers = [n for n in listdir(path) if n not in OWN_FILES and not n.endswith(STAGED_SUFFIX)]
        if not self.generations.known:
            return "current was changed by somebody else since the last apply"
        if strangers:
            return "others put files there: %s" % ", ".join(strangers)
        return self._why_used(number, release, found) or self._why_recent(number, whole)

    def _why_used(self, number, release, found):
        if number == self.generations.current:
            return "it is current"
        if number in self.generations.history[: self.options["keep"]]:
            return "it is kept for a rollback"
        if any(pod["generation"] == number for pod in found["pods"]):
            return "a pod needs it"
        if any(process["generation"] == number for process in found["processes"]):
            return "a process of it runs"
        if release and self._runs(release, found):
            return "a process runs from its release"
        return ""

    def _why_recent(self, number, whole):
        retired = self.generations.data["retired"].get(number)
        grace = max(self.options["grace"], SHORTEST_GRACE)
        if retired is None:
            return "when it was current last is not known" if whole else ""
        return "it was current less than %d minutes ago" % (grace // 60) if age(retired) < grace else ""

    def why_release(self, release, found, halfway):
        """Why a release stays; empty where nothing needs it."""
        replaced = halfway and os.path.lexists(self.root.real(self._path("releases", release)))
        if self._runs(release + DOOMED if replaced else release, found):
            return "a process runs from it"
        if replaced or release.endswith(INCOMING):
            return ""
        base = self.root.real(os.path.join(self.options["directory"], "generations"))
        numbers = listdir(base)
        for number in numbers:
            try:
                if os.path.basename(os.readlink(os.path.join(base, number, "release"))) == release:
                    return "generation %s has it" % number
            except OSError:
                continue
        if any(pod["generation"] and pod["generation"] not in numbers for pod in found["pods"]):
            return "a pod's generation is missing, and it may be of this release"
        return ""

    def _runs(self, release, found):
        below = tuple(self._path("releases", release + suffix) + "/" for suffix in ("", DOOMED))
        return any(process["exe"].startswith(below) for process in found["processes"])
