"""Taking the handler out again: the old bytes where nobody else wrote, only our part where somebody did."""

from __future__ import annotations

import tomllib

import pytest
import tomlrt
from containerd_model import CRI, DAEMON, HANDLER, dump_of

from orchestrator.errors import RefusedError
from orchestrator.planning.containerd_config import Handler, add_handler, remove_handler, verify_dump, verify_removal

DEBIAN = b"""version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "x"
"""
RUNC = b"""version = 2
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""
FILES = pytest.mark.parametrize(
    "main", [None, b"", DEBIAN, RUNC, DEBIAN.rstrip(), b"root = '/x'\n", b"[plugins.cri]\n"]
)
ABOVE, BELOW = b"# above\n[debug]\nlevel = 'info'\n", b"[metrics]\naddress = 'x'\n"


def add(main, handler=HANDLER):
    return add_handler(main, dump_of(main), handler, DAEMON)[0].content


def values(content):
    return tomllib.loads(content.decode())


def runtimes(content):
    return values(content)["plugins"][CRI]["containerd"]["runtimes"]


@pytest.mark.feature("H2")
@FILES
def test_the_old_bytes_come_back_with_and_without_the_backup(main):
    changed = add(main)

    assert remove_handler(changed, main, HANDLER) == main
    assert remove_handler(changed, None, HANDLER) == (main or None)


@pytest.mark.feature("H6")
@FILES
def test_ten_rounds_leave_no_trace(main):
    content = main
    for _ in range(10):
        content = remove_handler(add(content), content, HANDLER)

    assert content == main


@FILES
@pytest.mark.parametrize("original_known", [True, False])
def test_what_others_wrote_in_between_stays(main, original_known):
    changed = add(main) + BELOW

    rest = remove_handler(changed, main if original_known else None, HANDLER)

    assert rest.endswith(BELOW)
    assert values(rest) == {**values(main or b"version = 2\n"), "metrics": {"address": "x"}}
    assert verify_removal(dump_of(changed), dump_of(rest), HANDLER) == []


def test_what_others_changed_above_stays_to_the_byte():
    changed = add(DEBIAN).replace(b'sandbox_image = "x"', b"sandbox_image = 'y' # theirs")

    assert remove_handler(changed, DEBIAN, HANDLER) == DEBIAN.replace(
        b'sandbox_image = "x"', b"sandbox_image = 'y' # theirs"
    )


def test_an_edited_preserved_handler_stays_with_its_edit():
    changed = add(DEBIAN).replace(b"SystemdCgroup = false", b"SystemdCgroup = true")

    rest = remove_handler(changed, DEBIAN, HANDLER)

    assert runtimes(rest).keys() == {"runc"}
    assert runtimes(rest)["runc"]["options"]["SystemdCgroup"] is True
    assert b"gvisor-nodes" not in rest
    assert verify_removal(dump_of(changed), dump_of(rest), HANDLER) == []


@pytest.mark.parametrize("main", [None, DEBIAN])
def test_a_preserved_handler_stays_where_others_have_named_handlers_since(main):
    changed = add(main) + f'[plugins."{CRI}".containerd.runtimes.kata]\nruntime_type = "k"\n'.encode()

    rest = remove_handler(changed, main, HANDLER)

    assert runtimes(rest).keys() == {"runc", "kata"}
    assert verify_removal(dump_of(changed), dump_of(rest), HANDLER) == []


def test_two_handlers_of_ours_come_and_go_in_any_order():
    other = Handler("runsc-kvm", "/opt/gvisor-nodes/containerd-shim-runsc-v1", "/opt/gvisor-nodes/kvm.toml")
    both = add(add(DEBIAN), other)

    assert runtimes(both).keys() == {"runc", "runsc", "runsc-kvm"}
    assert remove_handler(remove_handler(both, None, other), DEBIAN, HANDLER) == DEBIAN
    crossed = remove_handler(both, DEBIAN, HANDLER)
    assert runtimes(crossed).keys() == {"runc", "runsc-kvm"}
    assert verify_removal(dump_of(both), dump_of(crossed), HANDLER) == []


@pytest.mark.parametrize("main", [None, DEBIAN, RUNC, b"root = '/x'\n"])
@pytest.mark.parametrize("original_known", [True, False])
def test_a_file_written_anew_by_a_tool_that_drops_comments_loses_only_our_table(main, original_known):
    anew = tomlrt.dumps(tomllib.loads(add(main).decode())).encode()
    assert b"#" not in anew

    rest = remove_handler(anew, main if original_known else None, HANDLER)

    assert b"runsc" not in rest
    assert verify_removal(dump_of(anew), dump_of(rest), HANDLER) == []


def test_without_any_handler_left_the_empty_table_goes_too():
    anew = b'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes]\n' + add(RUNC)[len(RUNC) :].replace(
        b"# >>>", b"# lost"
    )

    rest = remove_handler(anew, None, HANDLER)

    assert "runtimes" not in values(rest).get("plugins", {}).get(CRI, {}).get("containerd", {})


def test_leftover_marks_go_with_the_table():
    changed = add(RUNC)
    torn = changed.replace(b"# <<< gvisor-nodes runsc\n", b"")

    assert remove_handler(torn, None, HANDLER) == RUNC


@pytest.mark.parametrize("main", [DEBIAN, RUNC, b"version = 2\n", b"root = '/x'\n"])
def test_a_file_without_our_handler_is_left(main):
    assert remove_handler(main, main, HANDLER) == main
    assert remove_handler(main, None, HANDLER) == main
    assert remove_handler(main, b"broken = [", HANDLER) == main


def test_somebody_elses_handler_of_the_name_is_left():
    theirs = RUNC + f'[plugins."{CRI}".containerd.runtimes.runsc]\nruntime_type = "theirs"\n'.encode()

    assert remove_handler(theirs, RUNC, HANDLER) == theirs


def test_a_mark_inside_a_string_is_no_mark():
    block = add(RUNC)[len(RUNC) :]
    main = b"version = 2\nx = '''\n" + block + b"'''\n"

    assert remove_handler(main, None, HANDLER) == main
    assert remove_handler(add(main), main, HANDLER) == main


def test_tables_of_others_between_our_marks_stay():
    changed = add(RUNC).replace(b"# <<< gvisor", b"[metrics]\naddress = 'x'\n# <<< gvisor")

    rest = remove_handler(changed, RUNC, HANDLER)

    assert values(rest) == {**values(RUNC), "metrics": {"address": "x"}}


def test_a_stray_key_behind_our_table_is_refused_by_its_name():
    changed = add(RUNC) + b"oom_score = -999\n"

    with pytest.raises(RefusedError) as caught:
        remove_handler(changed, RUNC, HANDLER)
    assert "oom_score" in caught.value.why
    assert "move oom_score" in caught.value.remedy


def test_a_broken_file_is_refused():
    with pytest.raises(RefusedError, match="not valid TOML"):
        remove_handler(add(RUNC) + b"[", RUNC, HANDLER)


@pytest.mark.feature("B17")
@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ("SystemdCgroup = false", "SystemdCgroup = true", "SystemdCgroup: False becomes True"),
        ("IoGid = 0", "IoGid = false", "IoGid: 0 becomes False"),
        ('sandbox_image = "x"', 'sandbox_image = "y"', "sandbox_image: 'x' becomes 'y'"),
        ("NoNewKeyring = false\n", "", "NoNewKeyring: False vanishes"),
        ("IoGid = 0\n", "IoGid = 0\nNew = 1\n", "New: appears as 1"),
        ('"/opt/containerd"', '"/elsewhere"', "path: '/opt/containerd' becomes '/elsewhere'"),
    ],
)
def test_any_other_difference_of_two_dumps_is_named_with_its_values(old, new, difference):
    before, after = dump_of(DEBIAN), dump_of(add(DEBIAN))
    assert old in after

    (found,) = verify_dump(before, after.replace(old, new), HANDLER)

    assert found.endswith(difference)
    assert found.startswith("plugins.")


@pytest.mark.feature("B18")
def test_a_handler_that_is_not_in_the_dump_is_the_first_difference():
    before = dump_of(DEBIAN)

    assert verify_dump(before, before, HANDLER)[0].startswith(f'plugins."{CRI}".containerd.runtimes.runsc is missing')
    imported = dump_of(DEBIAN, imported=("/etc/x.toml",))
    assert "/etc/x.toml may replace the CRI table" in verify_dump(imported, imported, HANDLER)[0]


@pytest.mark.feature("B18")
def test_a_handler_with_other_values_or_more_is_a_difference():
    before, after = dump_of(DEBIAN), dump_of(add(DEBIAN))
    other = Handler("runsc", HANDLER.runtime_type, "/other.toml")

    (found,) = verify_dump(before, after, other)
    assert "options" in found
    assert "/other.toml" in found
    more = after.replace('runtime_type = "/opt/gvisor', 'snapshotter = "mine"\nruntime_type = "/opt/gvisor')
    assert verify_dump(before, more, HANDLER) == [
        f"plugins.\"{CRI}\".containerd.runtimes.runsc.snapshotter: 'mine', which is not from us"
    ]
    assert verify_dump(more, more, HANDLER) == []


@pytest.mark.feature("B17")
def test_a_vanished_default_handler_is_seen():
    before = dump_of(DEBIAN)
    alone = (
        DEBIAN
        + f"""[plugins."{CRI}".containerd.runtimes.runsc]
