"""containerd 2.x, which merges: a drop-in where one is read, else the main file, each in the main file's own version."""

from __future__ import annotations

import tomllib

import pytest
from containerd_merge_model import CONFIG, V2, V3, DoesNotStartError, dump_of
from containerd_model import HANDLER
from containerd_model import dump_of as dump_of_1x

from orchestrator.errors import RefusedError
from orchestrator.planning.containerd_config import (
    DropIn,
    Handler,
    add_handler,
    check_main,
    remove_handler,
    verify_dump,
    verify_removal,
)

DIRECTORY = "/etc/containerd/conf.d"
OURS = f"{DIRECTORY}/gvisor-nodes.toml"
IMPORTS = "imports = ['/etc/containerd/conf.d/*.toml']\n"
DAEMONS = pytest.mark.parametrize("daemon", ["2.0.14", "2.2.9", "2.3.4", "2.4.2"])
RUNC = {
    1: "[plugins.cri.containerd.runtimes.runc]\nruntime_type = 'io.containerd.runc.v2'\n",
    2: f"[plugins.'{V2}'.containerd.runtimes.runc]\nruntime_type = 'io.containerd.runc.v2'\n",
    3: f"[plugins.'{V3}'.containerd.runtimes.runc]\nruntime_type = 'io.containerd.runc.v2'\n",
}
NAMES = {1: "cri", 2: V2, 3: V3, 4: V3}


def main_of(version, *, imports=True, rest=None):
    line = "" if version is None else f"version = {version}\n"
    return (line + (IMPORTS if imports else "") + (RUNC[min(version or 1, 3)] if rest is None else rest)).encode()


def add(files, daemon="2.4.2", handler=HANDLER, drop_in=None):
    return add_handler(files.get(CONFIG), dump_of(files, daemon), handler, daemon, config=CONFIG, drop_in=drop_in)


def written(files, edit):
    return {**files, edit.drop_in or CONFIG: edit.content}


def handlers(content, version):
    return tomllib.loads(content.decode())["plugins"][NAMES[version]]["containerd"]["runtimes"]


def valid(files, edits, daemon):
    """The candidate that the caller would take: the first that the daemon reads as meant."""
    before = dump_of(files, daemon)
    return next(edit for edit in edits if not verify_dump(before, dump_of(written(files, edit), daemon), HANDLER))


@pytest.mark.feature("B7")
@pytest.mark.feature("B10")
@DAEMONS
@pytest.mark.parametrize("version", [2, 3])
def test_where_the_main_file_imports_a_directory_a_drop_in_of_its_own_version_is_written(daemon, version):
    files = {CONFIG: main_of(version)}

    edit = valid(files, add(files, daemon), daemon)

    assert OURS == edit.drop_in
    assert edit.current is None
    assert version == tomllib.loads(edit.content.decode())["version"]
    assert {"runsc": HANDLER.table} == handlers(edit.content, version)
    assert IMPORTS.split("'")[1].replace("*.toml", "gvisor-nodes.toml") in edit.note


@pytest.mark.feature("B4")
@pytest.mark.feature("B7")
@pytest.mark.parametrize("daemon", ["2.3.4", "2.4.2"])
def test_a_version_4_file_gets_a_drop_in_of_version_4(daemon):
    files = {CONFIG: main_of(4)}

    edit = valid(files, add(files, daemon), daemon)

    assert (OURS, 4) == (edit.drop_in, tomllib.loads(edit.content.decode())["version"])


@DAEMONS
@pytest.mark.parametrize("version", [None, 1])
def test_a_file_without_a_version_gets_a_drop_in_that_says_none_either(daemon, version):
    files = {CONFIG: main_of(version)}

    edit = valid(files, add(files, daemon), daemon)

    assert OURS == edit.drop_in
    assert version == tomllib.loads(edit.content.decode()).get("version")


