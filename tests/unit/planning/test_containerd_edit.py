"""Adding the handler: what is written, what is left alone, what is refused."""

from __future__ import annotations

import tomllib

import pytest
from containerd_model import CRI, DAEMON, DEFAULT_RUNC, HANDLER, dump_of

from orchestrator.errors import InvalidInputError, RefusedError
from orchestrator.planning.containerd_config import TYPE_URL, Handler, add_handler, remove_handler, verify_dump

DEBIAN = b"""version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
  [plugins."io.containerd.internal.v1.opt"]
    path = "/var/lib/containerd"
"""
RUNC = b"""version = 2
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""


def add(main, handler=HANDLER, **options):
    return add_handler(main, dump_of(main), handler, DAEMON, **options)


def runtimes(content, name=CRI):
    return tomllib.loads(content.decode())["plugins"][name]["containerd"]["runtimes"]


def test_the_block_stands_behind_the_untouched_file_between_its_marks():
    edit = add(RUNC)[0]

    assert edit.content.startswith(RUNC)
    lines = edit.content[len(RUNC) :].decode().splitlines()
    assert lines[0].startswith("# >>> gvisor-nodes runsc sha256:")
    assert lines[2:] == [
        f'[plugins."{CRI}".containerd.runtimes.runsc]',
        'runtime_type = "/opt/gvisor-nodes/containerd-shim-runsc-v1"',
        f'[plugins."{CRI}".containerd.runtimes.runsc.options]',
        f'TypeUrl = "{TYPE_URL}"',
        'ConfigPath = "/opt/gvisor-nodes/runsc.toml"',
        "# <<< gvisor-nodes runsc",
    ]
    assert edit.added == (f'plugins."{CRI}".containerd.runtimes.runsc',)
    assert edit.preserved == ()


def test_a_file_without_handlers_keeps_its_built_in_one_with_the_values_in_force():
    edit = add(DEBIAN)[0]

    assert edit.preserved == ("runc",)
    assert runtimes(edit.content) == {"runc": DEFAULT_RUNC, "runsc": HANDLER.table}
    assert "runc written out" in edit.note
    assert verify_dump(dump_of(DEBIAN), dump_of(edit.content), HANDLER) == []


@pytest.mark.parametrize("main", [None, b"", b"\n", b"# only a comment", b"\xef\xbb\xbf", b"# a\r\n"])
def test_a_file_that_says_nothing_becomes_version_2(main):
    edits = add(main)

    assert len(edits) == 1
    assert tomllib.loads(edits[0].content.removeprefix(b"\xef\xbb\xbf").decode())["version"] == 2
    assert edits[0].preserved == ("runc",)
    assert remove_handler(edits[0].content, main, HANDLER) == main


@pytest.mark.feature("B1")
@pytest.mark.feature("J10")
@pytest.mark.parametrize("first", [b"", b"version = 1\n"])
def test_a_version_1_file_gets_the_tables_of_version_1(first):
    main = first + b'root = "/data"\n[plugins.cri]\nsandbox_image = "x"\n'

    edit = add(main)[0]

    assert edit.added == ("plugins.cri.containerd.runtimes.runc", "plugins.cri.containerd.runtimes.runsc")
    assert runtimes(edit.content, "cri")["runsc"] == HANDLER.table
    assert verify_dump(dump_of(main), dump_of(edit.content), HANDLER) == []


@pytest.mark.feature("B2")
@pytest.mark.feature("J10")
@pytest.mark.parametrize(
    "line", [b"version=2", b"version = 2 # note", b"  version = 2", b"'version'=2", b"version = 0x2"]
)
def test_version_2_is_what_the_parser_reads_and_not_what_a_pattern_finds(line):
    main = b"root = '/x'\n" + line + b"\n[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = 'x'\n"

    assert set(runtimes(add(main)[0].content)) == {"runc", "runsc"}


@pytest.mark.feature("B11")
@pytest.mark.parametrize(
    "main",
    [
        RUNC.replace(b"\n", b"\r\n"),
        RUNC.rstrip(),
        RUNC.replace(b"\n", b"\r\n").rstrip(),
        b"\xef\xbb\xbf" + RUNC,
        RUNC + b"# no newline",
        RUNC + b"\n\n \t\n",
        RUNC + b"# caf\xe9, Latin-1\n",
        b'# [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runsc]\n' + RUNC,
    ],
)
def test_the_old_bytes_stay_and_come_back(main):
    for edit in add(main):
        assert remove_handler(edit.content, main, HANDLER) == main
    first = add(main)[0].content
    assert first.startswith(main)
    assert remove_handler(first, None, HANDLER) == main
    block = first[len(main) :].replace(b"\r\n", b"")
    assert (b"\n" in block) != (b"\r\n" in main)


@pytest.mark.feature("B6")
@pytest.mark.parametrize(
    "main",
    [
        b'version = 2\nplugins = {"io.containerd.grpc.v1.cri" = {sandbox_image = "x"}} # keep\nroot = "/r"\n',
        b'version = 2\n[plugins]\n"io.containerd.grpc.v1.cri" = {sandbox_image = "x", containerd = {}}\n',
        b'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd]\nruntimes = {runc = {runtime_type = "r"}}\n',
    ],
)
def test_an_inline_table_is_edited_where_it_is(main):
    edits = add(main)

    assert len(edits) == 1
    assert b"#" not in edits[0].content.replace(b"# keep", b"")
    assert {"runc", "runsc"} == set(runtimes(edits[0].content))
    assert verify_dump(dump_of(main), dump_of(edits[0].content), HANDLER) == []
    assert remove_handler(edits[0].content, main, HANDLER) == main
    changed = edits[0].content + b"\n# somebody was here\n"
    assert runtimes(remove_handler(changed, main, HANDLER)).keys() == {"runc"}


@pytest.mark.feature("B6")
@pytest.mark.parametrize(
    "main",
    [
        b'version = 2\nplugins."io.containerd.grpc.v1.cri".sandbox_image = "x"\n',
        b"version = 2\nplugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc.runtime_type = 'x'\n",
        b"version = 2\n[plugins]\n[plugins.'io.containerd.grpc.v1.cri']\n[plugins.\"io.containerd.grpc.v1.cri\".cni]\n",
        b'version = 2\n["plugins"."io.containerd.grpc.v1.cri".containerd.runtimes.runc]\na = 1\n[[a]]\nb=1\n',
    ],
)
def test_every_way_to_write_the_same_table_is_the_same(main):
    edit = add(main)[0]

    assert edit.content.startswith(main)
    assert {"runc", "runsc"} == set(runtimes(edit.content))


@pytest.mark.feature("A15")
@pytest.mark.parametrize("main", [None, b"", DEBIAN, RUNC, RUNC.rstrip(), b"root = '/x'\n"])
def test_a_second_time_changes_nothing(main):
    for edit in add(main):
        (again,) = add(edit.content)

        assert again.content == edit.content
        assert again.added == ()


@pytest.mark.feature("B13")
@pytest.mark.parametrize("main", [None, DEBIAN, RUNC, RUNC.rstrip(), RUNC.replace(b"\n", b"\r\n")])
def test_our_own_stale_block_is_replaced_in_its_place(main):
    stale = add(main, Handler("runsc", "/old/shim", "/old/runsc.toml"))[0].content + b"[metrics]\naddress = 'x'\n"

    edit = add(stale)[0]

    assert b"/old/" not in edit.content
    assert edit.content.count(b"gvisor-nodes runsc sha256") == 1
    assert edit.content.endswith(b"[metrics]\naddress = 'x'\n")
    assert verify_dump(dump_of(stale), dump_of(edit.content), HANDLER) == []
    rest = {None: b"version = 2\n", RUNC.rstrip(): RUNC}.get(main, main) + b"[metrics]\naddress = 'x'\n"
    assert remove_handler(edit.content, main, HANDLER) == rest


@pytest.mark.feature("B13")
@pytest.mark.parametrize(
    "lines",
    [
        'runsc = {runtime_type = "SHIM", options = {TypeUrl = "io.containerd.runsc.v1.options", ConfigPath = "/old"}}',
        'runsc = {runtime_type = "SHIM", options = {ConfigPath = "/old", Unknown = 1}}',
        'runsc = {runtime_type = "SHIM", pod_annotations = ["dev.gvisor.*"]}',
        'runsc.runtime_type = "SHIM"\nrunsc.options.ConfigPath = "/old"',
        'runsc = {runtime_type = "SHIM", options = 3}',
    ],
)
def test_our_unmarked_table_is_updated_and_removed_in_every_form(lines):
    head = b'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes]\nrunc = {runtime_type = "r"}\n'
    stale = head + lines.replace("SHIM", HANDLER.runtime_type).encode() + b"\n"
    dump = dump_of(head)

    (edit,) = add_handler(stale, dump, HANDLER, DAEMON)

    assert HANDLER.served_by(runtimes(edit.content)["runsc"])
    assert remove_handler(edit.content, None, HANDLER) == head
    if "Unknown" not in lines:
        assert remove_handler(stale, None, HANDLER) == head


@pytest.mark.feature("B13")
def test_our_table_is_updated_where_another_tool_dropped_the_marks():
    stale = (
        RUNC
        + b"""[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runsc]
