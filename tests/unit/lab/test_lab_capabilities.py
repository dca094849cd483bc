import pytest

from orchestrator.errors import RefusedError
from orchestrator.lab.capabilities import probe, require_inotify


def machine(root, effective, *, unified=False, filesystems="nodev\toverlay\n\text4\n"):
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/status").write_text(f"Name:\tx\nCapInh:\t0\nCapEff:\t{effective:016x}\n")
    (root / "proc/filesystems").write_text(filesystems)
    (root / "sys/fs/cgroup").mkdir(parents=True)
    if unified:
        (root / "sys/fs/cgroup/cgroup.controllers").write_text("cpu\n")
    return root


@pytest.mark.parametrize(
    ("effective", "lowers", "privileged"),
    [(0x1FFFFFFFFFF, True, True), (0x1FFFEFFFFFF, False, True), (0x00000000A80425FB, False, False), (0, False, False)],
)
def test_the_kernel_is_asked_for_the_bit_and_nothing_is_assumed(tmp_path, effective, lowers, privileged):
    found = probe(machine(tmp_path, effective))

    assert (lowers, privileged) == (found.lowers_oom_score, found.runs_privileged)


def test_only_the_unified_hierarchy_is_cgroup_2(tmp_path):
    assert probe(machine(tmp_path / "a", 0)).cgroup_version == 1
    assert probe(machine(tmp_path / "b", 0, unified=True)).cgroup_version == 2


def test_overlay_is_what_the_kernel_lists(tmp_path):
    assert probe(machine(tmp_path / "a", 0)).overlay
    assert not probe(machine(tmp_path / "b", 0, filesystems="\text4\n")).overlay


def test_nodes_that_would_leave_a_containerd_without_cri_are_refused(tmp_path):
    (tmp_path / "proc/sys/fs/inotify").mkdir(parents=True)
    limit = tmp_path / "proc/sys/fs/inotify/max_user_instances"
    for process, instances in (("1", 3), ("77", 2)):
        (tmp_path / "proc" / process / "fd").mkdir(parents=True)
        for number in range(instances):
            (tmp_path / "proc" / process / "fd" / str(number)).symlink_to("anon_inode:inotify")
        (tmp_path / "proc" / process / "fd/99").symlink_to("socket:[1]")

    limit.write_text("21\n")
    require_inotify(2, tmp_path)
    require_inotify(0, tmp_path)
    limit.write_text("20\n")
    require_inotify(1, tmp_path)
    require_inotify(0, tmp_path)
    with pytest.raises(RefusedError):
        require_inotify(1, tmp_path, each=16)
    with pytest.raises(RefusedError) as caught:
        require_inotify(2, tmp_path)

    assert "15 of 20 are left" in caught.value.why
    assert "fs.inotify.max_user_instances=" in caught.value.remedy
    limit.unlink()
    require_inotify(2, tmp_path)
