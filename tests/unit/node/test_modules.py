"""The node's modules as Ansible runs them, on a plain directory as the host's root."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path
from unittest.mock import Mock

import gvisor_containerd
import gvisor_files
import gvisor_probe
import gvisor_release
import gvisor_seal
import gvisor_uninstall
import pytest
from ansible.module_utils import gvisor_transaction
from ansible.module_utils.gvisor_journal import Journal, Lease, describe

STATE = "/var/lib/gvisor-nodes"
DIRECTORY = "/opt/gvisor-nodes"
CONFIG = "/etc/containerd/config.toml"
BASE = {"state_directory": STATE}
PROBE = {**BASE, "directory": DIRECTORY, "debug_logs_directory": "/var/log/runsc"}


@pytest.fixture
def token(root):
    Lease(root, "t").acquire("test@host", timeout=0)
    return "t"


@pytest.fixture(scope="session")
def runsc(tmp_path_factory):
    """A static program that answers as runsc of one release does: good flags, a refused one, its drivers."""
    directory = tmp_path_factory.mktemp("runsc")
    source = directory / "runsc.c"
    source.write_text(r"""
        #include <stdio.h>
        #include <string.h>
        int main(int argc, char **argv) {
            for (int i = 1; i < argc; i++) {
                if (!strcmp(argv[i], "--version")) { puts("runsc version release-20260905.0"); return 0; }
                if (!strcmp(argv[i], "--nonsense=1")) { fputs("flag provided but not defined: -nonsense\n", stderr); return 2; }
                if (!strcmp(argv[i], "nvproxy")) { puts("535.183.06\n550.90.12"); return 0; }
            }
            return 0;
        }
    """)
    subprocess.run(["gcc", "-static", "-o", str(directory / "runsc"), str(source)], check=True)
    return (directory / "runsc").read_bytes()


def make_generation(root, number, release="20260905.0"):
    base = Path(root.real(f"{DIRECTORY}/generations/{number}"))
    base.mkdir(parents=True)
    (base / "release").symlink_to(f"../../releases/{release}")
    (base / "flags").write_text("")
    runsc = Path(root.real(f"{DIRECTORY}/releases/{release}/runsc"))
    runsc.parent.mkdir(parents=True, exist_ok=True)
    runsc.write_text("")


def archive(root, files):
    directory = Path(root.real("/run/gvisor-nodes/upload-t"))
    directory.mkdir(parents=True, exist_ok=True)
    with tarfile.open(directory / "release.tar.gz", "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def digests(files):
    return {name: hashlib.sha512(data).hexdigest() for name, data in files.items()}


def place(call, files, **more):
    return call(
        gvisor_release, **BASE, token="t", directory=DIRECTORY, release="20260905.0", files=digests(files), **more
    )


def test_a_probe_of_a_bare_tree_writes_nothing_and_finds_nothing(root, call):
    before = sorted(os.walk(root.path))
    state = call(gvisor_probe, **PROBE)["state"]

    assert before == sorted(os.walk(root.path))
    assert state["journal"] is None
    assert not state["tree"]["exists"]
    assert {"processes": [], "pods": []} == state["users"]
    assert state["containerd"]["binary"] is None
    assert root.path == state["host"]["root"]
    assert not state["storage"]["noexec"]


@pytest.mark.feature("E6")
@pytest.mark.parametrize("driver", ["535.129.03", "550.54.14", None])
def test_a_probe_reads_what_the_nvidia_driver_says_of_itself(root, call, driver):
    if driver:
        for path, text in {
            "/proc/driver/nvidia/version": f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {driver}  Thu Oct 19\n",
            "/sys/module/nvidia/version": f"{driver}\n",
            "/proc/driver/nvidia/params": "x",
            "/proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: x",
            "/dev/nvidiactl": "",
            "/dev/null": "",
        }.items():
            file = Path(root.real(path))
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    found = call(gvisor_probe, **PROBE)["state"]["nvidia"]

    if driver is None:
        nothing = {"proc": None, "module": None, "params_readable": False, "devices": [], "files": [], "supported": {}}
        assert nothing == found
    else:
        assert driver in found["proc"]
        assert f"{driver}\n" == found["module"]
        assert found["params_readable"]
        assert ["0000:01:00.0"] == found["devices"]
        assert ["nvidiactl"] == found["files"]


@pytest.mark.feature("E6")
def test_where_there_is_a_driver_every_release_on_the_node_lists_its_own(root, call, runsc):
    programs = {"20260905.0": runsc, "20260224.0": b"not a program", "20260905.0.incoming": runsc}
    for release, content in programs.items():
        file = Path(root.real(f"{DIRECTORY}/releases/{release}/runsc"))
        file.parent.mkdir(parents=True)
        file.write_bytes(content)
        file.chmod(0o755)
    without = call(gvisor_probe, **PROBE)["state"]["nvidia"]["supported"]
    module = Path(root.real("/sys/module/nvidia/version"))
    module.parent.mkdir(parents=True)
    module.write_text("550.90.12\n")

    assert {} == without
    assert {"20260905.0": "535.183.06\n550.90.12\n"} == call(gvisor_probe, **PROBE)["state"]["nvidia"]["supported"]


@pytest.mark.feature("E7")
def test_parameters_of_the_driver_that_are_no_file_cannot_be_read(root, call):
    Path(root.real("/proc/driver/nvidia/params")).mkdir(parents=True)

    assert not call(gvisor_probe, **PROBE)["state"]["nvidia"]["params_readable"]


def test_a_host_root_that_is_no_directory_is_a_refusal(call, tmp_path):
    answer = call(gvisor_probe, **PROBE, host_root=str(tmp_path / "missing"))

    assert answer["failed"]
    assert answer["node_error"]["refused"]
    assert "is not a directory" in answer["node_error"]["what"]


@pytest.mark.feature("C9")
def test_a_second_run_waits_its_time_and_is_refused_naming_the_first(root, call, token):
    lock = {"token": "other", "holder": "me@here", "timeout": 0, "ttl": 60}
    answer = call(gvisor_probe, **PROBE, lock=lock)

    assert answer["failed"]
    assert "another run holds this node" == answer["node_error"]["what"]
    assert "test@host" in answer["node_error"]["why"]

    call(gvisor_probe, **PROBE, unlock="t")

    assert not call(gvisor_probe, **PROBE, lock=lock).get("failed")


@pytest.mark.feature("A11")
def test_a_release_is_asked_for_then_placed_then_whole(root, call, token, runsc):
    files = {"runsc": runsc, "containerd-shim-runsc-v1": b"shim", "gvisor-bin/gvisor_sentry": b"sentry"}

    asked = place(call, files)
    assert asked["upload"].endswith("/run/gvisor-nodes/upload-t")
    assert not Path(root.real(DIRECTORY)).exists()

    archive(root, files)
    assert place(call, files)["changed"]
    final = Path(root.real(f"{DIRECTORY}/releases/20260905.0"))
    assert runsc == (final / "runsc").read_bytes()
    assert "0755" == describe(str(final / "gvisor-bin/gvisor_sentry"))["mode"]
    assert not Path(root.real("/run/gvisor-nodes/upload-t")).exists()

    assert not place(call, files)["changed"]
    assert "535.183.06\n550.90.12\n" == place(call, files, drivers=True)["drivers"]


def test_a_damaged_release_is_asked_for_again_and_replaced(root, call, token, runsc):
    files = {"runsc": runsc}
    archive(root, files)
    place(call, files)
    Path(root.real(f"{DIRECTORY}/releases/20260905.0/runsc")).write_bytes(runsc[:1000])

    assert place(call, files)["upload"]
    archive(root, files)
    assert place(call, files)["changed"]
    assert runsc == Path(root.real(f"{DIRECTORY}/releases/20260905.0/runsc")).read_bytes()


@pytest.mark.feature("A14")
@pytest.mark.parametrize(
    ("sent", "wanted", "what"),
    [
        ({"runsc": b"not a program"}, None, "does not run on this node"),
        ({"runsc": None}, {"runsc": b"other"}, "arrived damaged"),
        ({"runsc": None, "evil": b"x"}, {"runsc": None}, "does not belong to the release"),
        ({"../../evil": b"x"}, {"runsc": None}, "does not belong to the release"),
        ({}, {"runsc": None}, "lacks runsc"),
    ],
    ids=["not a program", "damaged", "extra file", "traversal", "missing file"],
)
def test_a_bad_upload_never_gets_the_releases_name(root, call, token, runsc, sent, wanted, what):
    sent = {name: runsc if data is None else data for name, data in sent.items()}
    wanted = sent if wanted is None else {name: runsc if data is None else data for name, data in wanted.items()}
    archive(root, sent)
    answer = place(call, wanted)

    assert answer["failed"]
    assert what in answer["node_error"]["what"]
    assert not Path(root.real(f"{DIRECTORY}/releases/20260905.0")).exists()
    assert not Path(root.real("/opt/evil")).exists()


def test_a_release_that_is_on_the_same_machine_is_copied_from_where_it_is(root, call, token, runsc, tmp_path):
    files = {"runsc": runsc, "gvisor-bin/gvisor_sentry": b"sentry"}
    for name, data in files.items():
        path = tmp_path / "releases" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    source = str(tmp_path / "releases")

    assert place(call, files, source=source)["changed"]
    final = Path(root.real(f"{DIRECTORY}/releases/20260905.0"))
    assert runsc == (final / "runsc").read_bytes()
    assert "0755" == describe(str(final / "gvisor-bin/gvisor_sentry"))["mode"]
    assert "0755" == describe(str(final / "gvisor-bin"))["mode"]
    assert not Path(root.real("/run/gvisor-nodes/upload-t")).exists()
    assert not place(call, files, source=source)["changed"]

    (tmp_path / "releases/runsc").write_bytes(runsc[:1000])
    (final / "runsc").unlink()
    assert "runsc arrived damaged" == place(call, files, source=source)["node_error"]["what"]


def test_a_release_of_another_version_is_not_placed(root, call, token, runsc):
    archive(root, {"runsc": runsc})
    answer = call(
        gvisor_release, **BASE, token="t", directory=DIRECTORY, release="20260224.0", files=digests({"runsc": runsc})
    )

    assert "runsc is of another release" == answer["node_error"]["what"]


@pytest.mark.feature("F3")
def test_flags_that_the_binary_refuses_stop_before_anything_uses_them(root, call, token, runsc):
    archive(root, {"runsc": runsc})
    answer = place(call, {"runsc": runsc}, flags=["--nonsense=1"])

    assert "refuses the flags" in answer["node_error"]["what"]
    assert "flag provided but not defined: -nonsense" == answer["node_error"]["why"]
    assert not Path(root.real(f"{DIRECTORY}/releases/20260905.0")).exists()


@pytest.mark.feature("F3")
def test_of_a_release_that_is_there_only_the_binary_is_asked(root, call, token, runsc):
    archive(root, {"runsc": runsc})
    place(call, {"runsc": runsc})
    before = sorted(Path(root.path).rglob("*"))
    refused = place(call, {}, flags=["--debug=true", "--nonsense=1"])

    assert "runsc 20260905.0 refuses the flags --debug=true --nonsense=1" == refused["node_error"]["what"]
    assert "flag provided but not defined: -nonsense" == refused["node_error"]["why"]
    assert not place(call, {}, flags=["--debug=true"])["changed"]
    assert before == sorted(Path(root.path).rglob("*"))


def test_uploads_that_dead_runs_left_are_removed(root, call, token, runsc):
    old = Path(root.real("/run/gvisor-nodes/upload-dead"))
    old.mkdir()
    os.utime(old, (1, 1))
    place(call, {"runsc": runsc})

    assert not old.exists()


@pytest.mark.parametrize("module", [gvisor_files, gvisor_release, gvisor_seal, gvisor_uninstall])
def test_without_the_lease_nothing_is_changed(root, call, module):
    arguments = {
        gvisor_files: {"files": [{"path": "/opt/x", "kind": "directory"}]},
        gvisor_release: {"directory": DIRECTORY, "release": "20260905.0", "files": {"runsc": "0"}},
        gvisor_seal: {"seal": {"directory": DIRECTORY}, "config": CONFIG},
        gvisor_uninstall: {"directory": DIRECTORY, "config": CONFIG},
    }[module]
    answer = call(module, **BASE, token="stolen", **arguments)

    assert "this run no longer holds the node" == answer["node_error"]["what"]
    assert [] == os.listdir(root.real("/opt"))


def test_files_are_made_in_order_and_only_once(root, call, token):
    content = base64.b64encode(b"1\n").decode()
    files = [
        {"path": f"{DIRECTORY}/generations/1", "kind": "directory"},
        {"path": f"{DIRECTORY}/current", "kind": "file", "content": content},
    ]
    first = call(gvisor_files, **BASE, token="t", files=files, remember={"settings": {"handler": "runsc"}})

    assert [f"{DIRECTORY}/generations/1", f"{DIRECTORY}/current"] == first["made"]
    assert {"handler": "runsc"} == Journal(root, STATE).data["settings"]
    assert not call(gvisor_files, **BASE, token="t", files=files)["changed"]


def test_a_directory_of_ours_gets_the_hosts_group_and_one_that_was_there_keeps_its_own(root, call, token):
    Path(root.real("/etc/group")).write_text("root:x:0:\nshipper:x:4711:\n")
    Path(root.real("/srv")).mkdir()
    files = [
        {"path": path, "kind": "directory", "mode": "0750", "group": "shipper", "tree": True}
        for path in ("/var/log/runsc", "/srv")
    ]
    assert ["/var/log/runsc"] == call(gvisor_files, **BASE, token="t", files=files)["made"]
    assert not call(gvisor_files, **BASE, token="t", files=files)["changed"]
    assert (4711, 0o750) == (
        os.stat(root.real("/var/log/runsc")).st_gid,
        os.stat(root.real("/var/log/runsc")).st_mode & 0o777,
    )
    assert 0 == os.stat(root.real("/srv")).st_gid
    assert "shipper" == call(gvisor_probe, **PROBE)["state"]["logs"]["group"]

    os.chown(root.real("/var/log/runsc"), 0, 0)
    assert ["/var/log/runsc"] == call(gvisor_files, **BASE, token="t", files=files)["made"]


def test_a_group_that_the_host_does_not_have_is_refused_before_anything_is_made(root, call, token):
    files = [
        {"path": "/opt/first", "kind": "directory"},
        {"path": "/var/log/runsc", "kind": "directory", "group": "nobody-here"},
    ]
    answer = call(gvisor_files, **BASE, token="t", files=files)

    assert "there is no group nobody-here on the node" == answer["node_error"]["what"]
    assert not Path(root.real("/opt/first")).exists()


def test_units_below_another_root_are_files_that_nobody_is_told_of(root, call, token):
    unit = "/etc/systemd/system/gvisor-nodes-logs.timer"
    files = [{"path": unit, "kind": "file", "content": base64.b64encode(b"[Timer]\n").decode()}]
    answer = call(gvisor_files, **BASE, token="t", files=files, timer="gvisor-nodes-logs.timer")

    assert [unit] == answer["made"]
    found = call(gvisor_probe, **PROBE)["state"]["retention"]
    assert ("file", "", "") == (found["files"][unit]["kind"], found["active"], found["stopped"])


def test_a_file_that_cannot_be_written_is_an_error_that_names_it(root, call, token):
    Path(root.real("/opt/gvisor-nodes")).write_text("a file where a directory belongs")
    files = [{"path": f"{DIRECTORY}/current", "kind": "file", "content": ""}]
    answer = call(gvisor_files, **BASE, token="t", files=files)

    assert answer["failed"]
    assert "/opt/gvisor-nodes is not a directory" == answer["node_error"]["what"]


def commit(call, content, expect, **more):
    return call(
        gvisor_containerd,
        **BASE,
        state="commit",
        token="t",
        config=CONFIG,
        content=base64.b64encode(content).decode(),
        expect=expect,
        keep_original=True,
        **more,
    )


def digest(text):
    return hashlib.sha256(text).hexdigest()


@pytest.mark.feature("B15")
def test_a_commit_keeps_the_old_bytes_and_a_rollback_puts_them_back(root, call, token):
    config = Path(root.real(CONFIG))
    config.write_bytes(b"old")
    config.chmod(0o640)
    answer = commit(call, b"new", digest(b"old"))

    assert not answer.get("failed"), answer
    assert b"new" == config.read_bytes()
    assert "0640" == describe(str(config))["mode"]
    assert "switched" == Journal(root, STATE).data["containerd"]["state"]

    current = Path(root.real(f"{DIRECTORY}/current"))
    for number in ("1", "2"):
        make_generation(root, number)
    content = base64.b64encode(b"2\n").decode()
    wanted = {"path": f"{DIRECTORY}/current", "kind": "file", "content": content}
    assert call(gvisor_files, **BASE, token="t", directory=DIRECTORY, files=[wanted])["changed"]
    back = {"directory": DIRECTORY, "number": "1", "history": []}
    answer = call(gvisor_containerd, **BASE, state="rollback", token="t", current=back)

    assert answer["rolled_back"]
    assert b"old" == config.read_bytes()
    assert "0640" == describe(str(config))["mode"]
    assert "1\n" == current.read_text()
    assert not call(gvisor_containerd, **BASE, state="rollback", token="t")["rolled_back"]


def test_a_rollback_leaves_a_file_alone_that_somebody_wrote_since(root, call, token):
    config = Path(root.real(CONFIG))
    config.write_bytes(b"old")
    commit(call, b"new", digest(b"old"))
    config.write_bytes(b"theirs")
    call(gvisor_containerd, **BASE, state="rollback", token="t")

    assert b"theirs" == config.read_bytes()


@pytest.mark.feature("C9")
def test_a_file_changed_between_reading_and_writing_is_not_overwritten(root, call, token):
    config = Path(root.real(CONFIG))
    config.write_bytes(b"theirs")
    answer = commit(call, b"new", digest(b"old"))

    assert answer["failed"]
    assert "was changed by somebody else" in answer["node_error"]["what"]
    assert b"theirs" == config.read_bytes()


def test_a_file_that_was_not_there_is_removed_by_the_rollback(root, call, token):
    commit(call, b"new", "absent")
    assert b"new" == Path(root.real(CONFIG)).read_bytes()

    call(gvisor_containerd, **BASE, state="rollback", token="t")
    assert not Path(root.real(CONFIG)).exists()


@pytest.mark.feature("H2")
def test_seal_disarms_and_uninstall_takes_everything_back(root, call, token):
    before = {path: names for path, *names in os.walk(root.path) if "/run" not in path}
    Path(root.real(CONFIG)).write_bytes(b"old")
    files = [
        {"path": f"{DIRECTORY}/generations/1", "kind": "directory"},
        {"path": f"{DIRECTORY}/current", "kind": "file", "content": base64.b64encode(b"1\n").decode()},
    ]
    call(gvisor_files, **BASE, token="t", files=files)
    commit(call, b"new", digest(b"old"))
    seal = {"fingerprint": "f", "directory": DIRECTORY}
    assert not call(gvisor_seal, **BASE, token="t", config=CONFIG, seal=seal).get("failed")

    journal = Journal(root, STATE)
    assert "installed" == journal.data["containerd"]["state"]
    assert "f" == journal.data["sealed"]["fingerprint"]
    assert not Path(root.real(f"{STATE}/armed")).exists()
    assert "old" == call(gvisor_probe, **PROBE)["state"]["original"]

    Lease(root, "t").acquire("test@host", timeout=0)
    call(
        gvisor_containerd,
        **BASE,
        state="commit",
        token="t",
        config=CONFIG,
        content=base64.b64encode(b"old").decode(),
        expect=digest(b"new"),
        wanted="removed",
    )
    assert [] == call(gvisor_uninstall, **BASE, token="t", directory=DIRECTORY, config=CONFIG)["kept"]
    Path(root.real(CONFIG)).unlink()
    assert before == {path: names for path, *names in os.walk(root.path) if "/run" not in path}


def test_removing_the_file_is_a_commit_without_content(root, call, token):
    commit(call, b"new", "absent")
    arguments = {"state": "commit", "token": "t", "config": CONFIG, "wanted": "removed"}
    answer = call(gvisor_containerd, **BASE, **arguments, expect=digest(b"other"))

    assert "was changed by somebody else" in answer["node_error"]["what"]

    call(gvisor_containerd, **BASE, **arguments, expect=digest(b"new"))
    assert not Path(root.real(CONFIG)).exists()


def test_a_seal_after_the_rollback_fired_is_an_error(root, call, token):
    Path(root.real(CONFIG)).write_bytes(b"old")
    commit(call, b"new", digest(b"old"))
    subprocess.run(["/bin/sh", root.real(f"{STATE}/rollback.sh")], check=True)
    answer = call(gvisor_seal, **BASE, token="t", config=CONFIG, seal={"directory": DIRECTORY})

    assert "the node rolled containerd's configuration back" == answer["node_error"]["what"]
    assert b"old" == Path(root.real(CONFIG)).read_bytes()


@pytest.mark.feature("H5")
def test_a_seal_that_was_killed_after_it_had_disarmed_is_made_by_the_next(root, call, token):
    Path(root.real(CONFIG)).write_bytes(b"old")
    commit(call, b"new", digest(b"old"))
    Path(root.real(f"{STATE}/armed")).unlink()  # the journal still says that it is there
    answer = call(gvisor_seal, **BASE, token="t", config=CONFIG, seal={"directory": DIRECTORY})

    assert not answer.get("failed")
    assert "installed" == Journal(root, STATE).data["containerd"]["state"]
    assert b"new" == Path(root.real(CONFIG)).read_bytes()


@pytest.mark.feature("H5")
def test_a_removal_that_was_killed_before_it_changed_anything_is_forgotten_by_the_next_seal(
    root, call, token, monkeypatch
):
    Path(root.real(CONFIG)).write_bytes(b"old")
    commit(call, b"new", digest(b"old"))
    call(gvisor_seal, **BASE, token="t", config=CONFIG, seal={"directory": DIRECTORY})
    Lease(root, "t").acquire("test@host", timeout=0)
    with monkeypatch.context() as killed:
        killed.setattr(gvisor_transaction, "arm", Mock(side_effect=OSError("it ends here")))
        arguments = {"content": base64.b64encode(b"old").decode(), "expect": digest(b"new"), "wanted": "removed"}
        call(gvisor_containerd, **BASE, state="commit", token="t", config=CONFIG, **arguments)
    assert {"state": "armed", "wanted": "removed"}.items() <= Journal(root, STATE).data["containerd"].items()

    assert not call(gvisor_seal, **BASE, token="t", config=CONFIG, seal={"directory": DIRECTORY}).get("failed")
    record = Journal(root, STATE).data["containerd"]
    assert ("installed", "installed", digest(b"new")) == (record["state"], record["wanted"], record["made"])
    assert "old" == call(gvisor_probe, **PROBE)["state"]["original"]


def test_check_mode_of_a_commit_changes_nothing(root, call):
    answer = call(gvisor_containerd, **BASE, state="commit", check=True, config=CONFIG, expect="absent")

    assert answer["changed"]
    assert not Path(root.real(CONFIG)).exists()


DROP_IN = "/etc/containerd/conf.d/gvisor-nodes.toml"
ARGUMENTS = {"token": "t", "config": CONFIG, "drop_in": DROP_IN}


def commit_drop_in(call, content, expect, **more):
    encoded = {"content": base64.b64encode(content).decode()} if content is not None else {}
    arguments = {**BASE, **ARGUMENTS, "expect": expect, "keep_original": True, **encoded, **more}
    return call(gvisor_containerd, state="commit", **arguments)


@pytest.mark.feature("B7")
def test_a_drop_in_is_a_file_of_its_own_and_its_directory_goes_with_it(root, call, token):
    config = Path(root.real(CONFIG))
    config.write_bytes(b"main")
    before = sorted(os.walk(root.real("/etc")))
    assert not commit_drop_in(call, b"ours", "absent").get("failed")

    assert b"main" == config.read_bytes()
    assert b"ours" == Path(root.real(DROP_IN)).read_bytes()
    found = call(gvisor_probe, **PROBE)["state"]["containerd"]["drop_in"]
    assert (DROP_IN, "ours") == (found["path"], found["text"])
    seal = {"fingerprint": "f", "directory": DIRECTORY}
    assert not call(gvisor_seal, **BASE, token="t", config=CONFIG, seal=seal).get("failed")
    sealed = Journal(root, STATE).data["sealed"]
    assert {"path": DROP_IN, "sha256": digest(b"ours")} == sealed["drop_in"]
    assert digest(b"main") == sealed["config_sha256"]

    Lease(root, "t").acquire("test@host", timeout=0)
    assert not commit_drop_in(call, None, digest(b"ours"), wanted="removed").get("failed")
    assert [] == call(gvisor_uninstall, **BASE, token="t", directory=DIRECTORY, config=CONFIG)["kept"]
    assert before == sorted(os.walk(root.real("/etc")))
    assert b"main" == config.read_bytes()


@pytest.mark.feature("B15")
@pytest.mark.parametrize("earlier", [None, b"earlier"])
def test_a_rollback_of_a_drop_in_leaves_what_was_there(root, call, token, earlier):
    file = Path(root.real(DROP_IN))
    if earlier is not None:
        file.parent.mkdir()
        file.write_bytes(earlier)
    commit_drop_in(call, b"ours", "absent" if earlier is None else digest(earlier))
    assert b"ours" == file.read_bytes()
    call(gvisor_containerd, **BASE, state="rollback", token="t")

    assert earlier == (file.read_bytes() if file.exists() else None)


@pytest.mark.feature("C9")
def test_a_drop_in_that_somebody_else_made_in_the_meantime_is_not_overwritten(root, call, token):
    file = Path(root.real(DROP_IN))
    file.parent.mkdir()
    file.write_bytes(b"theirs")
    answer = commit_drop_in(call, b"ours", "absent")

    assert "was changed by somebody else" in answer["node_error"]["what"]
    assert b"theirs" == file.read_bytes()


@pytest.mark.parametrize(("changed", "left"), [(False, False), (True, True)])
def test_a_drop_in_that_is_no_longer_read_goes_when_the_main_file_is_edited_instead(root, call, token, changed, left):
    file = Path(root.real(DROP_IN))
    Path(root.real(CONFIG)).write_bytes(b"old")
    commit_drop_in(call, b"ours", "absent")
    if changed:
        file.write_bytes(b"ours and theirs")
    commit(call, b"new", digest(b"old"))

    assert left == file.exists()
    assert call(gvisor_probe, **PROBE)["state"]["containerd"]["drop_in"] is None
