"""The shell script and the two systemd units that keep debug logs from filling a node.

gVisor never rotates or deletes a debug log. A timer runs the script on the node; it needs a POSIX shell, find, stat,
awk, sort and mv as coreutils, findutils or busybox have them, and nothing of ours. What it does, in this order:

1. Directories of containers that are gone go when they are older than the age limit; then, oldest first, until all
   logs together are below the size limit and the file system has its minimum of free space. A container is there as
   long as containerd has its bundle; since a log directory is made inside a bundle's life and an id is never used
   twice, a directory without a bundle stays without one.
2. Where the file system is still below the minimum, logs of running containers are emptied, largest first, until it
   is not. They are opened with O_APPEND by every release (gVisor `runsc/specutils`, `OpenDebugLogFile`; seen in
   fdinfo of 20250205, 20260224 and 20260905), so what is written next begins at the file's new start.
3. Where that did not help either, or where logs of running containers alone exceed the size limit, a mark in /run
   tells the runsc dispatcher to start new containers without a log. It goes as soon as there is room again.

A directory is renamed before it is deleted and the next run finishes what a kill left. Nothing is followed or touched
but real directories directly below the log directory that belong to us and are named and filled as ours are; of names
inside them only those of the usual log files are ever used. Sizes are apparent sizes: a hole counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from orchestrator.errors import InvalidInputError
from orchestrator.gvisor.dispatchers import LOGS_STOPPED

BUNDLES: Final = "/run/containerd/io.containerd.runtime.v2.task"
DOOMED: Final = ".gvisor-nodes-removed-"
"""How a directory is called from the decision to delete it until it is gone; no container has such an id."""

UNIT: Final = "gvisor-nodes-logs"
SCRIPT_NAME: Final = "debug-logs-retention"
SYSTEMD: Final = "/etc/systemd/system"

_PATH = re.compile(r"(/[A-Za-z0-9._-]+)+")
_MIB = 1024 * 1024

_SCRIPT: Final = r"""#!/bin/sh
# Written by gvisor-nodes; do not edit. Keeps gVisor's debug logs below their limits; run by @UNIT@.timer.
set -u
LC_ALL=C
export LC_ALL
umask 022
directory='@DIRECTORY@'
bundles='@BUNDLES@'
stop='@STOP@'
doomed='@DOOMED@'
max_age=@MAX_AGE@   # seconds
max_size=@MAX_SIZE@ # bytes
min_free=@MIN_FREE@ # bytes
smallest=1048576    # a log below this size is not worth emptying
newline='
'

say() {
  printf '%s\n' "$1"
}

cd -P -- "$directory" 2>/dev/null || {
  rm -f "$stop"
  exit 0 # no pod has logged yet, or the directory is gone
}
me=$(id -u)
case $(stat -c '%u %a' .) in
  "$me "*[2367]? | "$me "*[2367])
    say "$directory can be written by others than its owner, so nothing in it is deleted; to do: chmod go-w $directory"
    exit 1
    ;;
  "$me "*) ;;
  *)
    say "$directory belongs to another user, so nothing in it is deleted; to do: chown root $directory"
    exit 1
    ;;
esac

# Names every directory of ours and what is in it, a line each: time of change, bytes, path. Names with a newline are
# left out; they cannot be ours, and no line is ever anything but one name.
list() {
  find . -xdev -mindepth 1 -maxdepth 1 -type d -user "$me" ! -name "*$newline*" -exec stat -c '%Y 0 %n' {} + 2>/dev/null
  find . -xdev -mindepth 2 -type f ! -path "*$newline*" -exec stat -c '%Y %s %n' {} + 2>/dev/null
}

