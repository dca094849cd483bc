"""Files that several processes write: locks, atomic replacement, remembered digests."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from release_world import snapshot

from orchestrator.errors import GvisorNodesError
from orchestrator.gvisor import selfreport, storage
from orchestrator.gvisor.storage import Digests, locked, write_atomically


def test_a_lock_that_is_held_too_long_is_an_error_that_names_it(tmp_path):
    told = []
    with (
        locked(tmp_path / "lock", 1, lambda: None),
        pytest.raises(GvisorNodesError) as caught,
        locked(tmp_path / "lock", 0.2, lambda: told.append("waiting")),
    ):
        pass

    assert told == ["waiting"]
    assert str(tmp_path / "lock") in caught.value.why
    assert "fuser" in caught.value.remedy


def test_a_released_lock_can_be_taken_again(tmp_path):
    for _ in range(2):
        with locked(tmp_path / "locks" / "lock", 0, lambda: None):
            pass


def test_a_write_that_fails_leaves_the_old_file_and_no_temporary_one(tmp_path):
    (tmp_path / "file").mkdir()
    before = snapshot(tmp_path)

    with pytest.raises(OSError, match="directory"):
        write_atomically(tmp_path / "file", b"new")

    assert before == snapshot(tmp_path)


def test_a_digest_is_remembered_and_computed_anew_when_the_file_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "_YOUNG_NANOSECONDS", -1)
    digests = Digests(tmp_path / "digests")
    file = tmp_path / "file"
    file.write_bytes(b"one")
    assert hashlib.sha512(b"one").hexdigest() == digests.digest(file)

    assert len(list((tmp_path / "digests").iterdir())) == 1

    file.write_bytes(b"two")
    os.utime(file, ns=(0, 0))

    assert hashlib.sha512(b"two").hexdigest() == digests.digest(file)


def test_a_remembered_digest_that_is_damaged_is_ignored(tmp_path):
    digests = Digests(tmp_path / "digests")
    old = Path("/bin/sh")  # not so young that it is not remembered
    digests.digest(old)
    assert len(list((tmp_path / "digests").iterdir())) == 1
    for note in (tmp_path / "digests").iterdir():
        note.write_text("{")

    assert len(digests.digest(old)) == 128


def test_digests_work_where_nothing_can_be_remembered(tmp_path):
    (tmp_path / "digests").write_text("a file")
    (tmp_path / "file").write_bytes(b"one")

    assert hashlib.sha512(b"one").hexdigest() == Digests(tmp_path / "digests").digest(tmp_path / "file")


def test_a_binary_that_does_not_answer_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr(selfreport, "_TIMEOUT", 0.2)
    (tmp_path / "runsc").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "runsc").chmod(0o755)

    with pytest.raises(selfreport.NoAnswerError, match="did not answer"):
        selfreport.runsc_version(tmp_path / "runsc")


def test_a_binary_that_cannot_be_executed_is_said_to_be_so(tmp_path):
    (tmp_path / "runsc").write_bytes(b"\x7fELF")
    with pytest.raises(selfreport.NoAnswerError, match="noexec"):
        selfreport.runsc_version(tmp_path / "runsc")

    (tmp_path / "runsc").chmod(0o755)
    with pytest.raises(selfreport.NoAnswerError, match="cannot be executed"):
        selfreport.runsc_version(tmp_path / "runsc")


def test_an_empty_file_has_no_labels(tmp_path):
    (tmp_path / "file").touch()

    assert selfreport.labels(tmp_path / "file") == ()