@pytest.mark.feature("B3")
@pytest.mark.feature("B4")
@pytest.mark.feature("J10")
@DAEMONS
@pytest.mark.parametrize("version", [None, 1, 2, 3, 4])
def test_a_main_file_without_imports_is_edited_in_its_own_version_and_nothing_is_written_out(daemon, version):
    if version == 4 and daemon < "2.3":
        version = 3
    files = {CONFIG: main_of(version, imports=False)}

    edit = valid(files, add(files, daemon), daemon)

    assert edit.drop_in is None
    assert edit.content.startswith(files[CONFIG])
    assert () == edit.preserved
    assert edit.added[-1].endswith("containerd.runtimes.runsc")
    assert files[CONFIG] == remove_handler(edit.content, files[CONFIG], HANDLER)
    assert files[CONFIG] == remove_handler(edit.content, None, HANDLER)


@DAEMONS
@pytest.mark.parametrize("main", [None, b"", b"# nothing\n"])
def test_without_a_word_in_the_main_file_it_becomes_version_3_which_every_2_x_reads(daemon, main):
    files = {} if main is None else {CONFIG: main}

    (edit,) = add(files, daemon)

    assert 3 == tomllib.loads(edit.content.decode())["version"]
    assert {"runsc": HANDLER.table} == handlers(edit.content, 3)
    assert [] == verify_dump(dump_of(files, daemon), dump_of(written(files, edit), daemon), HANDLER)
    assert main == remove_handler(edit.content, main, HANDLER)


@pytest.mark.feature("B8")
@pytest.mark.parametrize(
    "imports",
    [
        "",
        "imports = []\n",
        "imports = ['/etc/containerd/conf.d/other.toml']\n",
        "imports = ['/etc/containerd/conf.d/9*.toml']\n",
        "imports = ['/etc/containerd/*/gvisor-nodes.toml']\n",
        "imports = ['/etc/containerd/conf.d/*.tom?']\n",
        "imports = ['/etc/containerd/conf.d/[a-z]*.toml']\n",
        "imports = 3\n",
        "imports = [3]\n",
    ],
)
def test_no_drop_in_is_written_where_the_main_files_own_imports_do_not_say_so(imports):
    """Least of all for the import that every dump of 2.2 and later shows, and that containerd does not follow."""
    main = ("version = 3\n" + imports + RUNC[3]).encode()
    dump = dump_of({CONFIG: main_of(3, imports=False)})
    assert "/etc/containerd/conf.d/*.toml" in dump

    assert {None} == {edit.drop_in for edit in add_handler(main, dump, HANDLER, "2.4.2", config=CONFIG)}


@pytest.mark.feature("B8")
@pytest.mark.parametrize(
    ("pattern", "place"),
    [
        ("conf.d/*.toml", OURS),
        ("./conf.d//*.toml", OURS),
        ("/etc/cri/../cri/conf.d/*.toml", "/etc/cri/conf.d/gvisor-nodes.toml"),
        ("*.toml", "/etc/containerd/gvisor-nodes.toml"),
        ("/srv/g*.toml", "/srv/gvisor-nodes.toml"),
    ],
)
def test_a_relative_import_is_relative_to_the_main_files_directory(pattern, place):
    main = f"version = 3\nimports = ['{pattern}']\n".encode()

    assert place == add_handler(main, dump_of({}), HANDLER, "2.4.2", config=CONFIG)[0].drop_in


def test_a_pattern_that_would_load_a_half_written_file_is_not_used():
    main = b"version = 3\nimports = ['conf.d/*']\n"

    assert {None} == {edit.drop_in for edit in add_handler(main, dump_of({}), HANDLER, "2.4.2", config=CONFIG)}


@pytest.mark.feature("B8")
def test_after_the_drop_in_the_main_file_is_the_next_candidate():
    """For the node on which the directory turns out not to be read."""
    edits = add({CONFIG: main_of(3)})

    assert [OURS, None] == [edit.drop_in for edit in edits][:2]


def test_on_1_x_no_drop_in_is_ever_written():
    main = main_of(2)

    edits = add_handler(main, dump_of_1x(main), HANDLER, "1.7.24", config=CONFIG)

    assert {None} == {edit.drop_in for edit in edits}


