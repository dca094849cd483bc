"""Generations: which pods stay on which, what nothing needs, and going back; from probes as nodes give them."""

from __future__ import annotations

import json

import pytest
from probed_node import installed, wanted

from orchestrator.errors import RefusedError
from orchestrator.planning.generations import GRACE_SECONDS, LOST, MISSING, UNKNOWN, history, pods, table
from orchestrator.planning.plan import generation_number, needs, plan
from orchestrator.planning.rollback import choose, plan_rollback, read_target, state_of
from orchestrator.planning.state import NodeState

BOOT = "00000000-0000-0000-0000-000000000001"
NOW = 100_000.0
LONG_AGO = {"boot_id": BOOT, "seconds": NOW - GRACE_SECONDS, "at": 1}
JUST_NOW = {"boot_id": BOOT, "seconds": NOW - GRACE_SECONDS + 1, "at": 1}
BASE = "/opt/gvisor-nodes"


def node(current="3", history=("2", "1")):
    """A probe of a node with three generations: the wanted one is 3, each of a release of its own, 1 and 2 are old."""
    raw = installed()
    raw["host"].update(boot_id=BOOT, boot_seconds=NOW)
    flags = raw["tree"]["generations"]["1"]["flags"]
    releases = {"1": "20250205.0", "2": "20260224.0", "3": "20260905.0"}
    raw["tree"]["generations"] = {n: {"release": r, "flags": flags if n == "3" else ""} for n, r in releases.items()}
    raw["tree"]["current"] = current
    files = raw["tree"]["releases"]["20260905.0"]
    raw["tree"]["releases"] = {release: dict(files) for release in releases.values()}
    raw["journal"]["sealed"].update(generation=int(current), releases={r: dict(files) for r in releases.values()})
    for kind, names in (("generations", "123"), ("releases", releases.values())):
        for name in names:
            raw["journal"]["entries"].append({"path": f"{BASE}/{kind}/{name}", "before": None, "made": "directory"})
    raw["journal"]["generations"] = {
        "current": current,
        "history": list(history),
        "retired": {n: dict(LONG_AGO) for n in history},
        "made": {n: {"at": 1, "release": r, "flags": ""} for n, r in releases.items()},
        "sealed": dict.fromkeys("123", 1_700_000_000),
        "last": 3,
    }
    return raw


def bundle(generation, identity="a", sandbox=None, name="cart", **more):
    return {
        "id": identity,
        "sandbox": sandbox or identity,
        "namespace": "shop",
        "name": name,
        "generation": generation,
    } | more


def make(raw, desired=None):
    return plan(desired or wanted(), NodeState.model_validate(raw))


def collected(raw, desired=None):
    return [one.what for one in make(raw, desired).unused]


def kept(raw, number, desired=None):
    return needs(desired or wanted(), NodeState.model_validate(raw)).why_generation(number)


@pytest.mark.feature("A13")
def test_a_generation_that_nothing_needs_goes_with_its_release_and_the_previous_stays():
    found = make(node())

    assert ["generation 1", "release 20250205.0"] == [change.what for change in found.changes]
    assert {"collect"} == {change.step for change in found.changes}
    assert found.needed


@pytest.mark.feature("A13")
def test_a_collection_alone_needs_no_proof_and_no_restart():
    found = make(node())

    assert not found.installs
    assert not found.restart
    assert {"needed": True, "installs": False, "collects": True}.items() <= found.as_data().items()


@pytest.mark.feature("A15")
def test_right_after_a_switch_there_is_nothing_to_do():
    raw = node()
    raw["journal"]["generations"]["retired"] = {"1": JUST_NOW, "2": JUST_NOW}

    assert not make(raw).needed


STAYS = {
    "a pod's sandbox": ("users", {"processes": [], "pods": [bundle("1")]}, "1 pod needs it"),
    "a pod's container only": (
        "users",
        {"processes": [], "pods": [bundle("3"), bundle("1", "b", sandbox="a")]},
        "1 pod needs it",
    ),
    "a process of its release": (
        "users",
        {"processes": [{"pid": 7, "exe": f"{BASE}/releases/20250205.0/runsc (deleted)"}], "pods": []},
        "a process runs from its release",
    ),
    "a process that was told": (
        "users",
        {"processes": [{"pid": 7, "exe": f"{BASE}/releases/20260905.0/runsc", "generation": "1"}], "pods": []},
        "a process of it runs",
    ),
}


