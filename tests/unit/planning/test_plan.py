"""The plan: what a node needs and why, from probes that were recorded on a real node."""

from __future__ import annotations

import copy
import hashlib
import json

import pytest
from probed_node import DATA, installed, probe, wanted

from orchestrator.planning.debug_logs import log_files
from orchestrator.planning.plan import generation_files, generation_number, plan
from orchestrator.planning.removal import running
from orchestrator.planning.state import NodeState


def changed(raw, **paths):
    raw = copy.deepcopy(raw)
    for path, value in paths.items():
        *parents, last = path.split("__")
        target = raw
        for parent in parents:
            target = target[parent]
        target[last] = value
    return raw


def make(raw, desired=None):
    return plan(desired or wanted(), NodeState.model_validate(raw))


def steps(raw, desired=None):
    return {change.step for change in make(raw, desired).changes}


@pytest.mark.feature("A15")
def test_a_node_that_is_as_it_was_proved_needs_nothing():
    found = make(installed())

    assert not found.needed
    assert not found.restart
    assert () == found.refusals


def test_a_fresh_node_needs_everything_and_one_restart():
    found = make(probe("clean"))

    assert {"release", "generation", "files", "logs", "containerd", "proof"} == {c.step for c in found.changes}
    assert found.restart
    assert 1 == found.generation
    assert all(change.why for change in found.changes)


@pytest.mark.feature("C1")
def test_other_flags_need_a_generation_and_a_proof_but_no_restart():
    found = make(installed(), wanted(runsc_flags={"debug": "true", "net-raw": "true"}))

    assert {"generation", "proof"} == {c.step for c in found.changes}
    assert 2 == found.generation
    assert not found.restart


def test_a_switch_of_the_release_needs_no_restart():
    found = make(installed(), wanted(runsc_release="20260224.0"))

    assert {"release", "generation", "proof"} == {c.step for c in found.changes}
    assert not found.restart


def test_going_back_takes_the_generation_that_is_there():
    raw = installed()
    raw["tree"]["generations"]["2"] = {"release": "20260224.0", "flags": ""}
    raw["tree"]["current"] = "2"

    assert 1 == make(raw).generation
    assert {"generation", "proof"} == steps(raw)


def test_a_generation_a_killed_run_left_unfinished_is_taken_again():
    raw = installed()
    raw["tree"]["generations"]["2"] = {"release": "20260905.0", "flags": None}

    desired = wanted(runsc_flags={})

    assert 2 == generation_number(desired, NodeState.model_validate(raw))


def test_a_number_that_a_running_pod_recorded_is_never_used_for_something_else():
    raw = installed()
    raw["users"]["pods"] = [{"id": "a", "sandbox": "a", "namespace": "", "name": "", "generation": "7"}]

    assert 8 == generation_number(wanted(runsc_flags={}), NodeState.model_validate(raw))


@pytest.mark.feature("D12")
@pytest.mark.parametrize(
    ("path", "value", "step"),
    [
        ("tree__current", None, "generation"),
        ("tree__files__runsc", None, "files"),
        ("tree__files__runsc.toml", None, "files"),
        ("tree__releases", {}, "release"),
        ("logs", None, "logs"),
        ("containerd__pid", 99999, "proof"),
        ("containerd__start_ticks", 1, "proof"),
        ("journal__sealed", None, "proof"),
    ],
)
def test_drift_is_found_and_named(path, value, step):
    found = make(changed(installed(), **{path: value}))

    assert step in {change.step for change in found.changes}


def test_a_release_whose_files_were_touched_is_placed_again():
    raw = installed()
    raw["tree"]["releases"]["20260905.0"]["runsc"][1] += 1

    assert "its files were changed since they were proved" in {c.why for c in make(raw).changes}


def test_a_dispatcher_with_another_mode_is_written_again():
    raw = installed()
    raw["tree"]["files"]["runsc"]["mode"] = "0644"

    assert "files" in steps(raw)