# Sums up what list names. With what=directories a line for each directory of ours: newest change, bytes, id; oldest
# first. With what=files a line for each log: bytes, id/name; largest first.
sum_up() {
  list | awk -v what="$1" -v smallest="$smallest" '
    !/^-?[0-9]+ [0-9]+ \.\// { next }
    {
      path = $0
      sub(/^-?[0-9]+ [0-9]+ \.\//, "", path)
      slash = index(path, "/")
      id = slash ? substr(path, 1, slash - 1) : path
      name = slash ? substr(path, slash + 1) : ""
      if (id !~ /^[A-Za-z0-9][A-Za-z0-9._-]*$/ || length(id) > 76) next
      if (!slash) real[id] = 1
      if (length(id) == 64 && id !~ /[^0-9a-f]/) ours[id] = 1
      log_file = name ~ /^[a-z][a-z-]*-gvisor\.log$/
      if (log_file) ours[id] = 1
      if (!(id in changed) || $1 > changed[id]) changed[id] = $1
      bytes[id] += $2
      if (log_file && $2 >= smallest) file[path] = $2
    }
    END {
      if (what == "directories") {
        for (id in real) if (id in ours) printf "%.0f %.0f %s\n", changed[id], bytes[id], id
      } else {
        for (path in file) printf "%.0f %s\n", file[path], path
      }
    }' | if [ "$1" = directories ]; then sort -n -k 1,1; else sort -n -r -k 1,1; fi
}

# Where containerd keeps no bundles, nobody knows what runs: then nothing counts as gone.
is_running() {
  [ -d "$bundles" ] || return 0
  for bundle in "$bundles"/*/"$1"; do
    [ -d "$bundle" ] && return 0
  done
  return 1
}

# Sets $free to the bytes of the file system that may still be written.
read_free() {
  free=$(stat -f -c '%a %S' .) || exit 1
  free=$((${free% *} * ${free#* }))
}

erase() {
  [ -d "$1" ] && [ ! -L "$1" ] || return 0
  find "./$1" -xdev ! -type d -exec rm -f -- {} + 2>/dev/null
  find "./$1" -xdev -depth -type d -exec rmdir -- {} + 2>/dev/null
}

# The rename decides: from here on it is nobody's log, whatever happens to this process.
remove() {
  [ ! -e "$doomed$1" ] && [ ! -L "$doomed$1" ] || return 1
  mv -- "$1" "$doomed$1" 2>/dev/null || return 1
  erase "$doomed$1"
}

for left in "$doomed"*; do
  erase "$left"
done

directories=$(sum_up directories)
now=$(date +%s)
read_free
total=0
running=0
while read -r changed bytes id; do
  [ -n "$id" ] || continue
  total=$((total + bytes))
  if is_running "$id"; then
    running=$((running + bytes))
  fi
done <<END
$directories
END

count=0
gone=0
while read -r changed bytes id; do
  [ -n "$id" ] || continue
  if [ $((now - changed)) -le "$max_age" ] && [ "$total" -le "$max_size" ] && [ "$free" -ge "$min_free" ]; then
    continue
  fi
  if is_running "$id"; then
    continue
  fi
  if remove "$id"; then
    total=$((total - bytes))
    count=$((count + 1))
    gone=$((gone + bytes))
    [ "$free" -ge "$min_free" ] || read_free
  fi
done <<END
$directories
END
if [ "$count" -gt 0 ]; then
  say "deleted the logs of $count containers that are gone, $gone bytes; $total bytes stay"
fi

reason=
if [ "$free" -lt "$min_free" ]; then
  files=$(sum_up files)
  while read -r bytes path; do
    [ -n "$path" ] && [ "$free" -lt "$min_free" ] || continue
    if [ -f "$path" ] && [ ! -L "$path" ] && is_running "${path%%/*}" && { true >"$path"; } 2>/dev/null; then
      say "emptied $directory/$path, $bytes bytes of a running container: the file system is nearly full"
      running=$((running - bytes))
      read_free
    fi
  done <<END
$files
END
fi
if [ "$free" -lt "$min_free" ]; then
  reason="$free bytes are free in $directory, the minimum is $min_free"
elif [ "$running" -gt "$max_size" ]; then
  reason="logs of running containers are $running bytes, the limit for all is $max_size"
elif ! { true >"./${doomed}probe"; } 2>/dev/null; then
  reason="$directory cannot be written"
fi
rm -f "./${doomed}probe"

if [ -n "$reason" ]; then
  [ -e "$stop" ] || say "new containers start without a log: $reason"
  mkdir -p "${stop%/*}" && printf '%s\n' "$reason" >"$stop"
elif [ -e "$stop" ]; then
  rm -f "$stop"
  say "new containers have a log again"
fi
"""

_SERVICE: Final = """\
# Written by gvisor-nodes; do not edit.
[Unit]
Description=Keep the debug logs of gVisor below their limits

[Service]
Type=oneshot
ExecStart=/bin/sh @SCRIPT@
Nice=10
IOSchedulingClass=idle
TimeoutStartSec=15min
NoNewPrivileges=yes
# That it ran is not worth a line every few minutes; what it deletes is.
SyslogLevel=notice
LogLevelMax=notice
"""

_TIMER: Final = """\
# Written by gvisor-nodes; do not edit.
[Unit]
Description=Keep the debug logs of gVisor below their limits, every @MINUTES@ minutes

[Timer]
OnBootSec=@MINUTES@min
OnUnitActiveSec=@MINUTES@min
AccuracySec=10s

[Install]
WantedBy=timers.target
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how much debug logs are kept; days, MiB and minutes.

    ``min_free`` is the space of their file system that logs leave to others; 0 leaves none.
    """

    max_age: int
    max_size: int
    min_free: int
    interval: int


def render_script(directory: str, limits: Limits, bundles: str = BUNDLES, stopped: str = LOGS_STOPPED) -> bytes:
    """The script to put beside the dispatchers.

    Args:
        directory: the directory for debug logs.
        limits: what is kept.
        bundles: where containerd's bundles are: ``<bundles>/<namespace>/<id>``.
        stopped: the mark that the dispatcher looks for.

    Raises:
        InvalidInputError: a path is no plain absolute path.
    """
    for path in (directory, bundles, stopped):
        if not _PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
            raise InvalidInputError(
                f"{path!r} cannot be written into the script for debug logs",
                why="an absolute path of letters, digits and . _ - only",
                remedy="set debug_logs_directory to a path such as /var/log/runsc; nothing was changed",
            )
    text = (
        _SCRIPT.replace("@UNIT@", UNIT)
        .replace("@DOOMED@", DOOMED)
        .replace("@MAX_AGE@", str(limits.max_age * 86400))
        .replace("@MAX_SIZE@", str(limits.max_size * _MIB))
        .replace("@MIN_FREE@", str(limits.min_free * _MIB))
        .replace("@DIRECTORY@", directory)
        .replace("@BUNDLES@", bundles)
        .replace("@STOP@", stopped)
    )
    return text.encode()


def render_service(script: str) -> bytes:
    """The unit that runs the script at this path once."""
    return _SERVICE.replace("@SCRIPT@", script).encode()


def render_timer(limits: Limits) -> bytes:
    """The unit that starts the service again and again. No ``Persistent``: systemd would keep a stamp of it on disk."""
    return _TIMER.replace("@MINUTES@", str(limits.interval)).encode()