@pytest.mark.feature("A13")
@pytest.mark.parametrize("case", STAYS)
def test_what_a_pod_or_a_process_needs_stays(case):
    part, value, why = STAYS[case]
    raw = node()
    raw[part] = value

    assert [] == collected(raw)
    assert why == kept(raw, "1")


def test_a_generation_stays_for_ten_minutes_after_it_was_current_by_a_clock_that_nobody_sets():
    raw = node()
    raw["journal"]["generations"]["retired"]["1"] = JUST_NOW
    assert [] == collected(raw)

    # The wall clock jumps; it is not looked at.
    raw["journal"]["generations"]["retired"]["1"] = {**JUST_NOW, "at": -(10**9)}
    assert [] == collected(raw)

    raw["journal"]["generations"]["retired"]["1"] = {**JUST_NOW, "boot_id": "another boot"}
    assert ["generation 1", "release 20250205.0"] == collected(raw)


def test_a_generation_whose_end_nobody_recorded_stays():
    raw = node()
    del raw["journal"]["generations"]["retired"]["1"]

    assert [] == collected(raw)
    assert "when it was current last is not known" == kept(raw, "1")


def test_nothing_goes_while_current_is_not_what_we_made_it():
    raw = node()
    raw["journal"]["generations"]["current"] = "2"

    assert [] == collected(raw)
    assert "current was changed by somebody else since the last apply" == kept(raw, "1")


def test_a_switch_that_was_killed_after_its_rename_counts():
    raw = node()
    raw["journal"]["generations"].update(current="2", history=["1"], next={"current": "3", "history": ["2", "1"]})

    assert ["2", "1"] == history(NodeState.model_validate(raw))
    assert ["generation 1", "release 20250205.0"] == collected(raw)


@pytest.mark.parametrize(("keep", "gone"), [(0, ["1", "2"]), (1, ["1"]), (2, [])])
def test_as_many_stay_for_a_rollback_as_are_wanted(keep, gone):
    found = collected(node(), wanted(runsc_keep_generations=keep))

    assert [f"generation {number}" for number in gone] == [what for what in found if "generation" in what]


def test_what_is_kept_for_a_rollback_is_told_as_it_will_be_after_the_switch():
    found = make(node(), wanted(runsc_flags={}))

    assert 4 == found.generation
    # 3 will be the previous one; 2 was, and is no more.
    assert ["generation 1", "generation 2"] == [one.what for one in found.unused if one.kind == "generations"]
    assert found.installs


def test_going_back_by_apply_collects_nothing_that_it_is_about_to_use():
    found = make(node(), wanted(runsc_release="20250205.0", runsc_flags={}))

    assert 1 == found.generation
    assert ["generation 2", "release 20260224.0"] == [one.what for one in found.unused]


def test_a_number_is_never_given_twice_even_when_nothing_of_it_is_left():
    raw = node()
    del raw["tree"]["generations"]["3"]

    assert 4 == generation_number(wanted(), NodeState.model_validate(raw))


def test_a_release_that_another_generation_has_stays():
    raw = node()
    raw["tree"]["generations"]["1"]["release"] = "20260224.0"
    raw["tree"]["releases"].pop("20250205.0")

    assert ["generation 1"] == collected(raw)


def test_what_killed_runs_left_goes_whatever_it_is_called():
    raw = node(history=("2",))
    raw["tree"]["generations"]["9"] = {"release": "20260905.0", "flags": None}
    raw["tree"]["generations"]["1.removed"] = raw["tree"]["generations"].pop("1")
    raw["tree"]["releases"]["20240101.0.incoming"] = {}
    raw["journal"]["entries"] += [
        {"path": f"{BASE}/generations/9", "before": None, "made": "directory"},
        {"path": f"{BASE}/releases/20240101.0.incoming", "before": None, "made": "directory"},
    ]

    found = {one.what: one.why for one in make(raw).unused}
    left = "left by a run that did not end"
    assert left == found["generation 9"]
    assert left == found["generation 1.removed"]
    assert left == found["release 20240101.0.incoming"]
    assert "no generation that stays has it" == found["release 20250205.0"]


