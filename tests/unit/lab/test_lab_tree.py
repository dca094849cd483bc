import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.lab import snapshot
from orchestrator.lab.tree import WRITTEN_BY_OTHERS, Entry, difference, parse


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "root"
    (root / "etc/deep").mkdir(parents=True)
    (root / "etc/deep/file").write_bytes(b"\0\xff")
    (root / "etc/link").symlink_to("deep/file")
    (root / "etc/dangling").symlink_to("/nowhere")
    (root / "proc").mkdir()
    (root / "proc/kcore").write_text("large")
    os.mkfifo(root / "etc/fifo")
    return root


def take(root, *excluded):
    argv = [sys.executable, "-I", snapshot.__file__, f"{root}-seen", str(root), *map(str, excluded)]
    tree = parse(subprocess.run(argv, capture_output=True, text=True, check=True).stdout)
    return {path.removeprefix(str(root)): entry for path, entry in tree.items()}


def test_a_snapshot_has_every_path_with_its_own_attributes_and_follows_no_link(root):
    (root / "etc/deep/file").chmod(0o4755)

    tree = take(root, root / "proc")

    assert sorted(tree) == ["/etc", "/etc/dangling", "/etc/deep", "/etc/deep/file", "/etc/fifo", "/etc/link"]
    assert (tree["/etc/deep/file"].kind, tree["/etc/deep/file"].mode) == ("file", 0o4755)
    assert (tree["/etc/link"].kind, tree["/etc/link"].content) == ("link", "deep/file")
    assert (tree["/etc/deep"].kind, tree["/etc/deep"].content) == ("directory", "")
    assert tree["/etc/fifo"].kind == "other"


def test_a_file_that_was_replaced_by_the_same_is_no_difference(root):
    before = take(root)
    file = root / "etc/deep/file"
    content, mode = file.read_bytes(), file.stat().st_mode
    file.unlink()
    file.write_bytes(content)
    file.chmod(mode)

    assert difference(before, take(root)) == []


@pytest.fixture
def remembered(root, monkeypatch):
    """A memory of what a file held, of a file that did not change lately."""
    monkeypatch.setattr(snapshot, "SETTLED_NS", -1_000_000_000)
    memory = snapshot.Memory(f"{root}-seen")
    digest = memory.content(str(root / "etc/deep/file"), (root / "etc/deep/file").lstat())
    memory.keep()
    return digest, snapshot.Memory(f"{root}-seen")


def test_what_did_not_change_is_not_read_again(root, remembered, monkeypatch):
    monkeypatch.setattr(snapshot, "sha256", lambda path: pytest.fail(f"{path} was read"))

    digest, memory = remembered

    assert digest == memory.content(str(root / "etc/deep/file"), (root / "etc/deep/file").lstat())


def test_a_change_is_seen_although_size_and_time_were_put_back(root, remembered):
    digest, memory = remembered
    file = root / "etc/deep/file"
    before = file.stat()
    while file.stat().st_ctime_ns == before.st_ctime_ns:  # older kernels have a clock for files of some milliseconds
        file.write_bytes(b"\1\xff")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert (before.st_size, before.st_mtime_ns) == (file.stat().st_size, file.stat().st_mtime_ns)
    assert digest != memory.content(str(file), file.lstat())


def test_what_changed_just_now_is_read_the_next_time_too(root):
    file = root / "etc/deep/file"
    os.utime(file)
    memory = snapshot.Memory(f"{root}-seen")

    memory.content(str(file), file.lstat())

    assert {} == memory.seen


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda root: (root / "etc/new").touch(), "/etc/new: came (file)"),
        (lambda root: (root / "etc/link").unlink(), "/etc/link: went (link)"),
        (lambda root: (root / "etc/deep/file").chmod(0o600), "/etc/deep/file: mode was 0644, is 0600"),
        (lambda root: os.chown(root / "etc/deep", 7, 8), "/etc/deep: owner was 0:0, is 7:8"),
    ],
)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_what_came_went_or_changed_is_a_line(root, change, line):
    (root / "etc/deep/file").chmod(0o644)
    os.chown(root / "etc/deep", 0, 0)
    before = take(root)

    change(root)

    assert [line] == difference(before, take(root))


def test_changed_content_and_links_turned_into_files_are_told():
    old = {"/a": Entry("link", 0o777, 0, 0, "b"), "/b": Entry("file", 0o644, 0, 0, "1" * 64)}
    new = {"/a": replace(old["/a"], kind="file"), "/b": replace(old["/b"], content="2" * 64)}

    assert [
        "/a: was link, is file",
        f"/b: content was {'1' * 16}, is {'2' * 16}",
    ] == difference(old, new)


def test_what_others_write_does_not_count_and_what_only_looks_like_it_does():
    written = {
        "/var/log/journal": Entry("directory", 0o755, 0, 0, ""),
        "/var/log/journal/x": Entry("file", 0o644, 0, 0, ""),
    }
    similar = {"/var/log/journals": Entry("file", 0o644, 0, 0, "")}

    assert difference({}, {**written, **similar}) == ["/var/log/journals: came (file)"]


def test_the_list_of_what_others_write_stays_short_and_gives_reasons():
    assert len(WRITTEN_BY_OTHERS) <= 6
    assert all(Path(path).is_absolute() and reason for path, reason in WRITTEN_BY_OTHERS.items())