pod_annotations = ["dev.gvisor.*"] # a careful hand
runtime_type = "/opt/gvisor-nodes/containerd-shim-runsc-v1"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runsc.options]
TypeUrl = "io.containerd.runsc.v1.options"
ConfigPath = "/old/runsc.toml"
"""
    )
    (edit,) = add(stale)

    assert edit.content == stale.replace(b"/old/runsc.toml", b"/opt/gvisor-nodes/runsc.toml")


def test_a_block_that_somebody_damaged_is_repaired():
    good = add(DEBIAN)[0].content
    damaged = good.replace(b"/opt/gvisor-nodes/runsc.toml", b"/nowhere")

    assert add(damaged)[0].content == good


def test_a_change_of_a_preserved_handler_survives_an_update():
    changed = add(DEBIAN)[0].content.replace(b"SystemdCgroup = false", b"SystemdCgroup = true")
    newer = Handler("runsc", "/new/shim", "/new/runsc.toml")

    edit = add(changed, newer)[0]

    assert runtimes(edit.content)["runc"]["options"]["SystemdCgroup"] is True
    assert runtimes(edit.content)["runsc"] == newer.table


FOREIGN = b"""[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runsc]
runtime_type = "io.containerd.runsc.v1"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runsc.options]
TypeUrl = "io.containerd.runsc.v1.options"
ConfigPath = "/etc/gv/mine.toml"
"""


def test_somebody_elses_handler_of_the_name_is_refused_with_what_is_there():
    with pytest.raises(RefusedError) as caught:
        add(RUNC + FOREIGN)

    assert "somebody else's handler runsc" in caught.value.what
    assert "'io.containerd.runsc.v1'" in caught.value.why
    assert "'/etc/gv/mine.toml'" in caught.value.why
    assert "containerd_handler" in caught.value.remedy


def test_a_hand_made_handler_with_our_values_is_left_and_never_removed():
    same = Handler("runsc", "io.containerd.runsc.v1", "/etc/gv/mine.toml")
    main = RUNC + FOREIGN

    (edit,) = add(main, same)

    assert edit.content == main
    assert "was there already" in edit.note
    assert remove_handler(main, main, same) == main


def test_the_built_in_handler_is_nobodys_to_take():
    with pytest.raises(RefusedError, match="a handler named runc is in force"):
        add(DEBIAN, Handler("runc", "/x", "/y"))


@pytest.mark.parametrize(
    ("version", "supported"),
    [
        ("1.7.24", True),
        ("v1.7.0", True),
        ("1.7.24~ds1-6+deb13u1", True),
        ("1.7.24-k3s1", True),
        ("1.6.20~ds1", True),
        ("2.0.0", True),
        ("v2.4.2", True),
        ("2.11.0", True),
        ("1.5.0", False),
        ("0.9.0", False),
        ("3.0.0", False),
        ("10.7.1", False),
    ],
)
def test_containerd_older_than_1_6_or_newer_than_2_is_refused_by_its_version(version, supported):
    if supported:
        assert add_handler(RUNC, dump_of(RUNC), HANDLER, version)
        return
    with pytest.raises(RefusedError) as caught:
        add_handler(RUNC, dump_of(RUNC), HANDLER, version)
    assert version in caught.value.what
    assert "1.6, 1.7 or 2.x" in caught.value.remedy


@pytest.mark.parametrize("version", ["", "unknown", "one.two"])
def test_a_version_that_is_none_is_invalid(version):
    with pytest.raises(InvalidInputError, match="no version of containerd"):
        add_handler(RUNC, dump_of(RUNC), HANDLER, version)


@pytest.mark.parametrize(
    "main", [b"version = 2\n[plugins\n", b"\x00", b"a = 1\na = 2\n", "version = 2".encode("utf-16"), b"a = \xff"]
)
def test_a_broken_file_is_refused_even_without_a_dump(main):
    with pytest.raises(RefusedError) as caught:
        add_handler(main, "", HANDLER, DAEMON)

    assert "not valid TOML" in caught.value.what
    assert "config dump" in caught.value.remedy


@pytest.mark.parametrize(
    ("line", "what"),
    [("3", "does not know"), ("4", "does not know"), ("5", "unknown"), ("'2'", "unknown"), ("true", "unknown")],
)
def test_a_configuration_version_that_1_7_does_not_know_is_refused(line, what):
    with pytest.raises(RefusedError, match=what):
        add_handler(f"version = {line}\n".encode(), "", HANDLER, DAEMON)


@pytest.mark.parametrize(
    "main",
    [
        b'disabled_plugins = ["cri"]\n',
        b'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n',
        b'version = 2\ndisabled_plugins = ["io.containerd.snapshotter.v1.zfs", "cri"]\n',
    ],
)
def test_a_disabled_cri_plugin_is_refused(main):
    with pytest.raises(RefusedError, match="CRI plugin is disabled") as caught:
        add_handler(main, "", HANDLER, DAEMON)

    assert "disabled_plugins" in caught.value.remedy


def test_cri_disabled_by_an_import_is_refused():
    dump = dump_of(RUNC).replace("disabled_plugins = []", 'disabled_plugins = ["io.containerd.grpc.v1.cri"]')

    with pytest.raises(RefusedError, match="CRI plugin is disabled"):
        add_handler(RUNC, dump, HANDLER, DAEMON)


def test_a_dump_without_cri_is_refused():
    with pytest.raises(RefusedError, match="has no CRI plugin"):
        add_handler(RUNC, "version = 2\n", HANDLER, DAEMON)


@pytest.mark.parametrize("dump", ["", "not toml", "level=warning msg=x", "version = 9\n", "version = true\n"])
def test_a_dump_that_is_none_is_invalid(dump):
    with pytest.raises(InvalidInputError, match="config dump"):
        add_handler(RUNC, dump, HANDLER, DAEMON)


@pytest.mark.parametrize(
    "main",
    [
        b'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd]\ndefault_runtime_name = "nope"\n',
        b'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes]\n',
        b'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun]\nruntime_type = "x"\n',
    ],
)
def test_a_cri_plugin_that_cannot_load_before_us_is_refused(main):
    with pytest.raises(RefusedError, match="cannot load") as caught:
        add(main)

    assert "default_runtime_name" in caught.value.remedy


def test_the_deprecated_default_runtime_needs_no_named_one():
    main = b"""version = 2
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "gone"
[plugins."io.containerd.grpc.v1.cri".containerd.default_runtime]
runtime_type = "io.containerd.runc.v2"
"""
    assert add(main)


@pytest.mark.parametrize("value", ["3", "'x'", "[1]"])
@pytest.mark.parametrize("key", ["plugins", 'plugins."io.containerd.grpc.v1.cri".containerd.runtimes'])
def test_something_else_in_a_tables_place_is_refused(key, value):
    with pytest.raises(RefusedError, match="is not a table"):
        add_handler(f"version = 2\n{key} = {value}\n".encode(), dump_of(None), HANDLER, DAEMON)


IMPORTING = b"version = 2\nimports = ['/etc/containerd/conf.d/*.toml']\n"
DROP_IN = "/etc/containerd/conf.d/cri.toml"


@pytest.mark.feature("B9")
def test_a_cri_table_in_an_import_is_refused_where_the_files_are_known():
    dump = dump_of(IMPORTING, imported=(DROP_IN,))
    imported = {DROP_IN: b'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\nsandbox_image = "x"\n'}

    with pytest.raises(RefusedError, match="comes from an imported file") as caught:
        add_handler(IMPORTING, dump, HANDLER, DAEMON, imported=imported)
    assert DROP_IN in caught.value.remedy


@pytest.mark.feature("B9")
@pytest.mark.parametrize(
    ("main", "cri"),
    [
        (IMPORTING, {"containerd": {"runtimes": {"runc": {}, "kata": {}}}}),
        (IMPORTING + b'[plugins."io.containerd.grpc.v1.cri"]\nsandbox_image = "mine"\n', {"sandbox_image": "theirs"}),
    ],
)
def test_a_cri_table_in_an_import_is_known_by_its_effects(main, cri):
    with pytest.raises(RefusedError, match="comes from an imported file"):
        add_handler(main, dump_of(main, imported=(DROP_IN,), cri=cri), HANDLER, DAEMON)


@pytest.mark.feature("B12")
@pytest.mark.parametrize(
    "imported",
    [None, {DROP_IN: b"[metrics]\naddress = 'x'\n"}, {DROP_IN: b"broken"}, {"/etc/containerd/config.toml": IMPORTING}],
)
def test_an_import_of_something_else_stays(imported):
    edit = add_handler(IMPORTING, dump_of(IMPORTING, imported=(DROP_IN,)), HANDLER, DAEMON, imported=imported)[0]

    assert edit.content.startswith(IMPORTING)
    assert "what it imports stays" in edit.note


@pytest.mark.parametrize("name", ["", "Runsc", "a.b", "a b", "-a", "a-", "a" * 64, 'x"]', "a\n", "ü", "a_b", "../x"])
def test_a_handlers_name_is_a_dns_label(name):
    with pytest.raises(InvalidInputError, match="cannot be a runtime handler"):
        Handler(name, "/x", "/y")


@pytest.mark.parametrize("value", ["", "relative", "/a\nb", "/a\x00", "/a\x7f", "/a\u2028b", "/\udcff", "/a\tb"])
def test_paths_are_absolute_and_printable(value):
    with pytest.raises(InvalidInputError):
        Handler("runsc", value, "/y")
    with pytest.raises(InvalidInputError):
        Handler("runsc", "/x", value)


@pytest.mark.parametrize("path", ['/a"b', "/a\\b", "/a'b", '/"""', "/a b", "/ü/€/𝄞", "/{{ x }}", "/#"])
def test_values_are_escaped_and_arrive_as_they_are(path):
    handler = Handler("runsc", path, path)

    for edit in add(DEBIAN, handler):
        assert runtimes(edit.content)["runsc"] == handler.table


def test_odd_values_of_a_preserved_handler_are_written_as_they_are():
    odd = 'a = "q\\"\\\\ \\u0001\\u200b\\U000E0001\\n"\nb = [1, -2]\nc = 1.5\n'
    odd += 'd = [{x = "y"}]\n"e f" = true\nt = 1979-05-27T07:32:00Z\n'
    dump = dump_of(DEBIAN) + f"[plugins.'{CRI}'.containerd.runtimes.odd]\n{odd}"

    edit = add_handler(DEBIAN, dump, HANDLER, DAEMON)[0]

    assert edit.preserved == ("runc", "odd")
    assert runtimes(edit.content)["odd"] == tomllib.loads(odd)