def test_a_configuration_without_our_handler_is_changed_again():
    raw = installed()
    clean = probe("clean")
    raw["containerd"].update({k: clean["containerd"][k] for k in ("text", "dump", "file")})

    assert {"containerd", "proof"} == steps(raw)


def test_a_configuration_that_somebody_touched_elsewhere_needs_only_a_proof():
    raw = installed()
    raw["containerd"]["file"]["sha256"] = "0" * 64

    assert {"proof"} == steps(raw)


def test_the_mode_of_a_log_directory_that_is_not_ours_is_left_alone():
    raw = installed()
    raw["logs"]["mode"] = "0700"
    assert "logs" in steps(raw)

    raw["journal"]["entries"] = [e for e in raw["journal"]["entries"] if e["path"] != "/var/log/runsc"]
    assert "logs" not in steps(raw)


REFUSED = [
    ({"host__uid": 1000}, "not root on the node", "--become"),
    ({"host__architecture": "riscv64"}, "does not exist for this architecture", "aarch64"),
    ({"host__kernel": "4.19.0-26-amd64"}, "the kernel is too old", "5.6"),
    ({"host__max_user_namespaces": "0"}, "user namespaces are switched off", "sysctl"),
    ({"host__shell": False}, "there is no /bin/sh", "limits"),
    ({"storage__read_only": True}, "/opt/gvisor-nodes cannot be written", "runsc_directory"),
    ({"storage__writable": False}, "/opt/gvisor-nodes cannot be written", "runsc_directory"),
    ({"state_storage__read_only": True}, "/var/lib/gvisor-nodes cannot be written", "node_state_directory"),
    ({"storage__noexec": True}, "cannot be executed", "runsc_directory"),
    ({"storage__free": 5_000_000}, "no space for a release", "free some space"),
    ({"containerd__binary": None}, "there is no containerd", "install containerd"),
    ({"containerd__load": "not-found"}, "not a systemd unit", "containerd_service"),
    ({"containerd__error": "System has not been booted with systemd"}, "not a systemd unit", "containerd_service"),
    ({"containerd__kill_mode": "control-group"}, "would kill every pod", "KillMode=process"),
    ({"containerd__dump": {"rc": 1, "text": "", "error": "toml: line 3: oops"}}, "cannot read its", "repair it first"),
    ({"containerd__dump": None}, "cannot read its configuration", "repair it first"),
    (
        {"containerd__file": {"kind": "directory", "mode": "0755", "uid": 0, "gid": 0}},
        "is a directory",
        "make it a file",
    ),
    ({"containerd__version": "1.5.0"}, "containerd 1.5.0 is not supported", "1.6"),
]


@pytest.mark.feature("E1")
@pytest.mark.parametrize(("paths", "what", "remedy"), REFUSED, ids=[what for _, what, _ in REFUSED])
def test_what_forbids_a_change_is_said_before_it_with_a_remedy(paths, what, remedy):
    found = make(changed(probe("clean"), **paths))

    assert found.refusals
    first = found.refusals[0]
    assert what in f"{first.what} {first.why}"
    assert remedy in first.remedy
    assert not found.restart


@pytest.mark.feature("E5")
def test_a_release_that_cannot_run_on_this_containerd_is_refused_naming_one_that_can():
    state = NodeState.model_validate(changed(probe("clean"), containerd__version="1.6.20~ds1"))
    found = plan(wanted(), state, known=["20260905.0", "20260224.0", "20260209.1"])

    assert "gVisor 20260905.0 does not run on containerd 1.6.20~ds1" == found.refusals[0].what
    assert "--release 20260224.0" in found.refusals[0].remedy
    assert () == found.edits


@pytest.mark.feature("E5")
def test_a_pair_that_is_known_not_to_work_well_is_a_warning_with_a_way_out():
    state = NodeState.model_validate(probe("clean"))
    found = plan(wanted(runsc_release="20260817.0"), state, known=["20260817.0", "20260905.0"])

    assert () == found.refusals
    assert [True] == ["choose gVisor 20260905.0" in text for text in found.warnings]
    assert list(found.warnings) == found.as_data()["warnings"]


