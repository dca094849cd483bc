"""Odd configurations against the real containerd 1.7: what is accepted changes nothing else, and goes without a trace.

The table is what existing installers were seen to stumble over, plus every way to write the same table. Another
corpus can be run through the same checks: set GVISOR_NODES_CORPUS to a directory of ``*.toml`` files.
"""

from __future__ import annotations

import base64
import io
import os
import tarfile
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orchestrator.errors import RefusedError
from orchestrator.planning.containerd_config import (
    Handler,
    add_handler,
    remove_handler,
    verify_dump,
    verify_removal,
)

CRI = 'plugins."io.containerd.grpc.v1.cri"'
HANDLER = Handler("runsc", "/opt/gvisor-nodes/containerd-shim-runsc-v1", "/opt/gvisor-nodes/runsc.toml")
CORPUS = "GVISOR_NODES_CORPUS"

V2 = f"""version = 2
[{CRI}]
  sandbox_image = "registry.k8s.io/pause:3.10" # kubeadm
  restrict_oom_score_adj = true
  [{CRI}.containerd]
    default_runtime_name = "runc"
    [{CRI}.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [{CRI}.containerd.runtimes.runc.options]
        SystemdCgroup = true
"""
DEBIAN = """version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
      conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.internal.v1.opt"]
    path = "/var/lib/containerd"
"""
FOREIGN = f"""[{CRI}.containerd.runtimes.runsc]
runtime_type = "io.containerd.runsc.v1"
[{CRI}.containerd.runtimes.runsc.options]
TypeUrl = "io.containerd.runsc.v1.options"
ConfigPath = "/etc/gv/mine.toml"
"""
SAME = FOREIGN.replace('io.containerd.runsc.v1"', f'{HANDLER.runtime_type}"').replace(
    "/etc/gv/mine.toml", HANDLER.config_path
)


MAIN = "config.toml"

# Each case is a directory; the dump runs in it, so that imports and messages are short. The answer is a tar, too.
_SCRIPT = f"""
set -eu
umask 077
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
base64 -d >"$work/in.tar"
mkdir "$work/cases"
tar -C "$work/cases" -xf "$work/in.tar"
for case in "$work"/cases/*/; do
  cd "$case"
  if [ -e {MAIN} ]; then
    containerd --config {MAIN} config dump >out 2>err && echo 0 >rc || echo $? >rc
  else
    containerd config default >out 2>err && echo 0 >rc || echo $? >rc
  fi
done
cd "$work/cases"
tar -cf - */out */err */rc | base64
"""


@dataclass(frozen=True, slots=True)
class Dumped:
    """Exit code, dump and what was said on standard error."""

    code: int
    text: str
    error: str


def dump_all(node, cases: dict[str, dict[str, bytes]]) -> dict[str, Dumped]:
    """Dump each case's ``config.toml``; a case without one gives containerd's defaults, as the daemon would use."""
    names = {f"{number:04}": name for number, name in enumerate(cases)}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for directory, name in names.items():
            folder = tarfile.TarInfo(directory)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o700
            tar.addfile(folder)
            for path, content in cases[name].items():
                member = tarfile.TarInfo(f"{directory}/{path}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    answer = node.run(_SCRIPT, stdin=base64.encodebytes(packed.getvalue()).decode(), timeout=300).stdout
    found: dict[str, dict[str, str]] = {}
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(answer))) as tar:
        for member in tar:
            directory, _, what = member.name.partition("/")
            file = tar.extractfile(member)
            assert file is not None
            found.setdefault(directory, {})[what] = file.read().decode(errors="replace")
    return {
        names[directory]: Dumped(int(parts["rc"]), parts["out"], parts["err"].replace(f"/{directory}", ""))
        for directory, parts in found.items()
    }


@dataclass(frozen=True)
class Case:
    """A main file (None: there is none), the files it imports, and a word of the refusal if it is refused."""

    main: bytes | None
    refused: str = ""
    imports: dict[str, bytes] = field(default_factory=dict)
    unchanged: bool = False


def text(content, **options):
    return Case(content.encode(), **options)