runtime_type = "{HANDLER.runtime_type}"
options = {{TypeUrl = "io.containerd.runsc.v1.options", ConfigPath = "{HANDLER.config_path}"}}
""".encode()
    )

    differences = verify_dump(before, dump_of(alone), HANDLER)

    assert any("runtimes.runc.runtime_type: 'io.containerd.runc.v2' vanishes" in line for line in differences)


def test_the_main_files_own_path_is_no_difference_but_an_import_is():
    before, after = dump_of(DEBIAN), dump_of(add(DEBIAN))

    assert verify_dump(before, after.replace("/etc/containerd/config.toml", "/etc/containerd/.staged"), HANDLER) == []
    assert verify_dump(dump_of(None), dump_of(add(None)), HANDLER) == []
    (found,) = verify_dump(before, dump_of(add(DEBIAN), imported=("/x",)), HANDLER)
    assert found == "imports: [] becomes ['/x']"
    (found,) = verify_dump(dump_of(DEBIAN, imported=("/x",)), after, HANDLER)
    assert found == "imports: ['/x'] becomes []"


def test_the_order_in_which_containerd_lists_its_files_is_no_difference():
    before = dump_of(DEBIAN, imported=("/a", "/b"))
    after = dump_of(add(DEBIAN), imported=("/b", "/a"))
    listed = '["/etc/containerd/config.toml", "/b", "/a"]'
    assert listed in after

    for files in ('["/b", "/etc/containerd/config.toml", "/a"]', '["/a", "/b", "/etc/containerd/.staged"]'):
        assert verify_dump(before, after.replace(listed, files), HANDLER) == []


def test_a_handler_that_stays_is_the_first_difference_of_a_removal():
    after = dump_of(add(DEBIAN))

    assert "is still there" in verify_removal(after, after, HANDLER)[0]