def test_space_is_not_asked_for_where_the_release_is_there():
    assert () == make(changed(installed(), storage__free=1000)).refusals


@pytest.mark.parametrize(("name", "value"), [("runsc_directory", "/srv/gvisor"), ("containerd_handler", "gvisor")])
def test_a_node_that_has_it_elsewhere_is_refused_until_it_is_removed_there(name, value):
    found = make(installed(), wanted(**{name: value}))

    assert "installed here with another" in found.refusals[0].what
    assert "remove" in found.refusals[0].remedy


def test_the_last_file_of_a_generation_is_the_switch():
    files = generation_files(wanted(), 3)

    assert "/opt/gvisor-nodes/current" == files[-1]["path"]
    assert "../../releases/20260905.0" == files[1]["target"]
    assert {"/opt/gvisor-nodes/runsc", "/opt/gvisor-nodes/containerd-shim-runsc-v1"} < {f["path"] for f in files}


def test_a_log_directory_is_made_only_where_a_flag_writes_logs():
    clean = NodeState.model_validate(probe("clean"))

    assert [
        "/var/log/runsc",
        "/opt/gvisor-nodes/debug-logs-retention",
        "/etc/systemd/system/gvisor-nodes-logs.service",
        "/etc/systemd/system/gvisor-nodes-logs.timer",
        "/etc/systemd/system/timers.target.wants/gvisor-nodes-logs.timer",
    ] == [file["path"] for file in log_files(wanted(), clean)]
    assert [] == log_files(wanted(runsc_flags={}), clean)
    assert "logs" not in steps(probe("clean"), wanted(runsc_flags={}))


@pytest.mark.feature("F8")
def test_what_keeps_logs_small_stays_when_the_flag_goes():
    off = wanted(runsc_flags={})
    state = NodeState.model_validate(installed())

    assert "/opt/gvisor-nodes/debug-logs-retention" == log_files(off, state)[0]["path"]
    assert "logs" not in steps(installed(), off)
    assert "logs" in steps(changed(installed(), retention__active="inactive"), off)


@pytest.mark.parametrize(
    ("what", "value", "why"),
    [
        ("logs", None, "missing"),
        ("logs__mode", "0700", "its mode is 0700"),
        ("logs__group", "adm", "its group is adm"),
        ("retention__active", "failed", "it is failed"),
        ("retention__active", "", "it is not known to systemd"),
        ("retention__files", {}, "missing"),
    ],
)
def test_debug_logs_that_are_not_as_they_should_be_are_named_and_need_no_restart(what, value, why):
    found = make(changed(installed(), **{what: value}))

    assert why in next(change.why for change in found.changes if change.step == "logs")
    assert {"logs", "proof"} == {change.step for change in found.changes}
    assert not found.restart


def test_a_directory_for_debug_logs_that_was_there_before_keeps_mode_and_group():
    raw = changed(installed(), logs__mode="0711", logs__group="adm", logs__gid=4)
    for entry in raw["journal"]["entries"]:
        if entry["path"] == "/var/log/runsc":
            entry["before"] = {"kind": "directory", "mode": "0711"}

    assert not make(raw).needed


def test_other_limits_are_other_files_and_need_no_restart():
    found = make(installed(), wanted(debug_logs_max_size=2048, debug_logs_interval=10))

    assert {
        "/opt/gvisor-nodes/debug-logs-retention",
        "/etc/systemd/system/gvisor-nodes-logs.timer",
    } == {change.what for change in found.changes if change.step == "logs"}
    assert not found.restart


@pytest.mark.feature("H4")
def test_a_removal_is_refused_while_pods_run_and_names_them():
    raw = installed()
    raw["users"]["pods"] = [
        {"id": "a" * 64, "sandbox": "a" * 64, "namespace": "shop", "name": "cart", "generation": "1"},
        {"id": "b" * 64, "sandbox": "b" * 64, "namespace": "", "name": "", "generation": "1"},
    ]
    refusal = running(NodeState.model_validate(raw))

    assert refusal is not None
    assert "sandbox bbbbbbbbbbbbb, shop/cart" == refusal.why
    assert running(NodeState.model_validate(installed())) is None

    raw["users"] = {"pods": [], "processes": [{"pid": 1, "exe": "/opt/gvisor-nodes/releases/x/runsc"}]}
    assert "1 processes" in running(NodeState.model_validate(raw)).why


