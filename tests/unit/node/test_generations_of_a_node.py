"""The node's record of switches, and the collection: killed at any step it is gone on from, or taken back to the byte."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path

import gvisor_collect
import gvisor_seal
import killed_process
import pytest
from ansible.module_utils.gvisor_generations import SHORTEST_GRACE, Collection, Generations, clock
from ansible.module_utils.gvisor_host import bundle_user, state_directory
from ansible.module_utils.gvisor_journal import Journal, Lease, NodeError, describe

STATE = "/var/lib/gvisor-nodes"
DIRECTORY = "/opt/gvisor-nodes"
NOBODY = {"processes": [], "pods": []}


def tree(root):
    found = {}
    for folder, directories, files in os.walk(root.path):
        for name in [*directories, *files]:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, root.path)] = describe(path)
    return {path: what for path, what in found.items() if not path.startswith("run")}


def file(path, text):
    return {"path": path, "kind": "file", "mode": "0644", "content": base64.b64encode(text.encode()).decode()}


def make(journal, number, release, flags=""):
    base = f"{DIRECTORY}/generations/{number}"
    place(journal, release)
    journal.put({"path": base, "kind": "directory"})
    journal.put({"path": f"{base}/release", "kind": "link", "target": f"../../releases/{release}"})
    journal.put(file(f"{base}/flags", flags))


def place(journal, release):
    path = f"{DIRECTORY}/releases/{release}"
    journal.make_directory(f"{DIRECTORY}/releases")
    journal.announce([f"{path}.incoming"], "directory", tree=True)
    journal.announce([path], "directory", tree=True)
    sidecars = Path(journal.root.real(path)) / "gvisor-bin"
    sidecars.mkdir(parents=True, exist_ok=True)
    (sidecars.parent / "runsc").write_text(release)
    (sidecars / "gvisor_sentry").write_text(release)


def switch(journal, number, **history):
    return Generations(journal, DIRECTORY).switch(file(f"{DIRECTORY}/current", f"{number}\n"), **history)


def seal(journal, number):
    Generations(journal, DIRECTORY).seal(number, 1_700_000_000)
    journal.save()


def age_all(journal, seconds=SHORTEST_GRACE + 1):
    for moment in journal.data["generations"]["retired"].values():
        moment["seconds"] -= seconds
    journal.save()


def collect(journal, generations=(), releases=(), users=NOBODY, keep=1, grace=SHORTEST_GRACE):
    """Run a collection; ``users`` is one answer to who needs what, or a list of answers, one for each look."""
    answers = list(users) if isinstance(users, list) else None
    options = {
        "directory": DIRECTORY,
        "generations": list(generations),
        "releases": list(releases),
        "keep": keep,
        "grace": grace,
        "users": (lambda: answers.pop(0)) if answers else (lambda: users),
    }
    return Collection(journal, options).run()


@pytest.fixture
def journal(root):
    """Three generations, the third current, the second the one to go back to, the first long unused."""
    journal = Journal(root, STATE)
    for number, release in (("1", "20250205.0"), ("2", "20260224.0"), ("3", "20260905.0")):
        make(journal, number, release)
        switch(journal, number)
        seal(journal, number)
    age_all(journal)
    return journal


def listed(root, kind):
    return sorted(os.listdir(root.real(f"{DIRECTORY}/{kind}")))


def test_a_switch_remembers_what_was_current_and_a_switch_back_swaps_the_two(root, journal):
    generations = Generations(journal, DIRECTORY)
    assert ("3", ["2", "1"]) == (generations.current, generations.history)

    assert switch(journal, "2")
    assert ("2", ["3", "1"]) == (generations.current, generations.history)
    assert not switch(journal, "2")

    assert switch(journal, "3")
    assert ("3", ["2", "1"]) == (generations.current, generations.history)
    assert {"1", "2"} == set(journal.data["generations"]["retired"])


def test_what_was_never_proved_is_nothing_to_go_back_to(root, journal):
    make(journal, "4", "20260905.0", "--debug=true\n")
    make(journal, "5", "20260905.0", "--net-raw=true\n")
    switch(journal, "4")
    switch(journal, "5")

    assert ["3", "2", "1"] == Generations(journal, DIRECTORY).history


def test_an_undone_switch_never_was(root, journal):
    generations = Generations(journal, DIRECTORY)
    before = generations.history
    make(journal, "4", "20260905.0", "--debug=true\n")
    switch(journal, "4")

    assert generations.go_back("3", before)
    assert ("3", ["2", "1"]) == (generations.current, generations.history)
    assert "4" in journal.data["generations"]["retired"]
    assert not generations.go_back("3", before)
    assert not generations.go_back("77", before)


@pytest.mark.parametrize("damage", ["generations/2/flags", "generations/2/release", "releases/20260224.0/runsc"])
def test_a_generation_that_is_not_whole_never_becomes_current(root, journal, damage):
    Path(root.real(f"{DIRECTORY}/{damage}")).unlink()

    with pytest.raises(NodeError, match="generation 2 is not whole"):
        switch(journal, "2")

    assert "3\n" == Path(root.real(f"{DIRECTORY}/current")).read_text()


def test_a_node_of_an_older_version_learns_its_generations_at_the_next_seal(root):
    journal = Journal(root, STATE)
    make(journal, "1", "20260224.0")
    make(journal, "2", "20260905.0")
    journal.put(file(f"{DIRECTORY}/current", "2\n"))
    journal.data["sealed"] = {"generation": 2}

    answer = collect(journal, ["1"])
    assert "current was changed by somebody else since the last apply" == answer["kept"]["generations/1"]

    seal(journal, "2")
    assert "less than 10 minutes ago" in collect(journal, ["1"])["kept"]["generations/1"]

    age_all(journal)
    assert ["generations/1"] == collect(journal, ["1"])["collected"]


@pytest.mark.feature("A13")
def test_what_nothing_needs_goes_with_its_release_and_the_journal_forgets_it(root, journal):
    answer = collect(journal, ["1"], ["20250205.0"])

    assert {"collected": ["generations/1", "releases/20250205.0"], "kept": {}} == answer
    assert ["2", "3"] == listed(root, "generations")
    assert ["20260224.0", "20260905.0"] == listed(root, "releases")
    assert not [e["path"] for e in journal.data["entries"] if "/1" in e["path"] or "20250205.0" in e["path"]]
    records = journal.data["generations"]
    assert ["2"] == Generations(journal, DIRECTORY).history
    assert "1" not in {*records["retired"], *records["made"], *records["sealed"]}
    assert 3 == records["last"]


def pod(generation):
    return {"pods": [{"id": "a", "sandbox": "a", "generation": generation}], "processes": []}


def process(exe, generation=""):
    return {"pods": [], "processes": [{"pid": 1, "exe": f"{DIRECTORY}/{exe}", "generation": generation}]}


NEEDED = [
    ("3", {}, NOBODY, "it is current"),
    ("2", {}, NOBODY, "it is kept for a rollback"),
    ("1", {"keep": 2}, NOBODY, "it is kept for a rollback"),
    ("1", {}, pod("1"), "a pod needs it"),
    ("1", {}, process("releases/20260905.0/runsc", "1"), "a process of it runs"),
    ("1", {}, process("releases/20250205.0/runsc"), "a process runs from its release"),
    ("1", {}, process("releases/20250205.0/gvisor-bin/gvisor_sentry"), "a process runs from its release"),
    ("1", {}, process("releases/20250205.0/runsc (deleted)"), "a process runs from its release"),
    ("1", {"grace": 6000}, NOBODY, "it was current less than 100 minutes ago"),
]


@pytest.mark.feature("A13")
@pytest.mark.parametrize(("number", "options", "users", "why"), NEEDED)
def test_what_anything_needs_stays_whatever_the_controller_says(root, journal, number, options, users, why):
    before = tree(root)
    answer = collect(journal, [number], users=users, **options)

    assert {f"generations/{number}": why} == answer["kept"]
    assert [] == answer["collected"]
    assert before == tree(root)


def test_the_ten_minutes_cannot_be_shortened(root, journal):
    journal.data["generations"]["retired"]["1"] = clock()

    assert "less than 10 minutes ago" in collect(journal, ["1"], grace=0)["kept"]["generations/1"]


def test_another_boot_was_long_ago_whatever_the_clocks_say(root, journal):
    journal.data["generations"]["retired"]["1"] = {**clock(), "boot_id": "another"}

    assert ["generations/1"] == collect(journal, ["1"])["collected"]


def test_a_pod_that_starts_between_the_two_looks_gets_its_generation_and_release_back(root, journal):
    before = tree(root)
    answer = collect(journal, ["1"], users=[NOBODY, pod("1"), NOBODY])
    assert {"generations/1": "a pod needs it"} == answer["kept"]

    seen = tree(root)
    assert before.keys() == seen.keys()

    assert ["generations/1"] == collect(journal, ["1"])["collected"]
    running = process("releases/20250205.0.removed/runsc")
    answer = collect(journal, [], ["20250205.0"], users=[NOBODY, NOBODY, running])
    assert {"releases/20250205.0": "a process runs from it"} == answer["kept"]
    assert "20250205.0" in listed(root, "releases")


RELEASES = [
    ("20260224.0", NOBODY, "generation 2 has it"),
    ("20250205.0", NOBODY, "generation 1 has it"),
    ("20260905.0", process("releases/20260905.0/runsc"), "a process runs from it"),
]


@pytest.mark.parametrize(("release", "users", "why"), RELEASES)
def test_a_release_stays_while_a_generation_or_a_process_has_it(root, journal, release, users, why):
    assert {f"releases/{release}": why} == collect(journal, [], [release], users=users)["kept"]


def test_a_release_without_generation_stays_while_a_pods_generation_is_missing(root, journal):
    place(journal, "20240101.0")

    answer = collect(journal, [], ["20240101.0"], users=pod("77"))
    assert "a pod's generation is missing" in answer["kept"]["releases/20240101.0"]
    assert ["releases/20240101.0"] == collect(journal, [], ["20240101.0"])["collected"]


@pytest.mark.parametrize("name", ["../..", "../../etc", ".", "", "notes", "1/release"])
def test_nothing_that_we_did_not_make_is_ever_removed(root, journal, name):
    Path(root.real(f"{DIRECTORY}/releases/notes")).mkdir()
    before = tree(root)
    answer = collect(journal, [name], [name])

    assert [] == answer["collected"]
    assert before == tree(root)


def test_a_generation_into_which_others_put_files_stays(root, journal):
    Path(root.real(f"{DIRECTORY}/generations/1/notes")).write_text("mine")

    assert {"generations/1": "others put files there: notes"} == collect(journal, ["1"])["kept"]


def test_what_killed_runs_left_goes(root, journal):
    for path in ("generations/7", "releases/20240101.0.incoming"):
        journal.make_directory(f"{DIRECTORY}/{path}", tree="incoming" in path)
    Path(root.real(f"{DIRECTORY}/releases/20240101.0.incoming/half")).write_text("x")
    # A release that was placed anew beside its old self, which a kill left under the doomed name.
    Path(root.real(f"{DIRECTORY}/releases/20260905.0.removed")).mkdir()

    answer = collect(journal, ["7"], ["20240101.0.incoming", "20260905.0.removed"])

    assert {} == answer["kept"]
    assert ["1", "2", "3"] == listed(root, "generations")
    assert ["20250205.0", "20260224.0", "20260905.0"] == listed(root, "releases")
    assert journal.entry(f"{DIRECTORY}/releases/20260905.0") is not None


def test_under_another_root_nobody_knows_the_users_and_nothing_goes(root, journal):
    options = {"directory": DIRECTORY, "generations": ["1"], "releases": [], "keep": 1, "grace": 600}

    with pytest.raises(NodeError, match="nothing is collected under another root") as raised:
        Collection(journal, options).run()

    assert raised.value.answer["refused"]


def test_a_seal_remembers_the_files_of_a_release_only_when_it_was_proved(root, call, journal):
    """Else a damaged release would be taken for proved as soon as another one is sealed."""
    Lease(root, "t").acquire("test@host", timeout=0)
    arguments = {"state_directory": STATE, "token": "t", "config": "/etc/containerd/config.toml", "release": False}
    old, new = {"release": "20260224.0", "generation": 2}, {"release": "20260905.0", "generation": 3}
    for seal in (old, new):
        call(gvisor_seal, **arguments, seal={"directory": DIRECTORY, **seal})
    proved = Journal(root, STATE).data["sealed"]["releases"]
    assert {"20260224.0", "20260905.0"} == set(proved)

    Path(root.real(f"{DIRECTORY}/releases/20260224.0/runsc")).write_text("")
    call(gvisor_seal, **arguments, seal={"directory": DIRECTORY, **new})
    assert proved == Journal(root, STATE).data["sealed"]["releases"]

    # A change of containerd's configuration takes the seal away, not what was proved of the releases.
    journal = Journal(root, STATE)
    journal.data["sealed"] = None
    journal.save()
    call(gvisor_seal, **arguments, seal={"directory": DIRECTORY, **new})
    assert proved == Journal(root, STATE).data["sealed"]["releases"]


def test_the_lease_is_given_back_even_where_nothing_could_be_collected(root, call, journal):
    Lease(root, "t").acquire("test@host", timeout=0)
    answer = call(gvisor_collect, state_directory=STATE, token="t", directory=DIRECTORY, generations=["1"])

    assert "nothing is collected under another root than /" == answer["node_error"]["what"]
    Lease(root, "next").acquire("next@host", timeout=0)
    answer = call(gvisor_collect, state_directory=STATE, token="t", directory=DIRECTORY, generations=["1"])
    assert "this run no longer holds the node" == answer["node_error"]["what"]


@pytest.mark.parametrize(
    ("record", "told", "generation", "recorded"),
    [("2\n", "3", "2", True), (None, "3", "3", False), (None, None, "", False)],
)
def test_the_generation_of_a_bundle_is_its_record_or_what_its_shim_was_told(
    tmp_path, record, told, generation, recorded
):
    bundle = tmp_path / "abc"
    bundle.mkdir()
    (bundle / "shim-binary-path").write_text(f"{DIRECTORY}/containerd-shim-runsc-v1")
    if record:
        (bundle / ".gvisor-nodes-generation").write_text(record)
    environment = {"GVISOR_NODES_GENERATION": told} if told else {}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0}
    with subprocess.Popen(["/bin/cat"], env=environment, **pipes) as shim:
        shim.stdin.write(b".")
        assert shim.stdout.read(1) == b"."  # it is itself now: a process that just begins has no environment yet
        (bundle / "shim.pid").write_text(str(shim.pid))
        found = bundle_user(str(bundle), f"{DIRECTORY}/")
        shim.stdin.close()

    assert (generation, recorded) == (found["generation"], found["recorded"])
    (bundle / "shim-binary-path").write_text("/usr/bin/containerd-shim-runc-v2")
    assert (bundle_user(str(bundle), f"{DIRECTORY}/") is None) == (record is None)


@pytest.mark.parametrize("quote", ["'", '"'])
def test_bundles_are_looked_for_where_this_containerd_keeps_them(quote):
    dump = f"root = {quote}/var/lib/x{quote}\nstate = {quote}/run/k3s/containerd{quote}\n[a]\n  state = 'other'\n"

    assert "/run/k3s/containerd" == state_directory({"dump": {"text": dump}})
    assert "/run/containerd" == state_directory({})


KILLED = """
journal = Journal(root, "/var/lib/gvisor-nodes")
if verb == "collect":
    nobody = {"processes": [], "pods": []}
    options = {"directory": "/opt/gvisor-nodes", "keep": 1, "grace": 600, "users": lambda: nobody}
    Collection(journal, {**options, "generations": ["1"], "releases": ["20250205.0"]}).run()
