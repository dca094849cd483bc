"""For any file that a person or a tool may have written: added means added and nothing else, removed means gone."""

from __future__ import annotations

import copy
import tomllib

from containerd_merge_model import CONFIG, V3
from containerd_merge_model import dump_of as dump_of_2x
from containerd_model import CRI, DAEMON, HANDLER, dump_of
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from orchestrator.errors import RefusedError
from orchestrator.planning.containerd_config import DropIn, add_handler, remove_handler, verify_dump, verify_removal

# A file takes long to make and to read. `make exhaustive` tries far more.
fewer = settings(max_examples=settings.default.max_examples // 4)

NAMES = {1: "cri", 2: CRI, 3: V3, 4: V3}
MARK = "# >>> gvisor-nodes runsc sha256:0123456789abcdef newline:added"
words = st.text("abcxyz-_.# \\\"'[]{}=é\t", max_size=8)
comments = st.one_of(
    st.just(""),
    words.map(lambda text: "# " + text),
    st.sampled_from([MARK, "# <<< gvisor-nodes runsc", "# plugins.cri.containerd.runtimes.runsc"]),
)
scalars = st.one_of(
    st.booleans().map(lambda value: str(value).lower()),
    st.integers(-999, 999).map(str),
    words.map(lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'),
    st.sampled_from(["[]", "[1, 2]", '["a", "b"]', "{a = 1}", f"'''\n{MARK}\nx'''", '"""\n[plugins]\n"""']),
)


def settings_lines(prefix):
    """Keys that differ from each other, with values and comments."""
    return st.lists(st.tuples(scalars, comments), max_size=3).map(
        lambda pairs: [
            f"{prefix}{number} = {value} {comment}".rstrip() for number, (value, comment) in enumerate(pairs)
        ]
    )


runtime = st.sampled_from(["crun", "nvidia", "kata-fc", "'o d d'", '"with.dot"'])


VERSIONS_OF_1_X = ["", "version = 1", "version = 2", "version=2", "  version = 2 # note"]
VERSIONS_OF_2_X = ["version = 2", "version=2 # note", "version = 3", "'version' = 3", "version = 4"]
IMPORTS = ["", "imports = []", "imports = ['conf.d/*.toml']", 'imports = ["x.toml", "/etc/containerd/conf.d/*.toml"]']


def cri_of(version):
    """The CRI table's name, as a version line has it."""
    return f'"{V3}"' if "3" in version or "4" in version else f'"{CRI}"' if "2" in version else "cri"


@st.composite
def files(draw, versions=VERSIONS_OF_1_X, imports=("",)):
    """A main file: version line or none, keys, tables of others, a CRI table in one of its many forms or none."""
    version = draw(st.sampled_from(versions))
    cri = cri_of(version)
    quoted = draw(st.sampled_from([cri, cri.replace('"', "'")]))
    lines = [draw(comments), version, draw(st.sampled_from(imports)), *draw(settings_lines("top"))]
    names = draw(st.lists(runtime, max_size=2, unique=True))
    names = ["runc", *names] if names or draw(st.booleans()) else []
    form = draw(st.sampled_from(["none", "headers", "nested", "dotted", "inline", "inline-runtimes"]))
    if form == "dotted":
        lines.append(f'plugins.{quoted}.sandbox_image = "x"')
        lines += [f'plugins.{quoted}.containerd.runtimes.{name}.runtime_type = "r"' for name in names]
    if form == "inline":
        inner = ", ".join(f'{name} = {{runtime_type = "r"}}' for name in names)
        handlers = f", containerd = {{runtimes = {{{inner}}}}}" if names else ""
        lines.append(f'plugins = {{{quoted} = {{sandbox_image = "x"{handlers}}}}}')
    lines += ["[metrics]", *draw(settings_lines("m"))]
    if form == "nested":
        lines += ["[plugins]", f"  [plugins.{quoted}]", '    sandbox_image = "x"', *draw(settings_lines("    c"))]
    if form == "inline-runtimes":
        inner = ", ".join(f'{name} = {{runtime_type = "r"}}' for name in names)
        lines += [f"[plugins.{quoted}.containerd]", *([f"runtimes = {{{inner}}}"] if names else [])]
    if form in {"headers", "nested"}:
        for name in names:
            lines += [
                f"[plugins.{quoted}.containerd.runtimes.{name}]",
                'runtime_type = "r"',
                *draw(settings_lines("r")),
            ]
            lines += draw(st.sampled_from([[], [f"[plugins.{quoted}.containerd.runtimes.{name}.options]", "a = 1"]]))
    lines += draw(st.sampled_from([[], ["[[stream]]", "x = 1", "[[stream]]"]]))
    lines.append(draw(comments))
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    text = newline.join(line.replace("\n", newline) for line in lines) + draw(
        st.sampled_from(["", newline, newline * 2])
    )
    content = draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + text.encode()
    assume(_is_toml(content))
    return content


def _is_toml(content):
    try:
        _values(content)
    except tomllib.TOMLDecodeError:
        return False
    return True


def _values(content):
    return tomllib.loads(content.removeprefix(b"\xef\xbb\xbf").decode())


def _handlers(values):
    name = NAMES[values.get("version", 1)]
    return values.get("plugins", {}).get(name, {}).get("containerd", {}).get("runtimes", {})


def _without(values, names):
    """Without some handlers, and without the tables that hold nothing then."""
    values = copy.deepcopy(values)
    for name in names:
        _handlers(values).pop(name, None)
    plugin = NAMES[values.get("version", 1)]
    path = ["plugins", plugin, "containerd", "runtimes"]
    for depth in range(len(path), 0, -1):
        table = values
        for key in path[: depth - 1]:
            table = table.get(key, {})
        if table.get(path[depth - 1]) == {}:
            del table[path[depth - 1]]
    return values


def _edits(main):
    return add_handler(main, dump_of(main), HANDLER, DAEMON)


@fewer
@given(files())
def test_the_handler_is_added_and_everything_else_says_what_it_said(main):
    for edit in _edits(main):
        old, new = _values(main), _values(edit.content)

        assert _handlers(new)["runsc"] == HANDLER.table
        assert _without(new, ["runsc", *edit.preserved]) == _without(old, [])
        assert set(_handlers(old)).isdisjoint(edit.preserved)
        assert verify_dump(dump_of(main), dump_of(edit.content), HANDLER) == []


@fewer
@given(files())
def test_a_removal_is_the_exact_inverse(main):
    for edit in _edits(main):
        assert remove_handler(edit.content, main, HANDLER) == main
        if b"# Written and removed by gvisor-nodes;" in edit.content:
            assert edit.content.startswith(main)
            assert remove_handler(edit.content, None, HANDLER) == main


@fewer
@given(files())
def test_adding_again_changes_nothing(main):
    for edit in _edits(main):
        assert [edit.content] == [again.content for again in _edits(edit.content)]


@fewer
@given(files(), st.sampled_from(["", "# theirs"]), st.booleans())
def test_a_removal_after_others_wrote_leaves_what_they_wrote(main, comment, known):
    for edit in _edits(main):
        changed = edit.content.rstrip() + f"\n{comment}\n[theirs]\nx = 1\n".encode()
        try:
            rest = remove_handler(changed, main if known else None, HANDLER)
        except RefusedError as error:  # pragma: no cover - shown by hypothesis where it happens
            raise AssertionError(str(error)) from error

        assert _values(rest)["theirs"] == {"x": 1}
        assert "runsc" not in _handlers(_values(rest))
        assert verify_removal(dump_of(changed), dump_of(rest), HANDLER) == []


def _edits_2x(files, **options):
    return add_handler(files[CONFIG], dump_of_2x(files), HANDLER, "2.4.2", config=CONFIG, **options)


@fewer
@given(files(VERSIONS_OF_2_X, IMPORTS), st.booleans())
def test_on_2_x_a_drop_in_or_the_main_file_says_the_handler_and_nothing_else_changes(main, stranger):
    there = {CONFIG: main}
    if stranger:
        there["/etc/containerd/conf.d/theirs.toml"] = b"version = 2\n[metrics]\naddress = 'x'\n"
    edits = _edits_2x(there)

    assert any(edit.drop_in for edit in edits) == (b"*.toml" in main.partition(b"imports = ")[2].partition(b"]")[0])
    for edit in edits:
        after = {**there, edit.drop_in or CONFIG: edit.content}
        assert _values(edit.content)["version"] == _values(main)["version"]
        assert _handlers(_values(edit.content))["runsc"] == HANDLER.table
        assert edit.preserved == ()
        assert verify_dump(dump_of_2x(there), dump_of_2x(after), HANDLER) == []
        assert verify_removal(dump_of_2x(after), dump_of_2x(there), HANDLER) == []


@fewer
@given(files(VERSIONS_OF_2_X, IMPORTS))
def test_on_2_x_adding_again_changes_nothing_and_a_removal_is_the_exact_inverse(main):
    for edit in _edits_2x({CONFIG: main}):
        after = {CONFIG: main, edit.drop_in or CONFIG: edit.content}
        drop_in = DropIn(edit.drop_in, edit.content) if edit.drop_in else None

        assert [False] == [again.changes for again in _edits_2x(after, drop_in=drop_in)]
        assert edit.current == remove_handler(edit.content, edit.current, HANDLER)


@fewer
@given(files(VERSIONS_OF_2_X, IMPORTS), st.sampled_from(["", "# theirs"]))
def test_on_2_x_what_others_write_into_either_file_stays_at_a_removal(main, comment):
    for edit in _edits_2x({CONFIG: main}):
        changed = edit.content.rstrip() + f"\n{comment}\n[theirs]\nx = 1\n".encode()

        rest = remove_handler(changed, edit.current, HANDLER)

        assert _values(rest)["theirs"] == {"x": 1}
        assert "runsc" not in _handlers(_values(rest))
