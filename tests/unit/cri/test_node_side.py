"""What runs on the node: it says what /proc says."""

import os
import subprocess
import sys
from importlib import resources

import pytest

from orchestrator.cri import node_side


def source():
    return resources.files("orchestrator.cri").joinpath("node_side.py").read_text(encoding="utf-8")


def test_a_process_is_described_by_its_file_and_its_words():
    found = node_side.inspect(os.getpid(), sys.executable)

    assert os.path.realpath(sys.executable) == found["exe"] == found["runsc"]
    assert found["cmdline"][0]
    assert found["kernel"] == os.uname().release
    assert found["cgroup"].startswith("/")


def test_a_process_that_is_gone_has_no_file():
    process = subprocess.Popen(["true"])
    process.wait()

    found = node_side.inspect(process.pid, "")

    assert (found["exe"], found["cmdline"]) == ("", [])


def limits_below(root, texts):
    for path, text in texts.items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    return node_side.limits(7, str(root))


def test_the_limits_of_cgroup_v2_are_the_smallest_on_the_way_up(tmp_path):
    found = limits_below(
        tmp_path,
        {
            "/proc/1/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw",
            "/proc/7/cgroup": "0::/kube/pod1/box",
            "/sys/fs/cgroup/kube/pod1/box/memory.max": "max",
            "/sys/fs/cgroup/kube/pod1/memory.max": "104857600",
            "/sys/fs/cgroup/kube/memory.max": "209715200",
            "/sys/fs/cgroup/kube/pod1/box/cpu.max": "max 100000",
            "/sys/fs/cgroup/kube/pod1/cpu.max": "50000 100000",
        },
    )

    expected = {"cgroup": "/kube/pod1/box", "cgroup_version": 2, "memory_limit": 104857600, "cpu_quota": 0.5}
    assert expected == found


def test_the_limits_of_cgroup_v1_are_found_in_joined_controllers_and_below_a_mount_root(tmp_path):
    mounts = (
        "31 30 0:27 /machine /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
        "32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
        "bad line\n"
    )
    found = limits_below(
        tmp_path,
        {
            "/proc/1/mountinfo": mounts,
            "/proc/7/cgroup": "5:cpu,cpuacct:/pod\n4:memory:/machine/pod\n0::/other",
            "/sys/fs/cgroup/memory/pod/memory.limit_in_bytes": "9223372036854771712",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes": "1000000",
            "/sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_quota_us": "20000",
            "/sys/fs/cgroup/cpu,cpuacct/pod/cpu.cfs_period_us": "100000",
            "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1",
            "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
        },
    )

    expected = {"cgroup": "/machine/pod", "cgroup_version": 1, "memory_limit": 1000000, "cpu_quota": 0.2}
    assert expected == found


def test_a_cgroup_outside_of_what_is_mounted_has_no_known_limits(tmp_path):
    found = limits_below(
        tmp_path,
        {
            "/proc/1/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
            "/proc/7/cgroup": "0::/../../other",
        },
    )

    assert found["memory_limit"] is None


@pytest.mark.parametrize("script", ["exit 0", "echo flag provided but not defined: -nope >&2; exit 2", "exit 128"])
def test_the_first_program_that_is_there_judges_the_flags(tmp_path, script):
    runsc = tmp_path / "runsc"
    runsc.write_text(f"#!/bin/sh\n{script}\n")
    runsc.chmod(0o755)

    found = node_side.flags([["/nonexistent/runsc"], [str(runsc), "list"], ["/bin/false"]])

    assert [str(runsc), "list"] == found["argv"]
    assert int(script.split()[-1]) == found["rc"]
    assert ("-nope" in found["text"]) == ("nope" in script)


def test_a_program_that_cannot_be_executed_judges_nothing(tmp_path):
    (tmp_path / "runsc").write_text("")

    assert node_side.flags([[str(tmp_path / "runsc")]])["rc"] == 126
    assert node_side.flags([["/nonexistent/runsc"]])["rc"] is None


def test_one_holder_at_a_time_has_the_lock_and_its_end_frees_it(tmp_path):
    code = f"{source()}\nimport sys\nprint(lock({str(tmp_path)!r}, 0)['taken'], flush=True)\nsys.stdin.read()"
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"True\n"

    refused = node_side.answer({"verb": "lock", "arguments": {"folder": str(tmp_path), "seconds": 0.2}})
    holder.communicate()
    taken = node_side.answer({"verb": "lock", "arguments": {"folder": str(tmp_path), "seconds": 10}})

    assert (refused, taken) == ({"result": {"taken": False}}, {"result": {"taken": True}})
    os.close(node_side.HELD.pop())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "question",
    [
        {"verb": "nope", "arguments": {}},
        {"verb": "inspect", "arguments": {}},
        {"verb": "lock", "arguments": {"folder": "/nonexistent", "seconds": 0}},
    ],
)
def test_a_question_that_cannot_be_answered_is_answered_with_the_reason(question):
    assert node_side.answer(question)["error"]
