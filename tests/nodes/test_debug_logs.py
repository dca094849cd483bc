"""Debug logs on a real node: where they are, how they stay small, what a full disk does, and how they are fetched."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from command import gvisor_nodes, starts

from orchestrator.lab.pods import Pods
from orchestrator.lab.tree import difference, snapshot

LOGS = "/var/log/runsc"
STOPPED = "/run/gvisor-nodes/debug-logs-stopped"
SERVICE, TIMER = "gvisor-nodes-logs.service", "gvisor-nodes-logs.timer"
SMALL = "20260224.0"  # half of the default's size, where the release does not matter
CURRENT = "cd /opt/gvisor-nodes && readlink generations/$(cat current)/release"
FULL = {"20250205.0": "size=64k", "20260224.0": "nr_inodes=1", "20260905.0": "size=64k,ro"}
"""Every release, and of the ways in which a disk can be full the one that it is shown by default."""
PLAYBOOK = Path(__file__).parents[2] / "playbooks" / "collect_logs.yml"


def inventory_with(lab, path, **variables):
    content = yaml.safe_load(lab.inventory.read_text())
    content["all"]["vars"].update(variables)
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def inventory(lab, tmp_path_factory):
    """An inventory with debug logs and limits that a test reaches."""
    for release in FULL:
        lab.ensure_release(release)
    path = tmp_path_factory.mktemp("inventory") / "inventory.yml"
    limits = {
        "debug_logs_max_size": 100,
        "debug_logs_min_free": 16,
        "debug_logs_group": "adm",
        "debug_logs_mode": "0750",
    }
    return inventory_with(lab, path, runsc_flags={"debug": "true"}, **limits)


@pytest.fixture(scope="module")
def installed(lab, inventory):
    """The first node, with debug logs, of any release."""
    node = lab.nodes[0]
    answer = gvisor_nodes("apply", "--release", SMALL, "--limit", node.name, inventory=inventory)
    assert 0 == answer.rc, answer.stderr
    yield node
    assert 0 == gvisor_nodes("remove", "--yes", "--limit", node.name, inventory=lab.inventory).rc


@pytest.fixture
def pods(installed):
    with Pods(installed) as pods:
        yield pods
        pods.clear()


def tidy(node):
    """Run the retention now, as its timer would."""
    node.run(f"systemctl start {SERVICE}")


@contextmanager
def mounted(node, options):
    """The directory for debug logs as a file system of its own."""
    node.run(f"mount -t tmpfs -o mode=750,{options} none {LOGS}")
    try:
        yield
    finally:
        node.run(f"umount -l {LOGS}; rm -f {STOPPED}")


def names(node, identity):
    return set(node.run(f"ls {LOGS}/{identity} 2>/dev/null; :").stdout.split())


def open_logs(node):
    """The flags of every descriptor through which a process writes a debug log, by path."""
    script = (
        "for fd in /proc/[0-9]*/fd/*; do l=$(readlink $fd 2>/dev/null) || continue; "
        f'case $l in {LOGS}/*) echo "$l $(sed -n "s/^flags:[[:space:]]*//p" ${{fd%/fd/*}}/fdinfo/${{fd##*/}})";; esac; done; :'
    )
    return {line.split()[0]: int(line.split()[1], 8) for line in node.run(script).stdout.splitlines()}


@pytest.mark.feature("F7")
@pytest.mark.feature("F8")
@pytest.mark.parametrize(
    ("release", "full"),
    [
        variant
        for release, shown in FULL.items()
        for variant in (
            pytest.param(release, [shown], id=f"{release} {shown}"),
            pytest.param(
                release,
                [options for options in FULL.values() if options != shown],
                id=f"{release} the others",
                marks=pytest.mark.exhaustive,
            ),
        )
    ],
)
def test_every_release_logs_where_it_is_documented_appends_and_starts_on_a_full_disk(
    installed, inventory, pods, release, full
):
    node = installed
    if f"../../releases/{release}" != node.run(CURRENT).stdout.strip():
        before = starts(node)
        answer = gvisor_nodes("apply", "--release", release, "--limit", node.name, inventory=inventory)
        assert 0 == answer.rc, answer.stderr
        assert before == starts(node)

    pod = pods.run("runsc", "web", namespace="shop")
    container = pod.start_container("main", ["sh", "-c", "sleep 1000"])
    assert {"create-gvisor.log", "start-gvisor.log", "boot-gvisor.log", "gofer-gvisor.log"} <= names(node, pod.id)
    assert {"create-gvisor.log", "start-gvisor.log", "gofer-gvisor.log"} <= names(node, container.id)
    assert all(name.endswith("-gvisor.log") for name in names(node, pod.id) | names(node, container.id))
    assert "750 adm\n" == node.run(f"stat -c '%a %G' {LOGS}").stdout

    # A log that is emptied goes on at its new start: everybody who writes appends.
    written = open_logs(node)
    assert f"{LOGS}/{pod.id}/boot-gvisor.log" in written
    assert all(flags & os.O_APPEND for flags in written.values()), written
    boot = f"{LOGS}/{pod.id}/boot-gvisor.log"
    node.run(f"true > {boot}")
    assert 0 == pod.exec(container, ["true"]).code
    assert b"\0" not in node.run(f"head -c 100 {boot}").stdout.encode()
    assert 0 < int(node.run(f"stat -c %s {boot}").stdout)

    for options in full:
        with mounted(node, options):
            node.run(f"head -c 1000000 /dev/zero > {LOGS}/theirs 2>/dev/null; :")
            other = pods.run("runsc", "full")
            inner = other.start_container("main", ["sh", "-c", "sleep 1000"])
            assert (0, "hello\n") == other.exec(inner, ["echo", "hello"])
            assert "" == other.log(inner), "nothing of ours is in the container's own output"
            other.remove()
    assert 0 == pod.exec(container, ["true"]).code
    pod.remove()


@pytest.mark.feature("F8")
def test_ten_gib_of_old_logs_shrink_to_the_limit_and_a_running_pods_stay(installed, pods):
    node = installed
    pod = pods.run("runsc", "web")
    container = pod.start_container("main")
    node.run(
        f"cd {LOGS}; for i in $(seq 100 139); do d=$(printf %064d $i); mkdir $d; truncate -s 256M $d/boot-gvisor.log; "
        f"touch -d '2 days ago' $d/boot-gvisor.log $d; done; touch -d '99 days ago' {pod.id}/* {container.id}/*"
    )
    kept = names(node, pod.id), names(node, container.id)

    tidy(node)

    total = sum(int(size) for size in node.run(f"find {LOGS} -type f -exec stat -c %s {{}} +").stdout.split())
    assert total <= 100 * 1024 * 1024
    assert kept == (names(node, pod.id), names(node, container.id))
    assert "" == node.run(f"ls -d {LOGS}/0000* 2>/dev/null; :").stdout
    assert "deleted the logs of" in node.run(f"journalctl -q -o cat -u {SERVICE}").stdout
    assert 0 == pod.exec(container, ["true"]).code

    shown = node.run(f"systemctl show {TIMER} -p ActiveState -p NextElapseUSecMonotonic -p UnitFileState").stdout
    assert {"ActiveState=active", "UnitFileState=enabled"} <= set(shown.split())
    assert "NextElapseUSecMonotonic=0" not in shown.split()
    assert "NextElapseUSecMonotonic=infinity" not in shown.split()
    assert "" == node.run("find /var/lib/systemd/timers -name '*gvisor*' 2>/dev/null; :").stdout


@pytest.mark.feature("F8")
def test_a_full_disk_stops_logs_and_no_pod_and_is_told(installed, inventory, pods):
    node = installed
    with mounted(node, "size=40m"):
        node.run(f"head -c 30000000 /dev/zero > {LOGS}/theirs")
        tidy(node)
        reason = node.read(STOPPED)
        assert "bytes are free" in reason

        pod = pods.run("runsc", "quiet", namespace="shop")
        container = pod.start_container("main")
        assert 0 == pod.exec(container, ["true"]).code
        assert set() == names(node, pod.id)
        assert (
            reason.strip()
            == gvisor_nodes("status", "--limit", node.name, inventory=inventory).host(node)["debug_logs_stopped"]
        )
        refused = gvisor_nodes("logs", node.name, inventory=inventory)
        assert 4 == refused.rc
        assert "logging is stopped" in refused.bad_step(node)["cause"]

        node.run(f"rm {LOGS}/theirs")
        tidy(node)
        assert 0 != node.run(f"test -e {STOPPED}", check=False).returncode
        again = pods.run("runsc", "loud")
        assert "boot-gvisor.log" in names(node, again.id)


def read_archive(path):
    """The members of an archive by name, and its manifest."""
    assert 0o600 == path.stat().st_mode & 0o777
    with tarfile.open(path) as archive:
        assert all(member.isreg() for member in archive)
        members = {member.name: archive.extractfile(member).read() for member in archive}
    manifest = json.loads(members.pop("gvisor-logs/manifest.json"))
    found = {f"gvisor-logs/{file['path']}": file["sha256"] for file in manifest["files"]}
    assert found == {name: hashlib.sha256(data).hexdigest() for name, data in members.items()}
    return members, manifest


@pytest.mark.feature("F9")
def test_the_logs_of_one_pod_are_fetched_while_it_runs_and_when_it_is_gone(lab, installed, inventory, pods, tmp_path):
    node = installed
    pod = pods.run("runsc", "cart", namespace="shop")
    container = pod.start_container("main")
    pods.run("runsc", "other", namespace="shop")
    ask = ("logs", node.name, "--pod", "shop/cart", "--to")

    running = gvisor_nodes(*ask, tmp_path / "running.tar.gz", inventory=inventory)
    assert 0 == running.rc, running.stderr
    members, manifest = read_archive(tmp_path / "running.tar.gz")
    assert {pod.id, container.id} == {name.split("/")[1] for name in members}
    assert {("shop/cart", True)} == {(one["pod"], one["running"]) for one in manifest["containers"]}
    current = node.run(CURRENT).stdout.strip()
    assert current == f"../../releases/{manifest['release']}"
    assert node.name == manifest["host"]
    assert {"file", "size", "files"} <= running.host(node).keys()

    pod.remove()
    gone = gvisor_nodes(*ask, tmp_path, inventory=inventory)
    assert 0 == gone.rc, gone.stderr
    (path,) = tmp_path.glob(f"{node.name}-gvisor-logs-*.tar.gz")
    assert str(path) == gone.host(node)["file"]
    members, manifest = read_archive(path)
    assert {pod.id, container.id} == {name.split("/")[1] for name in members}
    assert {("shop/cart", False)} == {(one["pod"], one["running"]) for one in manifest["containers"]}

    exists = gvisor_nodes(*ask, tmp_path / "running.tar.gz", inventory=inventory)
    assert 2 == exists.rc
    assert "is there already" in exists.bad_step(node)["message"]
    unknown = gvisor_nodes("logs", node.name, "--pod", "shop/tart", "--to", tmp_path / "d", inventory=inventory)
    assert 4 == unknown.rc
    assert "shop/cart" in unknown.bad_step(node)["cause"]
    assert not (tmp_path / "d").exists()
    assert "" == node.run("ls -d /run/gvisor-nodes/logs-* 2>/dev/null; :").stdout
    assert [] == [entry for entry in tmp_path.iterdir() if entry.name.startswith(".")]


@pytest.mark.feature("F9")
def test_a_user_who_becomes_root_fetches_one_container_s_with_a_limit_and_the_manifest_says_what_is_left_out(
    lab, installed, pods, tmp_path
):
    node = installed
    pods.run("runsc", "other", namespace="shop")
    pod = pods.run("runsc", "big", namespace="shop")
    node.run(f"head -c 5000000 /dev/urandom > {LOGS}/{pod.id}/big-gvisor.log")
    node.run(f"ln -s /etc/shadow {LOGS}/{pod.id}/shadow; touch '{LOGS}/{pod.id}/a b'")
    answer = gvisor_nodes(
        "logs",
        node.name,
        *("--size", 1, "--container", pod.id[:13], "--since", "1h", "--to", tmp_path / "x.tar.gz"),
        inventory=lab.inventory_for("admin"),
    )

    assert 0 == answer.rc, answer.stderr
    members, manifest = read_archive(tmp_path / "x.tar.gz")
    assert {pod.id} == {name.split("/")[1] for name in members}
    assert sum(map(len, members.values())) <= 1024 * 1024
    left = {entry["path"].split("/")[1]: entry["reason"] for entry in manifest["left_out"]}
    assert "it is not a regular file" == left["shadow"]
    assert "its name is not plain" == left["a b"]
    assert "the limit is reached" in set(left.values()) | {file["note"][-20:] for file in manifest["files"]}
    assert len(left) == answer.host(node)["left_out"]


@pytest.mark.feature("F9")
def test_where_debug_is_off_the_error_says_so_and_a_host_that_is_not_there_is_unreachable(lab, tmp_path):
    node = lab.nodes[1]
    answer = gvisor_nodes("logs", node.name, "--to", tmp_path / "x", inventory=lab.inventory)

    assert 4 == answer.rc
    assert "the flag debug is off" == answer.bad_step(node)["cause"]
    assert 0 == node.run("test ! -e /run/gvisor-nodes").returncode

    hosts = tmp_path / "hosts"
    hosts.write_text("away ansible_host=127.0.0.1 ansible_port=1\n")
    away = gvisor_nodes("logs", "away", "--to", tmp_path / "x", inventory=hosts)
    assert 3 == away.rc
    assert "unreachable" == away.hosts["away"]["outcome"]


@pytest.mark.feature("F9")
def test_the_playbook_fetches_from_a_group_of_hosts(lab, installed, inventory, pods, tmp_path):
    pods.run("runsc", "web")
    program = Path(sys.executable).with_name("ansible-playbook")
    argv = [program, "-i", inventory, "-e", json.dumps({"debug_logs_collect_to": str(tmp_path)}), PLAYBOOK]
    done = subprocess.run(
        [*map(str, argv)], capture_output=True, text=True, check=False, cwd=PLAYBOOK.parents[1], timeout=300
    )

    assert 2 == done.returncode, done.stdout
    assert "the flag debug is off" in done.stdout, "the second host has no logs"
    (path,) = tmp_path.iterdir()
    assert path.name.startswith(f"{installed.name}-gvisor-logs-")
    assert read_archive(path)[0]


@pytest.mark.feature("H2")
def test_removal_takes_the_timer_without_a_trace_even_from_the_middle_of_a_removal(lab, inventory):
    node = lab.nodes[1]
    limit = ("--release", SMALL, "--limit", node.name)
    # The lab has a unit of that name itself.
    listing = "systemctl list-units --all --no-legend --plain 'gvisor-nodes*' | cut -d' ' -f1"
    before, units = snapshot(node), node.run(listing).stdout
    assert 0 == gvisor_nodes("apply", *limit, inventory=inventory).rc
    off = gvisor_nodes("apply", *limit, inventory=lab.inventory)
    assert 0 == off.rc, off.stderr
    assert "active" == node.run(f"systemctl is-active {TIMER}").stdout.strip(), "logs of old pods go on ageing"

    # Drift of the timer is found and repaired; and nothing else is named, so without the flag there is nothing to do.
    node.run(f"systemctl stop {TIMER}")
    drift = gvisor_nodes("verify", *limit, inventory=lab.inventory)
    assert f"{TIMER}: it is inactive" == drift.bad_step(node)["cause"]
    assert 0 == gvisor_nodes("apply", *limit, inventory=lab.inventory).rc
    assert "active" == node.run(f"systemctl is-active {TIMER}").stdout.strip()

    # As a removal leaves it that is killed between the last file and systemd.
    node.run(
        f"systemctl stop {TIMER}; cd /var/lib/gvisor-nodes; sed -i '1a \"units_to_forget\": true,' journal.json; "
        "rm /etc/systemd/system/gvisor-nodes-logs.* /etc/systemd/system/timers.target.wants/gvisor-nodes-logs.timer"
    )
    removed = gvisor_nodes("remove", "--yes", "--limit", node.name, inventory=lab.inventory)
    assert 0 == removed.rc, removed.stderr
    assert [] == difference(before, snapshot(node))
    assert units == node.run(listing).stdout
    assert "LoadState=not-found\n" == node.run(f"systemctl show {TIMER} -p LoadState").stdout
    assert 0 == node.run("test ! -e /run/gvisor-nodes").returncode
