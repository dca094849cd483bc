# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: Apache-2.0
"""The node's memory of what was there before and what was made, and the only way files are written on it.

Every change is announced in the journal (flushed to disk) before it happens, so a process killed anywhere leaves a
journal from which both the next apply and an uninstall can go on. Nothing here decides anything: the controller sends
what to write, this module writes it by compare-and-swap. Standard library only, Python >= 3.9, no Ansible.
"""

from __future__ import annotations

import base64
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
import time

SCHEMA = 1
STAGED_SUFFIX = ".gvisor-nodes-staged"
TTL = 180
"""Seconds a lease lasts without being renewed, where the run that takes it does not say."""
OWN_NAMES = ("backup-", "rollback", "armed", "journal.json")
"""How the files in the state directory are called."""


class NodeError(Exception):
    """What the person at the controller must know: what failed, why, what to do; ``refused`` if nothing changed."""

    def __init__(self, what, why="", remedy="", refused=False):
        super().__init__(what)
        self.answer = {"what": what, "why": why, "remedy": remedy, "refused": refused}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def file_digest(path, algorithm="sha256"):
    digest = hashlib.new(algorithm)
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def describe(path):
    """What is at ``path``, in the words of the journal; ``None`` where nothing is."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    found = {"mode": "%04o" % stat.S_IMODE(status.st_mode), "uid": status.st_uid, "gid": status.st_gid}
    if stat.S_ISLNK(status.st_mode):
        found.update(kind="link", target=os.readlink(path))
    elif stat.S_ISDIR(status.st_mode):
        found.update(kind="directory")
    elif stat.S_ISREG(status.st_mode):
        found.update(kind="file", size=status.st_size, sha256=file_digest(path))
    else:
        found.update(kind="other")
    return found


def sync_directory(path):
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_file(path, data, mode=0o644, uid=None, gid=None, expect=None):
    """Write by a temporary file, fsync and one rename; with ``expect`` only over exactly that sha256 (``"absent"``).

    Raises:
        NodeError: another actor changed the file since it was read.
    """
    temporary = path + STAGED_SUFFIX
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            if uid is not None and (uid, gid) != (os.geteuid(), os.getegid()):
                os.fchown(file.fileno(), uid, gid)
            os.fsync(file.fileno())
        if expect is not None:
            now = file_digest(path) if os.path.lexists(path) else "absent"
            if now != expect:
                raise NodeError(
                    "%s was changed by somebody else" % path,
                    why="it was read as %s and is now %s" % (expect[:12], now[:12]),
                    remedy="run the same command again: it reads the file anew",
                )
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    sync_directory(os.path.dirname(path))


class Journal:
    """``<state>/journal.json``: entries in the order of the changes, each written down before it is made.

    An entry is ``{"path", "before": description | None, "made": kind, "tree": bool}``; ``containerd`` holds the state
    of the configuration change, ``sealed`` what was true when the last proof succeeded.
    """

    def __init__(self, root, directory):
        self.root = root
        self.directory = directory
        self.path = os.path.join(directory, "journal.json")
        self.data = {"schema": SCHEMA, "entries": [], "containerd": None, "sealed": None}
        self.exists = False
        try:
            with open(root.real(self.path), encoding="utf-8") as file:
                data = json.load(file)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise NodeError(
                "cannot read the journal %s" % self.path,
                why=str(error),
                remedy="save the file and move it away: without it an uninstall cannot know what was there before",
                refused=True,
            ) from error
        if data.get("schema") != SCHEMA:
            raise NodeError(
                "the journal %s has schema %r, this program writes %d" % (self.path, data.get("schema"), SCHEMA),
                remedy="use the version of gvisor-nodes that installed this node, or a newer one",
                refused=True,
            )
        self.data = data
        self.exists = True

    def save(self):
        text = json.dumps(self.data, indent=1, sort_keys=True).encode() + b"\n"
        if not self.exists:
            self._make_state_directory()
        write_file(self.root.real(self.path), text, mode=0o600)
        self.exists = True

    @property
    def begun(self):
        """Whether a run came here at all: a kill between making the directory and the first journal leaves it alone."""
        try:
            return all(name.startswith(OWN_NAMES) for name in os.listdir(self.root.real(self.directory)))
        except (FileNotFoundError, NotADirectoryError):
            return False

    def _make_state_directory(self):
        missing = [self.directory] if self.begun else []
        path = os.path.dirname(self.directory) if missing else self.directory
        while not os.path.isdir(self.root.real(path)):
            missing.append(path)
            path = os.path.dirname(path)
        for made in reversed(missing):
            os.makedirs(self.root.real(made), mode=0o755, exist_ok=True)
            os.chmod(self.root.real(made), 0o700 if made == self.directory else 0o755)
        self.data["state_directories"] = sorted(set(self.data.get("state_directories", [])) | set(missing))

    def entry(self, path):
        for entry in self.data["entries"]:
            if entry["path"] == path:
                return entry
        return None

    def announce(self, paths, made, tree=False):
        """Write down what is at ``paths`` now, before they are made; paths known already keep their first record."""
        new = [p for p in paths if self.entry(p) is None]
        for path in new:
            before = describe(self.root.real(path))
            self.data["entries"].append({"path": path, "before": before, "made": made, "tree": tree})
        if new:
            self.save()

    def backup(self, path):
        """Keep bytes, mode and owner of ``path`` in the state directory; return the backup's name, None if absent."""
        source = self.root.real(path)
        found = describe(source)
        if found is None:
            return None
        if not self.exists:
            self.save()
        with open(source, "rb") as file:
            data = file.read()
        name = "backup-%s" % found["sha256"][:16]
        target = self.root.real(os.path.join(self.directory, name))
        if describe(target) is None:
            write_file(target, data, mode=int(found["mode"], 8), uid=found["uid"], gid=found["gid"])
        return name

    # Making things -----------------------------------------------------------------------------------------------

    def make_directory(self, path, mode=0o755, tree=False):
        """Make ``path`` and its missing parents (0755); True if anything was made or its mode changed.

        With ``tree`` whatever is put into ``path`` later is ours too, and goes with it.
        """
        missing = []
        parent = path
        while not os.path.isdir(self.root.real(parent)):
            if os.path.lexists(self.root.real(parent)):
                raise NodeError("%s is not a directory" % parent, remedy="move it away, or choose another directory")
            missing.append(parent)
            parent = os.path.dirname(parent)
        for made in reversed(missing):
            self.announce([made], "directory", tree=tree and made == path)
            os.mkdir(self.root.real(made), 0o755)
            os.chmod(self.root.real(made), mode if made == path else 0o755)
        found = os.stat(self.root.real(path))
        if not missing and stat.S_IMODE(found.st_mode) != mode and self.entry(path) is not None:
            os.chmod(self.root.real(path), mode)
            return True
        return bool(missing)

    def put(self, wanted):
        """Make one thing of ``{"path", "kind": directory|file|link, "content" (base64), "mode", "target", "tree"}``."""
        path, kind = wanted["path"], wanted["kind"]
        mode = int(wanted.get("mode") or ("0755" if kind == "directory" else "0644"), 8)
        real = self.root.real(path)
        if kind == "directory":
            return self.make_directory(path, mode, bool(wanted.get("tree")))
        self.make_directory(os.path.dirname(path))
        found = describe(real)
        if kind == "link":
            if found and found["kind"] == "link" and found["target"] == wanted["target"]:
                return False
            self._ours(path, found)
            self.announce([path], "link")
            temporary = real + STAGED_SUFFIX
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            os.symlink(wanted["target"], temporary)
            os.replace(temporary, real)
            return True
        data = base64.b64decode(wanted["content"])
        if found and found["kind"] == "file" and found["sha256"] == sha256(data) and int(found["mode"], 8) == mode:
            return False
        self._ours(path, found)
        self.announce([path], "file")
        write_file(real, data, mode=mode)
        return True

    def _ours(self, path, found):
        """Refuse to write over something that was there before us."""
        if found is not None and (self.entry(path) is None or self.entry(path)["before"] is not None):
            raise NodeError(
                "%s is there already and was not made by gvisor-nodes" % path,
                why="it is a %s of %s:%s" % (found["kind"], found["uid"], found["gid"]),
                remedy="move it away, or choose another runsc_directory",
            )

    # Taking things away ------------------------------------------------------------------------------------------

    def take_back(self):
        """Reverse every entry, newest first; return the paths that stay because somebody else put things in them."""
        kept = []
        while self.data["entries"]:
            entry = self.data["entries"][-1]
            real = self.root.real(entry["path"])
            for leftover in (real + STAGED_SUFFIX,):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(leftover)
            if entry["before"] is None:
                if not self._remove(real, entry):
                    kept.append(entry["path"])
            elif entry["before"]["kind"] == "directory" and os.path.isdir(real):
                os.chmod(real, int(entry["before"]["mode"], 8))
            self.data["entries"].pop()
            self.save()
        return kept

    @staticmethod
    def _remove(real, entry):
        found = describe(real) if entry["made"] != "directory" else None
        try:
            if entry["made"] == "directory":
                if entry["tree"]:
                    remove_tree(real)
                else:
                    os.rmdir(real)
            elif found is not None and found["kind"] != "directory":
                os.unlink(real)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                return False
            raise
        return True

    def erase(self):
        """Remove the journal and the state directories that it made: the last act of an uninstall."""
        directory = self.root.real(self.directory)
        made = self.data.get("state_directories", [self.directory])
        if not os.path.isdir(directory):
            return
        for name in sorted(os.listdir(directory), key=lambda n: n == "journal.json"):
            if name.startswith(OWN_NAMES):
                os.unlink(os.path.join(directory, name))
        self.exists = False
        for path in sorted(made, key=len, reverse=True):
            with contextlib.suppress(OSError):
                os.rmdir(self.root.real(path))


