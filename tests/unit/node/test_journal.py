"""The journal: announced before made, reversible to the byte, going on after a kill at any point."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path

import killed_process
import pytest
from ansible.module_utils.gvisor_journal import Journal, Lease, NodeError, describe, remove_tree, write_file

STATE = "/var/lib/gvisor-nodes"


def tree(root):
    found = {}
    for folder, directories, files in os.walk(root.path):
        for name in [*directories, *files]:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, root.path)] = describe(path)
    return {path: what for path, what in found.items() if not path.startswith("run")}


def file(path, text="x", mode="0644"):
    return {"path": path, "kind": "file", "mode": mode, "content": base64.b64encode(text.encode()).decode()}


WANTED = [
    {"path": "/opt/gvisor-nodes/generations/1", "kind": "directory", "mode": "0755"},
    {"path": "/opt/gvisor-nodes/generations/1/release", "kind": "link", "target": "../../releases/20260905.0"},
    file("/opt/gvisor-nodes/generations/1/flags", "--debug=true\n"),
    file("/opt/gvisor-nodes/runsc", "#!/bin/sh\n", "0755"),
    file("/opt/gvisor-nodes/current", "1\n"),
    {"path": "/var/log/runsc", "kind": "directory", "mode": "0750", "tree": True},
]


def test_what_was_made_is_taken_back_and_the_tree_is_as_before(root):
    before = tree(root)
    journal = Journal(root, STATE)
    made = [journal.put(wanted) for wanted in WANTED]
    Path(root.real("/var/log/runsc/abc")).mkdir()
    Path(root.real("/var/log/runsc/abc/boot-gvisor.log")).write_text("log")

    assert all(made)
    assert "0750" == describe(root.real("/var/log/runsc"))["mode"]

    again = Journal(root, STATE)

    assert [] == again.take_back()
    again.erase()

    assert before == tree(root)


def test_putting_the_same_again_changes_nothing(root):
    journal = Journal(root, STATE)
    for wanted in WANTED:
        journal.put(wanted)
    before = tree(root)

    assert [False] * len(WANTED) == [Journal(root, STATE).put(wanted) for wanted in WANTED]
    assert before == tree(root)


def test_a_file_that_was_there_before_us_is_never_written_over(root):
    Path(root.real("/opt/gvisor-nodes")).mkdir()
    Path(root.real("/opt/gvisor-nodes/runsc")).write_text("somebody's")

    with pytest.raises(NodeError) as raised:
        Journal(root, STATE).put(file("/opt/gvisor-nodes/runsc", "ours", "0755"))

    assert "was not made by gvisor-nodes" in str(raised.value)
    assert "move it away" in raised.value.answer["remedy"]
    assert "somebody's" == Path(root.real("/opt/gvisor-nodes/runsc")).read_text()


def test_a_directory_with_foreign_files_stays_and_is_named(root):
    journal = Journal(root, STATE)
    for wanted in WANTED[:3]:
        journal.put(wanted)
    Path(root.real("/opt/gvisor-nodes/notes.txt")).write_text("mine")

    assert ["/opt/gvisor-nodes"] == journal.take_back()
    assert ["notes.txt"] == os.listdir(root.real("/opt/gvisor-nodes"))


def test_a_directory_that_was_there_keeps_what_is_in_it_and_its_mode(root):
    Path(root.real("/var/log/runsc")).mkdir(mode=0o700)
    Path(root.real("/var/log/runsc/old.log")).write_text("old")
    before = tree(root)
    journal = Journal(root, STATE)

    assert not journal.put(WANTED[5])
    journal.put(file("/opt/gvisor-nodes/current", "1\n"))
    journal.take_back()
    journal.erase()

    assert before == tree(root)


def test_a_file_changed_since_it_was_read_is_not_overwritten(root):
    path = root.real("/etc/containerd/config.toml")
    Path(path).write_text("theirs")

    with pytest.raises(NodeError, match="was changed by somebody else"):
        write_file(path, b"ours", expect="0" * 64)

    assert "theirs" == Path(path).read_text()
    assert ["config.toml"] == os.listdir(root.real("/etc/containerd"))


def test_a_link_is_followed_inside_the_root_only(root):
    os.symlink("/etc/real/config.toml", root.real("/etc/containerd/config.toml"))

    assert "/etc/real/config.toml" == root.resolve("/etc/containerd/config.toml")

    os.symlink("loop", root.real("/etc/loop"))

    with pytest.raises(NodeError, match="cannot follow"):
        root.resolve("/etc/loop")


def test_a_garbled_journal_is_a_refusal_with_a_remedy(root):
    Path(root.real(STATE)).mkdir()
    Path(
        root.real(
            STATE,
        )
        + "/journal.json"
    ).write_text("{")

    with pytest.raises(NodeError, match="cannot read the journal") as raised:
        Journal(root, STATE)

    assert raised.value.answer["refused"]


def test_a_journal_of_another_schema_is_a_refusal(root):
    Path(root.real(STATE)).mkdir()
    Path(root.real(STATE) + "/journal.json").write_text(json.dumps({"schema": 99}))

    with pytest.raises(NodeError, match="schema 99"):
        Journal(root, STATE)


def test_a_tree_is_removed_by_a_rename_first_and_a_half_removed_one_is_finished(tmp_path):
    whole = tmp_path / "release"
    whole.mkdir()
    (whole / "runsc").write_text("x")
    remove_tree(str(whole))

    assert [] == list(tmp_path.iterdir())

    (tmp_path / "release.removed").mkdir()
    remove_tree(str(whole))

    assert [] == list(tmp_path.iterdir())

    with pytest.raises(FileNotFoundError):
        remove_tree(str(whole))


KILLED = """
journal = Journal(root, "/var/lib/gvisor-nodes")
if verb == "put":
    for wanted in given:
        journal.put(wanted)