def test_under_another_root_there_is_no_daemon_to_prove_or_restart():
    raw = changed(installed(), host__root="/host", containerd__pid=0, containerd__service=None)

    assert not make(raw).needed
    assert {"seal"} == steps(changed(raw, journal__sealed={}, tree__releases=raw["tree"]["releases"])) - {"release"}


def test_a_plan_is_data_for_results():
    data = make(probe("clean")).as_data()

    assert data == json.loads(json.dumps(data))
    assert data["needed"]
    assert data["restart"]


def test_containerds_socket_is_what_its_own_dump_says():
    state = NodeState.model_validate(probe("clean"))

    assert "/run/containerd/containerd.sock" == state.containerd.socket
    other = changed(
        probe("clean"), containerd__dump={"rc": 0, "text": '[grpc]\naddress = "/run/k3s/c.sock"', "error": ""}
    )
    assert "/run/k3s/c.sock" == NodeState.model_validate(other).containerd.socket
    broken = changed(probe("clean"), containerd__dump={"rc": 0, "text": "[", "error": ""})
    assert "/run/containerd/containerd.sock" == NodeState.model_validate(broken).containerd.socket


DROP_IN = "/etc/containerd/conf.d/gvisor-nodes.toml"
DUMPS = DATA / "dumps"


def beside(raw, *, content=True, sealed=True):
    """An installed node of containerd 2.4 whose handler is in a drop-in, from recorded dumps."""
    main = 'version = 2\nimports = ["conf.d/*.toml"]\n'
    clean = changed(
        raw,
        containerd__text=main,
        containerd__version="2.4.2",
        containerd__dump={"rc": 0, "text": (DUMPS / "2.4.2-version-2-imports-before.toml").read_text(), "error": ""},
    )
    if content is True:
        (content, *_) = (edit.content.decode() for edit in make(clean).edits)
    file = {"kind": "file", "mode": "0644", "uid": 0, "gid": 0, "sha256": hashlib.sha256(content.encode()).hexdigest()}
    after = changed(
        clean,
        containerd__drop_in={"path": DROP_IN, "file": file, "text": content},
        containerd__dump={"rc": 0, "text": (DUMPS / "2.4.2-version-2-imports-after.toml").read_text(), "error": ""},
    )
    if sealed:
        after["journal"]["sealed"]["drop_in"] = {"path": DROP_IN, "sha256": file["sha256"]}
    return clean, after


@pytest.mark.feature("B7")
def test_a_main_file_that_imports_a_directory_gets_a_drop_in_and_then_needs_nothing():
    clean, after = beside(installed())

    found = make(clean)
    assert DROP_IN == found.edits[0].drop_in
    assert f"handler runsc in {DROP_IN}" in {change.what for change in found.changes}
    assert found.restart
    assert not make(after).needed


@pytest.mark.feature("D12")
def test_a_drop_in_that_is_gone_or_changed_is_found():
    clean, after = beside(installed())
    gone = changed(clean, containerd__drop_in={"path": DROP_IN, "file": None, "text": None})
    assert {"containerd", "proof"} == steps(gone)

    touched = changed(after, containerd__drop_in__file__sha256="0" * 64)
    (change,) = make(touched).changes
    assert ("proof", f"{DROP_IN} was changed since the last proof") == (change.step, change.why)
    assert {"proof"} == steps(beside(installed(), sealed=False)[1])


def test_a_file_that_containerd_cannot_read_is_refused_in_words_that_help():
    raw = changed(
        probe("clean"),
        containerd__text="version = 3\n",
        containerd__dump={"rc": 1, "text": "", "error": "containerd: unsupported config version `3`"},
    )

    (refusal,) = make(raw).refusals

    assert "version 3, which containerd 1.7 does not know" in refusal.what