@pytest.mark.feature("B10")
@pytest.mark.parametrize(
    ("version", "theirs", "daemon"),
    [(2, 3, "2.0.14"), (2, 3, "2.2.9"), (3, 2, "2.0.14"), (3, 2, "2.2.9"), (2, 3, "2.4.2"), (3, 2, "2.4.2")],
)
def test_beside_a_drop_in_of_another_version_ours_still_has_the_main_files(version, theirs, daemon):
    files = {
        CONFIG: main_of(version),
        f"{DIRECTORY}/aa.toml": f"version = {theirs}\n[metrics]\naddress = 'x'\n".encode(),
    }

    for edit in add(files, daemon):
        if edit.drop_in:
            assert version == tomllib.loads(edit.content.decode())["version"]
    assert valid(files, add(files, daemon), daemon).drop_in == OURS


@pytest.mark.feature("B10")
@pytest.mark.parametrize("daemon", ["2.0.14", "2.2.9"])
def test_the_trap_of_a_version_3_drop_in_under_a_version_2_file_is_seen_by_its_dump(daemon):
    """There the last file's version holds for all: the main file's settings are gone, and ours would be with them."""
    files = {CONFIG: main_of(2), f"{DIRECTORY}/zz.toml": b"version = 3\n"}
    before = dump_of(files, daemon)

    for edit in add(files, daemon):
        assert verify_dump(before, dump_of(written(files, edit), daemon), HANDLER)


@pytest.mark.feature("B10")
def test_2_3_does_not_start_with_a_drop_in_newer_than_the_main_file():
    with pytest.raises(DoesNotStartError):
        dump_of({CONFIG: main_of(2), OURS: b"version = 3\n"}, "2.3.4")


@pytest.mark.feature("A15")
@DAEMONS
@pytest.mark.parametrize("imports", [True, False])
@pytest.mark.parametrize("version", [None, 1, 2, 3])
def test_a_second_time_changes_nothing_and_a_removal_takes_just_the_file(daemon, imports, version):
    files = {CONFIG: main_of(version, imports=imports)}
    edit = valid(files, add(files, daemon), daemon)
    after = written(files, edit)
    drop_in = DropIn(edit.drop_in, edit.content) if edit.drop_in else None

    (again,) = add(after, daemon, drop_in=drop_in)

    assert not again.changes
    assert edit.current == remove_handler(edit.content, edit.current, HANDLER)
    assert [] == verify_removal(dump_of(after, daemon), dump_of(files, daemon), HANDLER)


@pytest.mark.feature("B13")
@DAEMONS
def test_our_own_stale_drop_in_is_written_anew_in_its_place(daemon):
    files = {CONFIG: main_of(3)}
    stale = add(files, daemon, Handler("runsc", "/old/shim", "/old/runsc.toml"))[0].content
    files[OURS] = stale

    edit = valid(files, add(files, daemon, drop_in=DropIn(OURS, stale)), daemon)

    assert (OURS, stale) == (edit.drop_in, edit.current)
    assert b"/old/" not in edit.content
    assert remove_handler(edit.content, None, HANDLER) is None


@pytest.mark.feature("B13")
def test_a_main_file_migrated_under_our_drop_in_gets_one_of_its_new_version():
    """`containerd config migrate` rewrote the main file; 2.0 to 2.2 ignore a version 2 drop-in under it."""
    old = add({CONFIG: main_of(2)}, "2.2.9")[0].content
    files = {CONFIG: main_of(3), OURS: old}

    edit = valid(files, add(files, "2.2.9", drop_in=DropIn(OURS, old)), "2.2.9")

    assert (OURS, 3) == (edit.drop_in, tomllib.loads(edit.content.decode())["version"])


def test_a_drop_in_that_the_main_file_no_longer_imports_gives_way_to_another_place():
    content = add({CONFIG: main_of(3)})[0].content
    files = {CONFIG: main_of(3, imports=False), OURS: content}

    edit = valid(files, add(files, drop_in=DropIn(OURS, content)), "2.4.2")

    assert edit.drop_in is None
    assert edit.changes


@pytest.mark.feature("B21")
def test_what_others_wrote_into_our_drop_in_stays_at_a_removal():
    content = add({CONFIG: main_of(3)})[0].content
    rest = remove_handler(content + b"[metrics]\naddress = 'x'\n", None, HANDLER)

    assert {"version": 3, "metrics": {"address": "x"}} == tomllib.loads(rest.decode())