else:
    journal.take_back()
    journal.erase()
"""


@pytest.fixture
def run_killed_at():
    with killed_process.prepared(KILLED) as run:
        yield run


@pytest.mark.feature("H5")
@pytest.mark.parametrize("then", ["put", "take"])
def test_a_process_killed_at_any_step_of_making_leaves_what_the_next_can_go_on_from(root, run_killed_at, then):
    before = tree(root)
    step = 0
    while True:
        ended = run_killed_at(root, step, "put", WANTED)
        if ended == 0:
            break
        assert -9 == ended, step
        journal = Journal(root, STATE)
        if then == "put":
            for wanted in WANTED:
                journal.put(wanted)
            assert "--debug=true\n" == Path(root.real("/opt/gvisor-nodes/generations/1/flags")).read_text()
        journal.take_back()
        journal.erase()
        assert before == tree(root), f"after a kill at step {step}"
        step += 1

    assert step > 15


@pytest.mark.feature("H5")
def test_a_process_killed_at_any_step_of_taking_back_is_finished_by_the_next(root, run_killed_at):
    before = tree(root)
    step = 0
    while True:
        journal = Journal(root, STATE)
        for wanted in WANTED:
            journal.put(wanted)
        ended = run_killed_at(root, step, "take")
        if ended == 0:
            break
        assert -9 == ended, step
        journal = Journal(root, STATE)
        journal.take_back()
        journal.erase()
        assert before == tree(root), f"after a kill at step {step}"
        step += 1

    assert step > 15


def test_the_lease_is_held_by_one_run_renewed_by_it_and_given_back(root):
    first, second = Lease(root, "a"), Lease(root, "b")
    first.acquire("one@host", timeout=0)

    with pytest.raises(NodeError, match="another run holds this node") as raised:
        second.acquire("two@host", timeout=0)

    assert "one@host" in raised.value.answer["why"]
    assert raised.value.answer["refused"]
    with pytest.raises(NodeError, match="no longer holds"):
        second.renew()

    first.renew()
    first.release()
    second.acquire("two@host", timeout=0)

    with pytest.raises(NodeError) as raised:
        first.renew()

    assert "now two@host does" == raised.value.answer["why"]


def test_the_lease_of_a_dead_run_is_taken_over_when_its_time_is_up(root):
    Lease(root, "dead", ttl=0.2).acquire("dead@host", timeout=0)

    assert Lease(root, "next").acquire("next@host", timeout=5) < 5


def test_a_lease_ends_with_the_process_that_holds_it_where_that_is_on_the_node(root):
    alive = subprocess.Popen(["sleep", "60"])
    Lease(root, "job").acquire("job@host", timeout=0, process=alive.pid)
    with pytest.raises(NodeError, match="another run holds"):
        Lease(root, "next").acquire("next@host", timeout=0)
    Lease(root, "job").renew()
    alive.kill()
    alive.wait()

    assert Lease(root, "next").acquire("next@host", timeout=0) < 1


def test_another_process_with_the_number_of_the_one_that_held_the_lease_does_not_hold_it(root):
    Lease(root, "job").acquire("job@host", timeout=0, process=os.getpid())
    path = Path(root.real("/run/gvisor-nodes/lease.json"))
    lease = json.loads(path.read_text())
    path.write_text(json.dumps({**lease, "process": [os.getpid(), lease["process"][1] - 1]}))

    assert Lease(root, "next").acquire("next@host", timeout=0) < 1
