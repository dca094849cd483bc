# Copyright the gvisor-nodes authors
# SPDX-License-Identifier: Apache-2.0
"""Changing containerd's configuration so that a node is never left with a containerd that does not start.

The order is the whole point: keep the old bytes, arm a rollback *on the node*, swap by compare-and-swap, restart once.
Whoever armed it disarms it after the proof. If nobody does (the controller died, the connection broke), systemd runs
the script that is left here and the old bytes come back. Standard library only, Python >= 3.9, no Ansible.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import time

from ansible.module_utils.gvisor_host import daemon, dump
from ansible.module_utils.gvisor_journal import STAGED_SUFFIX, NodeError, describe, sha256, write_file

UNIT = "gvisor-nodes-rollback"
FIRED = ("rollback.firing", "rollback.done")
"""What the script makes of ``armed``, one after the other."""

# The script needs nothing but a POSIX shell and coreutils, and knows everything it needs: it must work when nothing
# of ours is there any more. The first `mv` is the decision: of a firing timer and a disarming run, one wins.
ROLLBACK = """#!/bin/sh
# Left by gvisor-nodes while it changes containerd's configuration; gone when the change is proved.
set -u
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
state={state}
config={config}
backup={backup}
made={made}
service={service}
mv "$state/armed" "$state/rollback.firing" 2>/dev/null || exit 0
found=$(sha256sum "$config" 2>/dev/null | cut -d' ' -f1)
[ -e "$config" ] || found=absent
# Only what this change made is undone: a file that somebody else wrote since is theirs.
if [ "$found" = "$made" ]; then
    if [ -n "$backup" ]; then
        cp -p "$state/$backup" "$config.gvisor-nodes-staged" && mv "$config.gvisor-nodes-staged" "$config" || exit 1
    else
        rm -f "$config"
    fi
    sync
    if [ {restart} = yes ]; then
        systemctl reset-failed "$service" 2>/dev/null
        systemctl restart "$service" || exit 1
    fi
fi
mv "$state/rollback.firing" "$state/rollback.done"
"""


# A private view of the file system in which the directory of the drop-in holds the wanted file. The working directory
# still is the one below the mount, so nothing but the view has to be made, and the view goes with the process.
STAGE_DROP_IN = """set -eu
base=$1 directory=$2 file=$3 present=$4
shift 4
cd "$base"
mount -t tmpfs -o mode=0755,size=64m gvisor-nodes "$base"
cp -a . "$base/"
mkdir -p "$directory"
if [ "$present" = yes ]; then cat >"$file"; else rm -f "$file"; fi
cd /
exec "$@" </dev/null
"""


def stage_drop_in(root, options):
    """``config dump`` by the daemon's own binary of its own main file, as if the drop-in were there (or were gone).

    It is the very command line, path and import that the daemon will use, in a mount namespace of its own: nobody else
    sees the file, nothing is written, and a killed run leaves nothing.
    """
    path = options["drop_in"]
    directory = root.resolve(os.path.dirname(path))
    base = directory if os.path.isdir(root.real(directory)) else os.path.dirname(directory)
    if not os.path.isdir(root.real(base)):
        return 1, "", "%s and the directory above it do not exist" % directory
    content = options["content"]
    return root.run(
        [
            *("unshare", "--mount", "--propagation", "private", "sh", "-c", STAGE_DROP_IN, "gvisor-nodes"),
            root.seen(base),
            root.seen(directory),
            root.seen(os.path.join(directory, os.path.basename(path))),
            "no" if content is None else "yes",
            *root.jail,
            *(options["binary"], "--config", options["config"], "config", "dump"),
        ],
        data=content or b"",
    )


def stage(root, options):
    """``config dump`` of the wanted bytes by the daemon's own binary, from a staged copy beside the real file.

    Beside it, because relative imports are relative to the file. In check mode nothing is written: the bytes are
    handed over in memory.
    """
    if options["drop_in"]:
        return stage_drop_in(root, options)
    config = root.resolve(options["config"])
    data = options["content"]
    if options["check_mode"]:
        handle = os.memfd_create("config.toml", 0)
        try:
            os.write(handle, data)
            path = "/proc/self/fd/%d" % handle
            return root.run([options["binary"], "--config", path, "config", "dump"], pass_fds=(handle,), cwd="/")
        finally:
            os.close(handle)
    staged = config + STAGED_SUFFIX
    try:
        with open(root.real(staged), "wb") as file:
            file.write(data)
        return dump(root, options["binary"], staged)
    finally:
        sweep(root, config)


def sweep(root, config):
    """Remove what a killed run staged beside the configuration file."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(root.real(config + STAGED_SUFFIX))