@DAEMONS
def test_an_installation_of_1_7_is_served_on_and_goes_to_the_byte_after_the_upgrade(daemon):
    main = b"version = 2\n" + IMPORTS.encode()
    on_1_7 = add_handler(main, dump_of_1x(main), HANDLER, "1.7.24")[0].content
    assert b"runtimes.runc" in on_1_7
    files = {CONFIG: on_1_7}

    (edit,) = add(files, daemon)

    assert not edit.changes
    assert main == remove_handler(on_1_7, main, HANDLER)
    assert [] == [
        line
        for line in verify_removal(dump_of(files, daemon), dump_of({CONFIG: main}, daemon), HANDLER)
        if "runtimes.runc" not in line
    ]


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("daemon", ["1.6.20~ds1", "1.7.24"])
def test_a_version_3_file_after_a_downgrade_to_1_x_is_said_and_left(version, daemon):
    for refuse in (lambda main: check_main(main, daemon), lambda main: add_handler(main, "", HANDLER, daemon)):
        with pytest.raises(RefusedError, match=f"version {version}, which containerd 1.[67] does not know") as caught:
            refuse(f"version = {version}\n".encode())
        assert "version 2" in caught.value.remedy


def test_version_4_after_a_downgrade_to_2_2_is_said_and_left():
    with pytest.raises(RefusedError, match=r"version 4, which containerd 2\.2 does not know"):
        check_main(b"version = 4\n", "2.2.9")
    check_main(b"version = 4\n", "2.3.0")


def test_our_drop_in_after_a_downgrade_to_1_x_is_said_with_the_way_out():
    content = add({CONFIG: main_of(2)})[0].content
    cri = tomllib.loads(content.decode())["plugins"][V2]

    with pytest.raises(RefusedError, match="was downgraded") as caught:
        add_handler(
            main_of(2),
            dump_of_1x(main_of(2), imported=(OURS,), cri=cri),
            HANDLER,
            "1.7.24",
            drop_in=DropIn(OURS, content),
        )
    assert OURS in caught.value.remedy


@DAEMONS
@pytest.mark.parametrize(
    ("version", "name"), [(1, "cri"), (2, V2), (2, V3), (3, V3), (3, "io.containerd.cri.v1.images"), (3, V2)]
)
def test_a_disabled_cri_plugin_is_refused_by_every_name_it_has(daemon, version, name):
    main = f"version = {version}\ndisabled_plugins = ['{name}']\n".encode()

    with pytest.raises(RefusedError, match="CRI plugin is disabled"):
        add({CONFIG: main}, daemon)


@DAEMONS
def test_a_default_handler_that_does_not_exist_is_refused(daemon):
    main = f"version = 3\n[plugins.'{V3}'.containerd]\ndefault_runtime_name = 'nope'\n".encode()

    with pytest.raises(RefusedError, match="cannot load"):
        add({CONFIG: main}, daemon)


def test_somebody_elses_handler_in_an_imported_file_is_refused():
    theirs = f"version = 3\n[plugins.'{V3}'.containerd.runtimes.runsc]\nruntime_type = 'io.containerd.runsc.v1'\n"

    with pytest.raises(RefusedError, match="is in force, but the main file does not name it"):
        add({CONFIG: main_of(3), f"{DIRECTORY}/gv.toml": theirs.encode()})


def test_a_drop_in_that_nobody_can_read_is_not_taken_for_ours():
    for content in (b"broken = [", b"version = 3\n", None):
        edits = add({CONFIG: main_of(3)}, drop_in=DropIn(OURS, content))
        assert edits[0].changes


@pytest.mark.feature("B3")
@pytest.mark.parametrize("name", [V2, V3])
@pytest.mark.parametrize("version", [2, 3])
def test_tables_of_another_versions_name_are_followed_where_2_3_goes_by_them(version, name):
    table = f"[plugins.'{name}'.containerd.runtimes.runc]\nruntime_type = 'r'\n"
    files = {CONFIG: f"version = {version}\n{table}".encode()}

    added = [edit.added[-1] for edit in add(files)]

    assert any(name in path for path in added)