else:
    wanted = {"path": "/opt/gvisor-nodes/current", "kind": "file", "mode": "0644", "content": "Mgo="}
    Generations(journal, "/opt/gvisor-nodes").switch(wanted)
"""


@pytest.fixture
def run_killed_at():
    with killed_process.prepared(KILLED) as run:
        yield run


def install(root):
    journal = Journal(root, STATE)
    for number, release in (("1", "20250205.0"), ("2", "20260224.0"), ("3", "20260905.0")):
        make(journal, number, release)
        switch(journal, number)
        seal(journal, number)
    age_all(journal)
    return journal


@pytest.mark.feature("A13")
@pytest.mark.feature("H5")
@pytest.mark.parametrize("then", ["collect", "remove"])
def test_a_collection_killed_at_any_step_is_finished_by_the_next_or_taken_back(root, run_killed_at, then):
    before = tree(root)
    step = 0
    while True:
        install(root)
        ended = run_killed_at(root, step, "collect")
        if ended == 0:
            break
        assert -9 == ended, step
        journal = Journal(root, STATE)
        assert {"2", "3"} <= set(listed(root, "generations")), step
        if then == "collect":
            # As the next plan sees it: what there is, under whatever name.
            numbers = [n for n in listed(root, "generations") if n.startswith("1")]
            releases = [n for n in listed(root, "releases") if n.startswith("20250205.0")]
            assert {} == collect(journal, numbers, releases)["kept"], step
            assert ["2", "3"] == listed(root, "generations"), step
            assert ["20260224.0", "20260905.0"] == listed(root, "releases"), step
        journal.take_back()
        journal.erase()
        assert before == tree(root), f"after a kill at step {step}"
        step += 1

    Journal(root, STATE).take_back()
    Journal(root, STATE).erase()
    assert before == tree(root)
    assert step > 8


@pytest.mark.feature("H5")
def test_a_switch_killed_at_any_step_leaves_a_history_that_fits_what_is_current(root, run_killed_at):
    before = tree(root)
    step, seen = 0, set()
    while True:
        install(root)
        ended = run_killed_at(root, step, "switch")
        if ended == 0:
            break
        assert -9 == ended, step
        journal = Journal(root, STATE)
        generations = Generations(journal, DIRECTORY)
        seen.add(generations.current)
        assert {"3": ["2", "1"], "2": ["3", "1"]}[generations.current] == generations.history, step
        assert generations.known
        # Whatever is current or to be gone back to now stays.
        assert {"generations/2", "generations/3"} == set(collect(journal, ["2", "3"])["kept"]), step
        # The same again ends as if nothing had happened.
        switch(journal, "2")
        assert ("2", ["3", "1"]) == (generations.current, generations.history), step
        assert json.loads(Path(root.real(f"{STATE}/journal.json")).read_text())["generations"]["last"] == 3
        journal.take_back()
        journal.erase()
        assert before == tree(root), step
        step += 1

    assert {"2", "3"} == seen
    assert step > 2