ACCEPTED = {
    "no file": Case(None),
    "empty file": text(""),
    "only a comment, no newline": text("# nothing here"),
    "only a byte order mark": Case(b"\xef\xbb\xbf"),
    "as Debian ships it": text(DEBIAN),
    "usual version 2": text(V2),
    "comment that names our table": text(f"# [{CRI}.containerd.runtimes.runsc]\n{V2}"),
    "version=2 without blanks": text(V2.replace("version = 2", "version=2")),
    "version with a comment": text(V2.replace("version = 2", "version = 2 # note")),
    "indented version": text(V2.replace("version = 2", "  version = 2")),
    "version behind other keys": text("root = '/var/lib/containerd'\n" + V2),
    "CRLF": text(V2.replace("\n", "\r\n")),
    "CRLF, no final newline": text(V2.replace("\n", "\r\n").rstrip()),
    "no final newline": text(DEBIAN.rstrip()),
    "comment at the end, no newline": text(V2 + "# end"),
    "byte order mark": Case(b"\xef\xbb\xbf" + V2.encode()),
    "Latin-1 in a comment": Case(V2.encode() + b"# caf\xe9\n"),
    "no version line": text("root = '/var/lib/containerd'\n[plugins.cri]\nsandbox_image = 'x'\n"),
    "version 1 with handlers": text("[plugins.cri.containerd.runtimes.runc]\nruntime_type = 'io.containerd.runc.v2'\n"),
    "no version line, names of version 2": text(V2.replace("version = 2\n", "")),
    "CRI as an inline table": text(f"version = 2\n[plugins]\n{CRI[8:]} = {{sandbox_image = 'x'}}\n"),
    "runtimes as an inline table": text(
        f"version = 2\n[{CRI}.containerd]\nruntimes = {{runc = {{runtime_type = 'io.containerd.runc.v2'}}}}\n"
    ),
    "all plugins as an inline table": text(f"version = 2\nplugins = {{{CRI[8:]} = {{sandbox_image = 'x'}}}} # c\n"),
    "dotted keys": text(f"version = 2\n{CRI}.sandbox_image = 'x'\n"),
    "dotted keys down to a handler": text(
        f"version = 2\n{CRI}.containerd.runtimes.runc.runtime_type = 'io.containerd.runc.v2'\n"
    ),
    "single quotes": text(V2.replace('"io.containerd.grpc.v1.cri"', "'io.containerd.grpc.v1.cri'")),
    "sub-table before its parent": text(f"version = 2\n[{CRI}.cni]\nbin_dir = '/x'\n[{CRI}]\nsandbox_image = 'x'\n"),
    "runc's options only": text(f"version = 2\n[{CRI}.containerd.runtimes.runc.options]\nSystemdCgroup = true\n"),
    "another default handler": text(
        f"version = 2\n[{CRI}.containerd]\ndefault_runtime_name = 'crun'\n"
        f"[{CRI}.containerd.runtimes.crun]\nruntime_type = 'io.containerd.runc.v2'\n"
    ),
    "several handlers": text(V2 + f"[{CRI}.containerd.runtimes.'kata']\nruntime_type = 'io.containerd.kata.v2'\n"),
    "our mark inside a string": text(V2 + "[debug]\naddress = '''\n# >>> gvisor-nodes runsc sha256:0\n'''\n"),
    "imports of nothing": text("imports = []\n" + V2),
    "imports of an empty glob": text("imports = ['conf.d/*.toml']\n" + DEBIAN),
    "import of something else": text(
        "imports = ['conf.d/*.toml']\n" + DEBIAN,
        imports={"conf.d/metrics.toml": b"version = 2\n[metrics]\naddress = '127.0.0.1:1338'\n"},
    ),
    "our table without marks": text(V2 + SAME, unchanged=True),
}
REFUSED = {
    "broken": text("version = 2\n[plugins\n", refused="not valid TOML"),
    "duplicate table": text(V2 + FOREIGN + FOREIGN, refused="not valid TOML"),
    "version 3": text("version = 3\n", refused="does not know"),
    "CRI disabled, version 1": text('disabled_plugins = ["cri"]\n', refused="is disabled"),
    "CRI disabled, version 2": text(
        'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n', refused="is disabled"
    ),
    "CRI disabled, wrong id": text('version = 2\ndisabled_plugins = ["cri"]\n', refused="is disabled"),
    "CRI disabled by an import": text(
        "version = 2\nimports = ['conf.d/*.toml']\n",
        imports={"conf.d/x.toml": b'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'},
        refused="is disabled",
    ),
    "hand-made handler": text(V2 + FOREIGN, refused="somebody else's handler"),
    "CRI table in an import": text(
        "imports = ['conf.d/*.toml']\n" + V2,
        imports={"conf.d/cri.toml": f"version = 2\n[{CRI}]\nsandbox_image = 'theirs'\n".encode()},
        refused="comes from an imported file",
    ),
    "handlers in an import": text(
        "imports = ['conf.d/*.toml']\nversion = 2\n",
        imports={
            "conf.d/cri.toml": (
                f"version = 2\n[{CRI}.containerd.runtimes.runc]\nruntime_type = 'io.containerd.runc.v2'\n"
                f"[{CRI}.containerd.runtimes.kata]\nruntime_type = 'io.containerd.kata.v2'\n"
            ).encode()
        },
        refused="comes from an imported file",
    ),
    "default handler that is not there": text(
        f"version = 2\n[{CRI}.containerd]\ndefault_runtime_name = 'nope'\n", refused="cannot load"
    ),
    "empty runtimes table": text(f"version = 2\n[{CRI}.containerd.runtimes]\n", refused="cannot load"),
}


def files_of(case, main):
    return {**({} if main is None else {MAIN: main}), **case.imports}


