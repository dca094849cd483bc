"""Packing debug logs: what is taken, what is left out and why, and that hostile names lead nowhere."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
import time
from pathlib import Path

import gvisor_logs
import pytest
from ansible.module_utils.gvisor_log_archive import containers, pack, select

MIB = 1024 * 1024
SPEC = """I1125 10:22:52.4 1 gofer.go:1] Spec:
{
  "args": ["\\"io.kubernetes.cri.sandbox-name\\": \\"fake\\""],
  "annotations": {
    "io.kubernetes.cri.sandbox-name": "cart",
    "io.kubernetes.cri.sandbox-namespace": "shop"
  }
}
"""


@pytest.fixture
def logs(tmp_path):
    directory = tmp_path / "log"
    directory.mkdir()
    return directory


def add(logs, identity, name="boot-gvisor.log", data=b"x", age=0.0):
    (logs / identity).mkdir(exist_ok=True)
    file = logs / identity / name
    file.write_bytes(data)
    os.utime(file, (time.time() - age, time.time() - age))
    return file


def packed(logs, tmp_path, limit=100 * MIB, **wanted):
    path = tmp_path / "archive"
    path.unlink(missing_ok=True)
    pack(str(path), str(logs), select(containers(str(logs), set(), []), **wanted), limit, {"host": "h"})
    with tarfile.open(path) as archive:
        assert all(member.isreg() and member.mode == 0o600 for member in archive)
        members = {member.name: archive.extractfile(member).read() for member in archive}
    return members, json.loads(members.pop("gvisor-logs/manifest.json"))


def test_every_file_is_in_the_manifest_with_the_hash_of_what_was_read(logs, tmp_path):
    add(logs, "a" * 64, data=b"one")
    add(logs, "b" * 64, data=b"two")
    members, manifest = packed(logs, tmp_path)

    assert {b"one", b"two"} == set(members.values())
    for file in manifest["files"]:
        assert hashlib.sha256(members[f"gvisor-logs/{file['path']}"]).hexdigest() == file["sha256"]
    assert [] == manifest["left_out"]
    assert "h" == manifest["host"]


@pytest.mark.feature("F9")
def test_a_pod_is_known_by_its_bundle_else_by_what_runsc_logged_of_it(logs):
    add(logs, "a" * 64)
    add(logs, "b" * 64, name="gofer-gvisor.log", data=SPEC.encode())
    add(logs, "c" * 64, name="gofer-gvisor.log", data=SPEC.replace('"shop"', '"a\\"b"').encode())
    pods = [{"id": "a" * 64, "sandbox": "a" * 64, "namespace": "shop", "name": "web", "generation": "1"}]
    found = containers(str(logs), {"a" * 64}, pods)

    assert [("shop/web", True), ("shop/cart", False), (None, False)] == [(one["pod"], one["running"]) for one in found]
    assert ["b" * 64] == [one["id"] for one in select(found, pod="shop/cart")]
    assert ["c" * 64] == [one["id"] for one in select(found, container="cccccc")]


def test_only_what_changed_since_then_is_taken(logs):
    add(logs, "a" * 64, age=7200)
    add(logs, "a" * 64, name="start-gvisor.log", age=60)
    (one,) = select(containers(str(logs), set(), []), since=time.time() - 3600)

    assert ["start-gvisor.log"] == [file["name"] for file in one["files"]]


def test_newest_first_up_to_the_limit_then_the_end_of_one_then_nothing(logs, tmp_path):
    add(logs, "a" * 64, data=b"n" * MIB, age=1)
    add(logs, "b" * 64, data=b"h" * MIB + b"t" * 2 * MIB, age=2)
    add(logs, "c" * 64, data=b"o" * MIB, age=3)
    members, manifest = packed(logs, tmp_path, limit=3 * MIB)

    assert {b"n" * MIB, b"t" * 2 * MIB} == set(members.values())
    assert ["", "the end of it: the limit is reached"] == [file["note"] for file in manifest["files"]]
    assert [("c" * 64, "the limit is reached")] == [
        (entry["path"].split("/")[0], entry["reason"]) for entry in manifest["left_out"]
    ]


def test_links_pipes_and_odd_names_are_left_out_and_named(logs, tmp_path):
    add(logs, "a" * 64)
    secret = tmp_path / "secret"
    secret.write_text("secret")
    folder = logs / ("a" * 64)
    (folder / "link").symlink_to(secret)
    os.mkfifo(folder / "pipe")
    (folder / "directory").mkdir()
    for odd in ("a b", "-x", ".hidden", "a\nb", "ü"):
        (folder / odd).write_text("odd")
    (folder / os.fsdecode(b"\xff")).write_text("odd")
    (logs / ("b" * 64)).symlink_to(folder)
    for odd in ("a\nb", "-rf", ".."[:1] + "x", "a b"):
        add(logs, odd)
    members, manifest = packed(logs, tmp_path)

    assert [f"gvisor-logs/{'a' * 64}/boot-gvisor.log"] == list(members)
    assert 9 == len(manifest["left_out"])
    assert {"it is not a regular file", "its name is not plain"} == {one["reason"] for one in manifest["left_out"]}
    assert ["a" * 64] == [one["id"] for one in manifest["containers"]]


def test_a_log_that_is_emptied_deleted_or_replaced_meanwhile_does_no_harm(logs, tmp_path):
    shrunk = add(logs, "a" * 64, data=b"x" * 100)
    gone = add(logs, "b" * 64)
    swapped = add(logs, "c" * 64)
    chosen = select(containers(str(logs), set(), []))
    os.truncate(shrunk, 10)
    gone.unlink()
    swapped.unlink()
    swapped.symlink_to("/etc/shadow")
    manifest = pack(str(tmp_path / "archive"), str(logs), chosen, MIB, {})

    (file,) = manifest["files"]
    assert "the last 90 bytes here are zeros" in file["note"]
    assert ["it went meanwhile"] * 2 == [one["reason"] for one in manifest["left_out"]]
    with tarfile.open(tmp_path / "archive") as archive:
        assert b"x" * 10 + bytes(90) == archive.extractfile(archive.getmembers()[0]).read()


def test_the_module_packs_below_run_and_takes_everything_away_again(root, call):
    logs = Path(root.real("/var/log/runsc"))
    logs.mkdir()
    add(logs, "a" * 64, data=b"x" * 1000)
    base = Path(root.real("/run/gvisor-nodes"))
    (base / "logs-dead").mkdir(parents=True)
    (base / "logs-other").mkdir()
    os.utime(base / "logs-dead", (0, 0))
    place = {"debug_logs_directory": "/var/log/runsc", "size": MIB}
    answer = call(gvisor_logs, directory="/opt/gvisor-nodes", state="packed", token="t", **place)

    assert (1, 1, 0) == (answer["containers"], answer["files"], answer["left_out"])
    archive = base / "logs-t" / "logs.tar.gz"
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == answer["sha256"]
    assert 0o600 == archive.stat().st_mode & 0o777
    assert {"logs-t", "logs-other"} == set(os.listdir(base))

    call(gvisor_logs, state="absent", token="t")
    assert ["logs-other"] == os.listdir(base)
    call(gvisor_logs, state="absent", token="other")
    assert not base.exists()


def test_where_nothing_matches_nothing_is_made(root, call):
    place = {"directory": "/opt/gvisor-nodes", "debug_logs_directory": "/var/log/runsc"}
    answer = call(gvisor_logs, state="packed", token="t", size=MIB, **place)

    assert "sha256" not in answer
    assert (0, []) == (answer["known_containers"], answer["known_pods"])
    assert not Path(root.real("/run/gvisor-nodes")).exists()