def remove_tree(path):
    """Remove a tree of ours; a crash in the middle leaves a smaller tree, never one that looks whole.

    The tree is renamed first, so nobody finds half of it under its name.
    """
    if not os.path.lexists(path):
        doomed = path + ".removed"
        if not os.path.lexists(doomed):
            raise FileNotFoundError(path)
    else:
        doomed = path + ".removed"
        if os.path.lexists(doomed):
            shutil.rmtree(doomed)
        os.rename(path, doomed)
    shutil.rmtree(doomed)


def start_ticks(pid):
    """The start time of a process in clock ticks since boot: with the pid it names one process of this boot."""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as file:
            return int(file.read().rsplit(")", 1)[1].split()[19])
    except (OSError, IndexError, ValueError):
        return None


def is_over(process):
    """Whether a process that was written down, as its id and start, has ended; False where none was."""
    return bool(process) and start_ticks(process[0]) != process[1]


class Lease:
    """One apply at a time: a lease in ``/run/gvisor-nodes``, renewed by every step of the run that holds it.

    A controller may die without saying so; then nobody renews and the next run takes over after ``ttl`` seconds. A run
    that is a process of this node (a Job's, a local one) is looked for instead, and its lease ends with it.
    The clock is CLOCK_BOOTTIME, which no administrator sets; a reboot empties /run.
    """

    def __init__(self, root, token, ttl=None):
        self.directory = root.real("/run/gvisor-nodes")
        self.token = token
        self.ttl = ttl

    @contextlib.contextmanager
    def _guarded(self):
        os.makedirs(self.directory, mode=0o755, exist_ok=True)
        handle = os.open(os.path.join(self.directory, "guard"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield os.path.join(self.directory, "lease.json")
        finally:
            os.close(handle)

    @staticmethod
    def _read(path):
        try:
            with open(path, encoding="utf-8") as file:
                return json.load(file)
        except (OSError, ValueError):
            return None

    def _write(self, path, holder, ttl, process):
        until = time.clock_gettime(time.CLOCK_BOOTTIME) + ttl
        lease = {"token": self.token, "holder": holder, "ttl": ttl, "until": until, "process": process}
        temporary = path + ".new"
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(lease, file)
        os.replace(temporary, path)

    def acquire(self, holder, timeout, wait=0.25, process=0):
        """Take the lease, waiting at most ``timeout`` seconds for another run; return the seconds waited.

        ``process`` is the id of the run's own process where that is on this node.
        """
        begin = time.monotonic()
        while True:
            with self._guarded() as path:
                lease = self._read(path)
                free = (
                    lease is None
                    or lease.get("token") == self.token
                    or lease.get("until", 0) < time.clock_gettime(time.CLOCK_BOOTTIME)
                    or is_over(lease.get("process"))
                )
                if free:
                    self._write(path, holder, self.ttl or TTL, [process, start_ticks(process)] if process else None)
                    return time.monotonic() - begin
            if time.monotonic() - begin > timeout:
                raise NodeError(
                    "another run holds this node",
                    why="%s has held it for longer than the %d s this run waits" % (lease.get("holder"), timeout),
                    remedy="wait for the other run to end; a dead one lets go by itself %d s after its last step"
                    % lease.get("ttl", TTL),
                    refused=True,
                )
            # Not a synchronisation by time: the condition is the lease, looked at four times a second.
            time.sleep(wait)

    def renew(self):
        """Prove that this run still holds the node, and hold it for as long again as it was taken for."""
        with self._guarded() as path:
            lease = self._read(path)
            if lease is None or lease.get("token") != self.token:
                raise NodeError(
                    "this run no longer holds the node",
                    why="now %s does" % (lease.get("holder") if lease else "nobody, it rebooted or was cleaned"),
                    remedy="run the same command again: it goes on from the journal",
                )
            self._write(path, lease["holder"], lease["ttl"], lease.get("process"))

    def release(self):
        with self._guarded() as path:
            lease = self._read(path)
            if lease is not None and lease.get("token") == self.token:
                os.unlink(path)
