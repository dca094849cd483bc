"""What a change does to the GPUs of a node: refused before the switch, or said, and by whose word."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.planning import gpu
from orchestrator.planning.desired import read_variables
from orchestrator.planning.plan import plan
from orchestrator.planning.state import NodeState

CLEAN = json.loads((Path(__file__).parent / "data" / "probe-clean.json").read_text())
OLD_LIST = "535.183.01\n550.54.14\n570.86.15\n"
NEW_LIST = "535.183.06\n550.90.12\n570.172.08\n"
KNOWN = ("20250205.0", "20260224.0", "20260905.0")


def wanted(release="20260905.0", **flags):
    return read_variables({"runsc_release": release, "runsc_flags": flags}, "20260209.1")[0]


def node(
    driver, *, module=None, params=True, files=("nvidiactl", "nvidia-uvm", "nvidia0"), gpus=1, lists=None, now=None
):
    """A node with a driver, releases on it with their lists, and a current generation ``now`` = (release, flags)."""
    text = f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {driver}  Release Build\n"
    nvidia = {
        "proc": text if driver else None,
        "module": f"{module or driver}\n" if driver else None,
        "params_readable": params,
        "devices": [f"0000:0{n}:00.0" for n in range(gpus)],
        "files": list(files),
        "supported": lists or {},
    }
    tree = CLEAN["tree"]
    if now:
        tree = {**tree, "current": "1", "generations": {"1": {"release": now[0], "flags": now[1]}}}
    return NodeState.model_validate({**CLEAN, "nvidia": nvidia, "tree": tree})


def effects(found):
    return [one.effect for one in found]


def without_driver(**host):
    bare = node(None, params=False, files=(), gpus=0)
    return bare.model_copy(update={"host": bare.host.model_copy(update=host)})


def test_a_node_without_a_driver_has_nothing_to_say_where_nobody_wants_the_flag():
    assert [] == gpu.findings(wanted(), without_driver())
    assert [] == gpu.findings(wanted(nvproxy="false"), without_driver())


@pytest.mark.feature("E6")
def test_with_the_flag_a_node_without_a_driver_is_refused_because_no_sandbox_would_start():
    (found,) = gpu.findings(wanted(nvproxy="true"), without_driver())

    assert "refuse" == found.effect
    assert "no NVIDIA driver is loaded" in found.what
    assert "/dev/nvidiactl" in found.why
    assert "leave nvproxy out" in found.remedy
    assert [found.what] == [one.what for one in plan(wanted(nvproxy="true"), without_driver()).refusals]


@pytest.mark.feature("E6")
def test_a_driver_that_is_told_is_asked_of_no_device():
    told = read_variables(
        {
            "runsc_release": "20260905.0",
            "runsc_flags": {"nvproxy": "true", "nvproxy-driver-version": "latest"},
            "runsc_flags_policy": {"allow": {"nvproxy-driver-version": ["latest"]}},
        },
        "20260209.1",
    )[0]

    assert [] == gpu.findings(told, without_driver())
    assert "refuse" not in effects(gpu.findings(told, node("570.172.08", files=("nvidia-uvm",)), target=NEW_LIST))


@pytest.mark.feature("E6")
def test_in_a_tree_that_is_not_running_the_flag_is_only_warned_of():
    image = without_driver(root="/srv/image", live=False)

    assert ["warn"] == effects(gpu.findings(wanted(nvproxy="true"), image))
    assert ["refuse"] == effects(gpu.findings(wanted(nvproxy="true"), without_driver(root="/host", live=True)))


@pytest.mark.feature("E6")
def test_in_a_tree_that_is_not_running_an_unsupported_driver_is_refused_also_without_device_files():
    there = node("999.1.1", files=())
    image = there.model_copy(update={"host": there.host.model_copy(update={"root": "/srv/image", "live": False})})

    assert ["warn", "refuse"] == effects(gpu.findings(wanted(nvproxy="true"), image, target=NEW_LIST))


@pytest.mark.feature("E6")
@pytest.mark.parametrize(("driver", "refused"), [("570.172.08", False), ("570.86.15", True), ("999.1.1", True)])
def test_with_the_flag_the_release_must_support_the_driver(driver, refused):
    found = gpu.findings(wanted(nvproxy="true"), node(driver), target=NEW_LIST, known=KNOWN)

    assert (["refuse"] if refused else []) == effects(found)
    if refused:
        assert "runsc 20260905.0" in found[0].what
        assert "install driver 570.172.08" in found[0].remedy


@pytest.mark.feature("E6")
def test_a_refused_driver_is_told_which_known_releases_support_it():
    (found,) = gpu.findings(wanted(nvproxy="true"), node("570.86.15"), target=NEW_LIST, known=KNOWN)

    assert "(20260224.0, 20250205.0)" in found.remedy


@pytest.mark.feature("E8")
def test_a_switch_that_drops_a_driver_in_use_says_so():
    state = node("570.86.15", lists={"20250205.0": OLD_LIST}, now=("20250205.0", "--nvproxy=true\n"))
    (found,) = gpu.findings(wanted(nvproxy="true"), state, target=NEW_LIST)

    assert "refuse" == found.effect
    assert "runsc 20250205.0, which is in use, supports it" == found.why


@pytest.mark.feature("E8")
@pytest.mark.parametrize(
    ("flags", "wish", "expected"),
    [
        ("--nvproxy=true\n", {}, ["refuse"]),
        ("--nvproxy=true\n", {"nvproxy": "false"}, ["warn"]),
        ("--net-raw=true\n", {}, []),  # without the flag 20250205.0 runs no GPU container
    ],
)
def test_without_the_flag_a_drop_is_refused_where_the_current_generation_has_it(flags, wish, expected):
    state = node("570.86.15", lists={"20250205.0": OLD_LIST}, now=("20250205.0", flags))
    found = gpu.findings(wanted(**wish), state, target=NEW_LIST)

    assert expected == effects(found)
    if expected == ["refuse"]:
        assert "would drop this node's NVIDIA driver 570.86.15" in found[0].what
        assert "nvproxy: false" in found[0].remedy


@pytest.mark.feature("E8")
def test_a_release_that_switches_nvproxy_on_by_itself_is_warned_of_without_any_flag():
    state = node("570.86.15", lists={"20260701.0": OLD_LIST}, now=("20260701.0", ""))
    (found,) = gpu.findings(wanted(), state, target=NEW_LIST)

    assert "warn" == found.effect
    assert "runsc 20260701.0 does" in found.why


def test_a_drop_that_is_none_is_not_told():
    broken = node("999.1.1", lists={"20250205.0": OLD_LIST}, now=("20250205.0", "--nvproxy=true\n"))
    kept = node("570.86.15", lists={"20250205.0": OLD_LIST}, now=("20250205.0", "--nvproxy=true\n"))

    assert [] == gpu.findings(wanted(), broken, target=NEW_LIST)
    assert [] == gpu.findings(wanted(), kept, target=OLD_LIST)


def test_the_copy_on_the_node_counts_where_nobody_asked_another():
    state = node("570.86.15", lists={"20260905.0": NEW_LIST})

    assert ["refuse"] == effects(gpu.findings(wanted(nvproxy="true"), state))
    assert [] == gpu.findings(wanted(nvproxy="true"), state, target=OLD_LIST)


@pytest.mark.feature("E8")
@pytest.mark.parametrize(
    ("driver", "release", "warned"),
    [
        ("550.54.14", "20260905.0", True),
        ("570.86.15", "20260224.0", False),
        ("580.178.04", "20261005.0", False),  # later than the data
    ],
)
def test_where_the_release_is_not_at_hand_the_data_predicts_and_only_warns(driver, release, warned):
    found = gpu.findings(wanted(release, nvproxy="true"), node(driver))

    assert (["warn"] if warned else []) == effects(found)
    assert all("own list decides" in one.remedy for one in found)


@pytest.mark.feature("E8")
def test_a_prediction_of_a_drop_is_told_without_the_flag_only_where_gpus_are_used():
    lists = {"20250205.0": "550.54.14\n"}

    used = node("550.54.14", lists=lists, now=("20250205.0", "--nvproxy=true\n"))
    idle = node("550.54.14", lists=lists, now=("20250205.0", ""))

    assert ["warn"] == effects(gpu.findings(wanted(), used))
    assert [] == gpu.findings(wanted(), idle)


@pytest.mark.feature("E6")
def test_a_pending_reboot_is_refused_without_any_list():
    (found,) = gpu.findings(wanted(nvproxy="true"), node("570.172.08", module="580.65.06"))

    assert "refuse" == found.effect
    assert "570.172.08" in found.what
    assert "580.65.06" in found.what
    assert "reboot" in found.remedy
    assert [] == gpu.findings(wanted(), node("570.172.08", module="580.65.06"))


def test_a_pending_reboot_is_no_drop_where_nobody_wants_the_flag():
    state = node(
        "570.86.15", module="570.172.08", lists={"20250205.0": OLD_LIST}, now=("20250205.0", "--nvproxy=true\n")
    )

    assert [] == gpu.findings(wanted(), state, target=OLD_LIST)


@pytest.mark.feature("E7")
def test_parameters_that_cannot_be_read_are_refused_with_the_flag():
    (found,) = gpu.findings(wanted(nvproxy="true"), node("570.172.08", params=False), target=NEW_LIST)

    assert "refuse" == found.effect
    assert "/proc/driver/nvidia/params" in found.what
    assert [] == gpu.findings(wanted(), node("570.172.08", params=False), target=NEW_LIST)


@pytest.mark.feature("E7")
@pytest.mark.parametrize(
    ("change", "effect", "text"),
    [
        ({"gpus": 0}, "warn", "names no GPU"),
        ({"files": ("nvidiactl", "nvidia0")}, "warn", "/dev/nvidia-uvm is missing"),
        ({"files": ("nvidia0", "nvidia-uvm")}, "refuse", "no sandbox would start"),
        ({"files": ()}, "refuse", "no sandbox would start"),
    ],
)
def test_without_the_drivers_own_device_no_sandbox_starts_and_others_are_made_on_demand(change, effect, text):
    (found,) = gpu.findings(wanted(nvproxy="true"), node("570.172.08", **change), target=NEW_LIST)

    assert effect == found.effect
    assert text in str(found)
    assert [] == gpu.findings(wanted(), node("570.172.08", **change), target=NEW_LIST)


def test_a_plan_refuses_for_a_gpu_before_anything_else_is_done():
    state = node("570.172.08", params=False)
    found = plan(wanted(nvproxy="true"), state)

    assert ["/proc/driver/nvidia/params cannot be read"] == [one.what for one in found.refusals]
    assert () == found.edits


def test_a_directory_that_is_no_release_of_ours_is_no_reason_to_fail():
    state = node("570.86.15", lists={}, now=("adopted-1f2e", ""))

    assert [] == gpu.findings(wanted(), state, target=NEW_LIST)