def test_half_of_the_wanted_release_is_left_to_the_step_that_places_it():
    raw = node()
    raw["tree"]["releases"]["20260905.0.incoming"] = {}

    assert "release 20260905.0.incoming" not in collected(raw)


def test_the_old_self_of_a_release_that_was_placed_anew_goes():
    raw = node(history=("2", "1"))
    raw["tree"]["releases"]["20260905.0.removed"] = {}
    assert "release 20260905.0.removed" in collected(raw)

    raw["users"]["processes"] = [{"pid": 7, "exe": f"{BASE}/releases/20260905.0.removed/runsc"}]
    assert "release 20260905.0.removed" not in collected(raw)


def test_what_others_put_there_stays():
    raw = node()
    raw["tree"]["releases"]["mine"] = {}
    raw["tree"]["generations"]["backup"] = {"release": None, "flags": None}
    raw["tree"]["generations"]["1"]["strangers"] = ["notes"]

    assert [] == collected(raw)
    assert "others put files there: notes" == kept(raw, "1")


def test_a_refused_node_and_another_root_lose_nothing():
    refused = node()
    refused["host"]["uid"] = 1000
    assert [] == collected(refused)

    elsewhere = node()
    elsewhere["host"]["root"] = "/host"
    assert [] == collected(elsewhere)


@pytest.mark.feature("A12")
def test_a_plan_names_the_pods_that_stay_on_another_generation():
    raw = node()
    raw["users"]["pods"] = [
        bundle("2", "c" * 64, name="till"),
        bundle("2", "d" * 64, sandbox="c" * 64, name="till"),
        bundle("3", "e" * 64, name="new"),
    ]
    found = make(raw).as_data()["pods"]

    assert [("shop", "till", "2", "20260224.0", [])] == [
        (pod["namespace"], pod["name"], pod["generation"], pod["release"], pod["flags"]) for pod in found
    ]
    assert not any(pod["note"] for pod in found)


def test_a_pod_is_counted_once_however_many_containers_it_has():
    raw = node()
    raw["users"]["pods"] = [bundle("2", "a"), bundle("2", "b", sandbox="a"), bundle("2", "c", sandbox="a", name="")]
    state = NodeState.model_validate(raw)

    assert ["shop/cart"] == [pod.title for pod in pods(state)]
    assert {"3": 0, "2": 1, "1": 0} == {row["generation"]: row["pods"] for row in table(needs(wanted(), state))}


@pytest.mark.feature("A12")
def test_pods_whose_generation_was_deleted_are_told_with_what_it_was():
    raw = node()
    raw["users"]["pods"] = [bundle("1")]
    del raw["tree"]["generations"]["1"]
    (pod,) = make(raw).stays

    assert ("1", "20250205.0", MISSING) == (pod.generation, pod.release, pod.note)
    # Its release may be what is needed to put it back, so it stays.
    assert [] == collected(raw)
    (row,) = [row for row in table(needs(wanted(), NodeState.model_validate(raw))) if row["generation"] == "1"]
    assert ("missing on the node", 1) == (row["kept"], row["pods"])


@pytest.mark.parametrize(("generation", "note"), [("3", LOST), ("", UNKNOWN)])
def test_pods_that_lost_their_record_are_told(generation, note):
    raw = node()
    raw["users"]["pods"] = [bundle(generation, recorded=False)]
    (pod,) = make(raw).stays

    assert note == pod.note


def test_the_table_says_of_every_generation_what_it_is_and_why_it_is_kept():
    raw = node()
    rows = table(needs(wanted(), NodeState.model_validate(raw)))

    assert rows == json.loads(json.dumps(rows))
    assert [("3", True, False, "current"), ("2", False, True, "kept for a rollback"), ("1", False, False, "")] == [
        (row["generation"], row["current"], row["previous"], row["kept"]) for row in rows
    ]
    assert {1_700_000_000} == {row["proved"] for row in rows}


# Going back ------------------------------------------------------------------------------------------------------------


def back(raw, number=0, desired=None):
    state = NodeState.model_validate(raw)
    target = choose(state, number)
    found = state_of(desired or wanted(), target)
    return target, found, plan_rollback(found, state, target)


