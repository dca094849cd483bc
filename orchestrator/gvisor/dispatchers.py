"""The two shell scripts that give every pod the release and the flags it started with, for life.

containerd calls the shim dispatcher (the handler's ``runtime_type``), the shim calls the runsc dispatcher (the
``binary_name`` of its options file). Both exec the binary of one *generation*, a release plus its flags. The first
shim of a pod writes the number of the generation into its bundle; everything that happens in that bundle, and the
pod's later containers, follow that record, whatever ``current`` says by then. Without this a container that kubelet
restarts would get a new shim and a new runsc against the old sandbox.

Layout that the scripts expect under their directory::

    current                            a regular file: the number of a generation and a newline
    generations/<n>/release            symbolic link to ../../releases/<release>
    generations/<n>/flags              one --name=value a line, each line ended by a newline; may be empty
    releases/<release>/{runsc,containerd-shim-runsc-v1,gvisor-bin/…}

A record can be lost. A pod that runs then keeps its generation all the same:

* the shim dispatcher tells the shim its generation in the environment too, and every shim hands its environment on
  (seen with 20250205, 20260224 and 20260905). So a shim whose bundle has lost the record still calls runsc of the right
  generation, and that call writes the record again, for what containerd asks when the shim is gone;
* a container whose pod's bundle has lost the record asks the pod's shim: ``shim.pid`` names it, its working directory
  is that bundle, and its environment, which nobody can change from outside, names the generation;
* where there is no such shim, ``start`` fails: a container that does not start is repaired by a new pod, a container of
  another release in a sandbox is not. Only ``delete``, with which containerd clears up after a shim that died, goes on
  with the current generation: refused, it would leave the sandbox running for ever.

Rules of the scripts: POSIX sh as dash and busybox have it; standard input is never touched (containerd 2.x sends
bootstrap parameters there); nothing is evaluated; of ``config.json``, which a pod's author has a hand in, nothing but
an id of exactly 64 hex digits reaches a path. What they cannot do they say on standard error and exit 128, the
code that runsc itself uses for its own failures; nothing is guessed, because a wrong release harms the pod. A debug log
that cannot be made is the exception: the pod starts without it.
"""

from __future__ import annotations

import re
from typing import Final

from orchestrator.errors import InvalidInputError

RECORD_NAME: Final = ".gvisor-nodes-generation"
VARIABLE: Final = "GVISOR_NODES_GENERATION"
FAILURE_CODE: Final = 128

LOGS_STOPPED: Final = "/run/gvisor-nodes/debug-logs-stopped"
"""While this is there, containers start without a debug log; :mod:`orchestrator.gvisor.log_retention` makes it."""

_DIRECTORY = re.compile(r"(/[A-Za-z0-9._-]+)+")

_HEAD: Final = r"""#!/bin/sh
# Written by gvisor-nodes; do not edit. @PURPOSE@
set -uf
directory='@DIRECTORY@'
record=@RECORD@
repair='; to do: run gvisor-nodes apply for this node'

fail() {
  printf 'gvisor-nodes: %s\n' "$1" >&2
  exit @FAILURE@
}

is_number() {
  case $1 in
    '' | 0* | *[!0-9]*) return 1 ;;
  esac
}

# Sets $generation from a file that holds a number and a newline. A line without its end is half a file.
read_generation() {
  generation=
  { IFS= read -r generation <"$1"; } 2>/dev/null ||
    fail "cannot read a generation from $1$repair"
  is_number "$generation" || fail "$1 does not hold the number of a generation$repair"
}

# Whether the bundle at $1 has a record. Anything but a file in its place is nobody's doing that we know.
has_record() {
  if [ -e "$1$record" ] && [ ! -f "$1$record" ]; then
    fail "$1$record is not a file; to do: restart the pod"
  fi
  [ -f "$1$record" ]
}

# Temporary file and rename: whoever sees the record sees all of it.
write_record() {
  temporary=$record.$$
  { printf '%s\n' "$generation" >"$temporary" && mv -f "$temporary" "$record"; } 2>/dev/null && return
  rm -f "$temporary"
  return 1
}

# Sets $binary to a program of $generation, which was read from $1.
find_binary() {
  binary=$directory/generations/$generation/release/$2
  [ -d "$directory/generations/$generation" ] ||
    fail "generation $generation, named by $1, is not in $directory/generations; to do: restart the pod"
  [ -f "$binary" ] && [ -x "$binary" ] ||
    fail "generation $generation, named by $1, has no executable $2$repair"
}
"""