class Results:
    """All cases, dumped before, after every candidate, and after removal: three commands on the node."""

    def __init__(self, node, cases):
        self.version = node.run("containerd --version").stdout.split()[2]
        self.before = dump_all(node, {name: files_of(case, case.main) for name, case in cases.items()})
        self.edits, self.refusals = {}, {}
        for name, case in cases.items():
            try:
                self.edits[name] = self._plan(name, case)
            except RefusedError as error:
                self.refusals[name] = error
        contents = {
            (name, number, what): files_of(cases[name], content)
            for name, edits in self.edits.items()
            for number, edit in enumerate(edits)
            for what, content in self._changes(cases[name], edit, first=number == 0)
        }
        self.after = dump_all(node, contents)

    def _plan(self, name, case):
        dump = self.before[name]
        return add_handler(case.main, dump.text if dump.code == 0 else "", HANDLER, self.version)

    @staticmethod
    def _changes(case, edit, *, first):
        """What becomes of the file: with our handler; for the first candidate after others wrote, and we left."""
        theirs = edit.content.rstrip() + b"\n[theirs]\nx = 1\n"
        yield "added", edit.content
        if not first:
            return
        yield "theirs", theirs
        yield "removed", remove_handler(theirs, case.main, HANDLER)


@pytest.fixture(scope="module")
def results(lab):
    return Results(lab.nodes[0], {**ACCEPTED, **REFUSED})


def check(results, name, case):
    edits = results.edits[name]
    assert edits
    for number, edit in enumerate(edits):
        added = results.after[name, number, "added"]
        assert added.code == 0, added.error
        assert verify_dump(results.before[name].text, added.text, HANDLER) == []
        assert remove_handler(edit.content, case.main, HANDLER) == case.main
        again = add_handler(edit.content, added.text, HANDLER, results.version)
        assert [edit.content] == [found.content for found in again]
    theirs, removed = results.after[name, 0, "theirs"], results.after[name, 0, "removed"]
    assert theirs.code == removed.code == 0, (theirs.error, removed.error)
    assert verify_removal(theirs.text, removed.text, HANDLER) == []


@pytest.mark.feature("B2")
@pytest.mark.feature("B17")
@pytest.mark.feature("B18")
@pytest.mark.feature("H2")
@pytest.mark.parametrize("name", [name for name, case in ACCEPTED.items() if not case.unchanged])
def test_the_real_containerd_sees_our_handler_and_nothing_else_and_the_file_comes_back(results, name):
    assert name not in results.refusals, results.refusals.get(name)
    assert results.before[name].code == 0, results.before[name].error

    check(results, name, ACCEPTED[name])


@pytest.mark.parametrize("name", [name for name, case in ACCEPTED.items() if case.unchanged])
def test_a_file_that_serves_our_handler_already_is_not_touched(results, name):
    (edit,) = results.edits[name]

    assert edit.content == ACCEPTED[name].main
    assert verify_dump(results.before[name].text, results.before[name].text, HANDLER) == []


@pytest.mark.feature("B9")
@pytest.mark.parametrize("name", REFUSED)
def test_a_node_that_would_be_harmed_is_refused_with_a_remedy(results, name):
    refusal = results.refusals[name]

    assert REFUSED[name].refused in refusal.what
    assert refusal.remedy


def test_a_dump_without_a_main_file_fails_so_the_defaults_are_asked_for(node):
    missing = node.run("containerd --config /nonexistent.toml config dump", check=False)

    assert missing.returncode != 0
    assert missing.stdout == ""


@pytest.mark.feature("B9")
def test_on_1_7_an_imported_cri_table_really_replaces_the_main_files(results):
    before = tomllib.loads(results.before["CRI table in an import"].text)["plugins"]["io.containerd.grpc.v1.cri"]

    assert before["sandbox_image"] == "theirs"
    assert before["restrict_oom_score_adj"] is False


def test_a_table_appended_without_thought_really_takes_the_default_handler_away(node):
    careless = DEBIAN + FOREIGN

    found = dump_all(node, {"careless": {MAIN: careless.encode()}})["careless"]

    assert found.code == 0
    handlers = tomllib.loads(found.text)["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]["runtimes"]
    assert handlers.keys() == {"runsc"}


def test_the_corpus_is_run_where_it_is_named(node, record_property, capsys):
    place = os.environ.get(CORPUS)
    if not place:
        with capsys.disabled():
            print(f"\n{CORPUS} names no directory: no extra configurations were run")  # noqa: T201 -- the report
        return
    cases = {path.name: Case(path.read_bytes()) for path in sorted(Path(place).glob("*.toml"))}
    assert cases, f"{place} holds no *.toml"

    results = Results(node, cases)

    for name in results.edits:
        check(results, name, cases[name])
    refused = {name: error.what for name, error in results.refusals.items()}
    for name, what in refused.items():
        assert results.before[name].code != 0 or "disabled" in what or "cannot load" in what, name
    record_property("corpus", {"accepted": sorted(results.edits), "refused": refused})
    with capsys.disabled():
        print(f"\ncorpus {place}: {len(results.edits)} accepted, {len(refused)} refused")  # noqa: T201 -- the report