def test_a_rollback_goes_to_the_previous_generation_and_proves_that_one():
    target, desired, found = back(node())

    assert (2, "20260224.0", ()) == (target.number, desired.release, desired.flags)
    assert ["generation", "proof"] == [change.step for change in found.changes]
    assert not found.restart
    assert () == found.unused
    assert target == read_target(json.loads(json.dumps(target.as_data())))


def test_what_a_rollback_seals_is_not_what_the_inventory_wants():
    raw = node()
    _, desired, _ = back(raw)
    assert wanted().fingerprint != desired.fingerprint

    raw["tree"]["current"] = "2"
    raw["journal"]["sealed"]["fingerprint"] = desired.fingerprint
    raw["journal"]["generations"].update(current="2", history=["3", "1"])
    after = make(raw)
    assert {"generation", "proof"} <= {change.step for change in after.changes}
    assert "the current one is release 20260224.0, wanted is 20260905.0" in {change.why for change in after.changes}
    # Whoever wants what was gone back to has nothing to do.
    assert not make(raw, wanted(runsc_release="20260224.0", runsc_flags={})).installs


def test_a_rollback_of_a_rollback_goes_forward_again():
    raw = node(current="2", history=("3", "1"))

    assert 3 == back(raw)[0].number


def test_a_generation_with_a_flag_of_nvidia_wants_nvidia():
    raw = node()
    raw["tree"]["generations"]["2"]["flags"] = "--nvproxy=true\n"
    with pytest.raises(RefusedError, match="no NVIDIA driver is loaded"):
        back(raw)

    version = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.172.08  x\n"
    raw["nvidia"] |= {"proc": version, "devices": ["0000:01:00.0"], "files": ["nvidiactl", "nvidia-uvm"]}
    raw["nvidia"]["params_readable"] = True
    assert back(raw)[1].nvproxy


def test_any_generation_can_be_named():
    assert 1 == back(node(), 1)[0].number
    assert not back(node(), 3)[2].needed


def test_a_generation_that_is_current_and_was_never_proved_is_proved():
    raw = node()
    raw["journal"]["sealed"]["fingerprint"] = "of another"
    found = back(raw, 3)[2]

    assert ["proof"] == [change.step for change in found.changes]
    assert found.installs


def damaged(raw):
    raw["tree"]["releases"]["20260224.0"]["runsc"] = [1, 2, "0755"]


def gone(raw):
    del raw["tree"]["generations"]["2"]


REFUSED = {
    "no journal": (lambda raw: raw.update(journal=None), "not installed here", "apply"),
    "no history": (
        lambda raw: raw["journal"]["generations"].update(history=[]),
        "no generation to go back to",
        "gvisor-nodes apply with the release and flags",
    ),
    "gone": (gone, "generation 2 is not on the node", "gvisor-nodes apply --release 20260224.0 makes it anew"),
    "damaged": (damaged, "release 20260224.0 of generation 2 cannot be trusted", "apply --release 20260224.0"),
    "drift": (
        lambda raw: raw["tree"]["files"].update(runsc=None),
        "the node is not as it was left",
        "gvisor-nodes apply repairs it",
    ),
    "not root": (lambda raw: raw["host"].update(uid=1000), "not root on the node", "--become"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_rollback_that_cannot_be_is_refused_with_a_remedy(case):
    damage, what, remedy = REFUSED[case]
    raw = node()
    damage(raw)

    with pytest.raises(RefusedError) as raised:
        back(raw)

    assert what in raised.value.what
    assert remedy in raised.value.remedy
    assert raised.value.why


def test_a_number_that_never_was_is_refused_and_the_others_are_named():
    with pytest.raises(RefusedError) as raised:
        back(node(), 77)

    assert "there are 1, 2, 3" == raised.value.why


def test_the_remedy_for_a_lost_generation_names_its_flags_but_not_the_path_that_debug_brings():
    raw = node()
    flags = "--debug-log=/var/log/runsc/%ID%/%COMMAND%-gvisor.log\n--debug=true\n"
    raw["journal"]["generations"]["made"]["2"]["flags"] = flags
    gone(raw)

    with pytest.raises(RefusedError) as raised:
        back(raw)

    assert "gvisor-nodes apply --release 20260224.0 --flag debug=true makes it anew" == raised.value.remedy