_SHIM: Final = r"""
# Sets $sandbox to the id of the sandbox that config.json names, or to nothing. A quote inside a JSON string is always
# escaped and a string holds no raw newline, so the pattern matches a key of an object only. An id that is named twice
# is not believed.
read_sandbox() {
  key='"io\.kubernetes\.cri\.sandbox-id"[[:space:]]*:[[:space:]]*"\([0-9a-f]\{64\}\)"'
  mark='\
@\1\
'
  sandbox=$(
    LC_ALL=C sed -e "s/^[[:space:]]*$key/$mark/" -e "s/[{,][[:space:]]*$key/$mark/g" config.json </dev/null |
      LC_ALL=C sed -n 's/^@\([0-9a-f]\{64\}\)$/\1/p'
  ) || fail 'cannot look into config.json; to do: make sed available to containerd'
  case $sandbox in
    *[!0-9a-f]*) sandbox= ;;
  esac
}

# Sets $generation to the one that the running shim of the pod $sandbox was started with; fails where there is none.
# shim.pid has no newline, so read reports its end. A process of that number with another working directory is another.
ask_shim() {
  pid=
  { IFS= read -r pid <"../$sandbox/shim.pid"; } 2>/dev/null || :
  is_number "$pid" || return 1
  case $(readlink "/proc/$pid/cwd" 2>/dev/null) in
    */"$sandbox") ;;
    *) return 1 ;;
  esac
  generation=$(
    { LC_ALL=C tr '\0' '\n' <"/proc/$pid/environ"; } 2>/dev/null |
      LC_ALL=C sed -n 's/^@VARIABLE@=\([0-9]*\)$/\1/p'
  )
  is_number "$generation"
}

# What containerd asks of the shim is its last argument.
is_deletion() {
  action=
  for action in "$@"; do :; done
  [ "$action" = delete ]
}

# Sets $source, from where $generation was read, for a bundle without a record.
find_generation() {
  source=$directory/current
  read_sandbox
  case $(pwd -P) in
    */"$sandbox") sandbox= ;;
  esac
  if [ -z "$sandbox" ]; then
    read_generation "$source"
  elif has_record "../$sandbox/"; then
    source=../$sandbox/$record
    read_generation "$source"
  elif ask_shim; then
    source="the shim of the pod's sandbox"
  elif is_deletion "$@"; then
    read_generation "$source"
  else
    fail "cannot tell the generation of the pod's sandbox $sandbox: no record, no running shim; to do: restart the pod"
  fi
}

source=$directory/current
if has_record ./; then
  source=./$record
  read_generation "$source"
elif [ -f config.json ]; then
  find_generation "$@"
  find_binary "$source" containerd-shim-runsc-v1
  write_record || fail "cannot write $record in the bundle"
else
  read_generation "$source"
fi
find_binary "$source" containerd-shim-runsc-v1
@VARIABLE@=$generation
export @VARIABLE@
exec "$binary" "$@"
"""