def commit(root, journal, options):
    """Back up, arm, swap, restart at most once, wait until the socket accepts; return the daemon as it is now.

    ``options``: ``config``, ``drop_in`` (the file to write instead of ``config``, if any), ``content`` (bytes, None to
    remove the file), ``expect`` (sha256 or ``absent``),
    ``service``, ``socket``, ``rollback_seconds``, ``restart_timeout``, ``state`` (the word for the journal: installed,
    removed), ``keep_original`` (the file of now becomes what uninstall restores).
    """
    config = root.resolve(options["drop_in"] or options["config"])
    real = root.real(config)
    before = describe(real)
    content = options["content"]
    journal.make_directory(os.path.dirname(config))
    known = journal.data.get("containerd") or {}
    forget_stray(root, known, config)
    # What was there before us stays in the state directory for as long as we are on the node; what this one change
    # replaces is kept beside it until the change is proved.
    record = {
        "config": config,
        "drop_in": bool(options["drop_in"]),
        "original": known.get("original"),
        "original_meta": known.get("original_meta"),
        "restore": journal.backup(config),
        "made": sha256(content) if content is not None else "absent",
        "state": "armed",
        "wanted": options["state"],
    }
    if options["keep_original"] or not known:
        record["original"] = record["restore"]
        record["original_meta"] = before and {key: before[key] for key in ("mode", "uid", "gid")}
    journal.data["containerd"] = record
    journal.data["sealed"] = None
    journal.save()
    arm(root, journal, options, record)
    if content is None:
        if before is not None:
            if before["sha256"] != options["expect"]:
                raise NodeError("%s was changed by somebody else" % config, remedy="run the same command again")
            os.unlink(real)
    else:
        mode, uid, gid = 0o644, None, None
        if before is not None:
            mode, uid, gid = int(before["mode"], 8), before["uid"], before["gid"]
        elif known.get("original_meta"):
            meta = known["original_meta"]
            mode, uid, gid = int(meta["mode"], 8), meta["uid"], meta["gid"]
        write_file(real, content, mode=mode, uid=uid, gid=gid, expect=options["expect"])
    record["state"] = "switched"
    journal.save()
    if not root.is_live:
        return None
    return restart(root, options)


def forget_stray(root, known, config):
    """Remove a drop-in of ours that containerd no longer reads, when another file takes its place.

    The main file stopped importing it, or nobody would want to write elsewhere. One that others changed is theirs now.
    """
    if known.get("drop_in") and known["config"] != config:
        path = root.real(known["config"])
        found = describe(path)
        if found is not None and found.get("sha256") == known["made"]:
            os.unlink(path)


def serve_again(root, journal, options):
    """Restart for a file that is right already; a rollback that a killed run left armed is armed anew first."""
    record = journal.data.get("containerd") or {}
    if record.get("state") in ("armed", "switched"):
        arm(root, journal, options, record)
    return restart(root, options)


def arm(root, journal, options, record):
    """Leave the rollback script and let systemd run it unless somebody disarms it in time."""
    # On a live root the node runs the script itself; for any other root only this module does, from outside.
    script = os.path.join(journal.directory, "rollback.sh")
    text = ROLLBACK.format(
        state=shlex.quote(root.seen(journal.directory)),
        config=shlex.quote(root.seen(record["config"])),
        backup=shlex.quote(record["restore"] or ""),
        made=shlex.quote(record["made"]),
        service=shlex.quote(options["service"]),
        restart="yes" if root.is_live else "no",
    )
    write_file(root.real(script), text.encode(), mode=0o700)
    write_file(root.real(os.path.join(journal.directory, "armed")), b"", mode=0o600)
    if not root.is_live:
        return
    stop_timer(root)
    rc, out, err = root.run(
        [
            "systemd-run",
            "--quiet",
            "--collect",
            "--unit=" + UNIT,
            "--on-active=%d" % options["rollback_seconds"],
            "--timer-property=AccuracySec=1s",
            "/bin/sh",
            script,
        ]
    )
    if rc != 0:
        raise NodeError(
            "cannot arm the rollback on the node",
            why=(err or out).strip(),
            remedy="systemd must be able to start transient timers (systemd-run); nothing was changed",
        )