_RUNSC: Final = r"""
# Sets $name to the name of the bundle, which is containerd's id of the container; to nothing where there is no bundle
# or its name is none that containerd gives: a flag with %ID% is then left out, it would name a log of nobody.
read_name() {
  name=
  [ -f config.json ] || return 0
  name=$(pwd -P && printf x)
  name=${name%?x}
  name=${name##*/}
  case $name in
    [!A-Za-z0-9]* | *[!A-Za-z0-9._-]*) name= ;;
  esac
}

# Whether the log that the flag $1 names can be made. A runsc that cannot open its log does not start, and logs must
# not cost a pod; so it is tried, in the directory that runsc would make itself. Standard error is the container's, so
# nothing is said: who looks finds the mark, and gvisor-nodes-logs.service tells the journal.
can_log() {
  log=${1#--debug-log=}
  [ ! -e '@STOPPED@' ] || return 1
  log=${log%/*}
  [ -d "$log" ] || mkdir -p "$log" || return 1
  { true >"$log/.gvisor-nodes-$$"; } && rm -f "$log/.gvisor-nodes-$$"
} 2>/dev/null

source=$directory/current
if has_record ./; then
  source=./$record
  read_generation "$source"
elif [ -f config.json ] && is_number "${@VARIABLE@:-}"; then
  source='the shim that called'
  generation=$@VARIABLE@
  find_binary "$source" runsc
  write_record || :
else
  read_generation "$source"
fi
find_binary "$source" runsc
flags=$directory/generations/$generation/flags
[ -f "$flags" ] && [ -r "$flags" ] ||
  fail "generation $generation, named by $source, has no flags file$repair"
read_name

# The flags are put behind the arguments, then the arguments are taken round: no word is ever split or expanded.
count=$#
while IFS= read -r flag; do
  case $flag in
    --[a-zA-Z]*=*) ;;
    *) fail "$flags holds a line that is no flag: $flag" ;;
  esac
  while :; do
    case $flag in
      *%ID%*)
        [ -n "$name" ] || break
        flag=${flag%%"%ID%"*}$name${flag#*"%ID%"}
        ;;
      --debug-log=/*/?*)
        ! can_log "$flag" || set -- "$@" "$flag"
        break
        ;;
      *)
        set -- "$@" "$flag"
        break
        ;;
    esac
  done
  flag=
done <"$flags"
[ -z "$flag" ] || fail "$flags ends in the middle of a line: $flag"
while [ "$count" -gt 0 ]; do
  argument=$1
  shift
  set -- "$@" "$argument"
  count=$((count - 1))
done
exec "$binary" "$@"
"""


def render_shim(directory: str) -> bytes:
    """The script to put at ``<directory>/containerd-shim-runsc-v1``.

    Raises:
        InvalidInputError: the directory is no plain absolute path.
    """
    return _render(_HEAD + _SHIM, directory, "containerd calls it; it execs the shim of the pod's generation.")


def render_runsc(directory: str, stopped: str = LOGS_STOPPED) -> bytes:
    """The script to put at ``<directory>/runsc``.

    Args:
        directory: where the dispatchers and the generations are.
        stopped: while this file is there, no container gets a debug log.

    Raises:
        InvalidInputError: the directory is no plain absolute path.
    """
    purpose = "The shim calls it; it execs the runsc of the pod's generation, with that generation's flags."
    return _render(_HEAD + _RUNSC, directory, purpose, stopped)


def _render(template: str, directory: str, purpose: str, stopped: str = LOGS_STOPPED) -> bytes:
    if not _DIRECTORY.fullmatch(directory) or {".", ".."} & set(directory.split("/")):
        raise InvalidInputError(
            f"{directory!r} cannot hold the dispatchers",
            why="the path is written into shell scripts: absolute, of letters, digits and . _ - only, without . or ..",
            remedy="set runsc_directory to a plain path such as /opt/gvisor-nodes; nothing was changed",
        )
    text = (
        template.replace("@PURPOSE@", purpose)
        .replace("@RECORD@", RECORD_NAME)
        .replace("@VARIABLE@", VARIABLE)
        .replace("@FAILURE@", str(FAILURE_CODE))
        .replace("@STOPPED@", stopped)
        .replace("@DIRECTORY@", directory)
    )
    return text.encode()