def stop_timer(root):
    for kind in (".timer", ".service"):
        root.run(["systemctl", "stop", UNIT + kind])
    root.run(["systemctl", "reset-failed", UNIT + ".service"])


def disarm(root, journal):
    """Call the rollback off; raises if it fired first."""
    armed = root.real(os.path.join(journal.directory, "armed"))
    known = journal.data.get("containerd")
    if known and known["state"] in ("armed", "switched"):
        try:
            os.unlink(armed)
        except FileNotFoundError:
            # A rollback that fires leaves a trace, in this order. Without one, a run was killed before it armed,
            # or right after it had disarmed.
            if any(os.path.exists(root.real(os.path.join(journal.directory, name))) for name in FIRED):
                raise NodeError(
                    "the node rolled containerd's configuration back",
                    why="the proof took longer than the rollback timer, or the run was interrupted",
                    remedy="run the same command again; raise containerd_rollback_seconds if the node is slow",
                ) from None
        known["state"] = known["wanted"]
    if root.is_live:
        stop_timer(root)
    for name in ("rollback.sh", *FIRED):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(root.real(os.path.join(journal.directory, name)))
    if known and known.get("restore") and known["restore"] != known.get("original"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(root.real(os.path.join(journal.directory, known["restore"])))
        known["restore"] = None


def stays(root, journal):
    """Remember that the handler stays, where a killed removal had announced that it goes and changed nothing yet."""
    known = journal.data.get("containerd")
    if known and known["wanted"] == "removed":
        found = describe(root.real(known["config"]))
        known.update(state="installed", wanted="installed", made=found["sha256"] if found else "absent")


def restart(root, options):
    """One restart, then wait for the socket; the caller still has to ask CRI whether the node is alive."""
    begin = time.monotonic()
    rc, out, err = root.run(["systemctl", "restart", options["service"]], timeout=options["restart_timeout"])
    if rc != 0:
        _, log, _ = root.run(["journalctl", "-u", options["service"], "-n", "15", "--no-pager", "-o", "cat"])
        raise NodeError(
            "%s does not start with the new configuration" % options["service"],
            why=(err or out).strip() + ("\n" + log.strip() if log else ""),
            remedy="the old configuration is put back; see the lines above",
        )
    deadline = begin + options["restart_timeout"]
    while not answers(root.real(options["socket"])):
        if time.monotonic() > deadline:
            raise NodeError(
                "containerd's socket %s does not answer after the restart" % options["socket"],
                why="waited %d s" % options["restart_timeout"],
                remedy="the old configuration is put back; see journalctl -u %s" % options["service"],
            )
        # The condition is the socket; fifty looks a second cost nothing.
        time.sleep(0.02)
    found = daemon(root, options["service"])
    found["restart_milliseconds"] = round((time.monotonic() - begin) * 1000)
    return found


def answers(path):
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)) as client:
        client.settimeout(1)
        try:
            client.connect(path)
        except OSError:
            return False
    return True


def roll_back(root, journal, options):
    """Put the old bytes back now, by the very script that the timer would run; False if there was nothing to undo."""
    known = journal.data.get("containerd")
    if not known or known["state"] not in ("armed", "switched"):
        return False
    script = os.path.join(journal.directory, "rollback.sh")
    rc, out, err = (0, "", "")
    if os.path.exists(root.real(os.path.join(journal.directory, "armed"))) and os.path.exists(root.real(script)):
        rc, out, err = root.run(["/bin/sh", root.seen(script)], timeout=options["restart_timeout"])
    fired = os.path.exists(root.real(os.path.join(journal.directory, "rollback.done")))
    if rc != 0:
        raise NodeError(
            "the rollback did not bring %s back" % options["service"],
            why=(err or out).strip() or "exit code %d" % rc,
            remedy="on the node: sh %s/rollback.sh; journalctl -u %s" % (journal.directory, options["service"]),
        )
    if root.is_live:
        stop_timer(root)
    known["state"] = "rolled-back"
    journal.data["sealed"] = None
    journal.save()
    for name in ("armed", "rollback.sh", *FIRED):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(root.real(os.path.join(journal.directory, name)))
    return fired
