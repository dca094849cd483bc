"""Rules of a run, each shown on a real ansible-playbook."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.errors import GvisorNodesError, InvalidInputError, MissingComponentError
from orchestrator.execution import processes
from orchestrator.execution.content import locate
from orchestrator.execution.results import RunResult
from orchestrator.execution.runner import Options, run


def task(step, status, **more):
    return {"name": f"Do {step}", "answer": {"step": step, "status": status, **more}}


def leftovers():
    # Of this process: other workers and other runs on the machine have theirs.
    return {path.name for path in Path("/dev/shm").iterdir() if path.name.startswith(f"gvn-{os.getpid()}-")}


@pytest.fixture(scope="module")
def mixed(make_content, make_inventory, closed_port):
    """One run in which every host fares differently."""
    content = make_content(
        mixed=[
            task("probe", "ok", data={"plan": {"needed": True}, "state": {"x": [1]}})
            | {"when": "fate in ('ok', 'gone')"},
            task("gate", "refused", message="pods use it", cause="pod a", remedy="drain")
            | {"when": "fate == 'refused'"},
            task("input", "invalid", message="bad value") | {"when": "fate == 'invalid'"},
            task("install", "changed", message="placed") | {"when": "fate in ('changed', 'late')"},
            task("late gate", "refused", message="too late") | {"when": "fate == 'late'"},
            {"name": "Break", "ansible.builtin.fail": {"msg": "broken"}, "when": "fate == 'failed'"},
            {
                "name": "May fail",
                "ansible.builtin.command": "false",
                "ignore_errors": True,
                "changed_when": False,
                "when": "fate == 'ignored'",
            },
            task("quiet", "failed", message="said so") | {"when": "fate == 'quiet'", "failed_when": False},
            {
                "name": "Guarded",
                "when": "fate == 'rescued'",
                "block": [task("try", "failed", message="no")],
                "rescue": [task("undo", "ok", message="undone")],
            },
            task("report", "ok", message="done", data={"restarts": 0})
            | {"when": "fate in ('ok', 'ignored', 'rescued')"},
        ]
    )
    fates = ("ok", "changed", "refused", "invalid", "late", "failed", "ignored", "quiet", "rescued")
    hosts = {f"h-{fate}": {"ansible_connection": "local", "fate": fate} for fate in fates}
    hosts["h-gone"] = {**closed_port, "fate": "gone"}
    events = []
    result = run("mixed", make_inventory(**hosts), content=content, on_event=events.append, options=Options(forks=4))
    return result, events


@pytest.mark.parametrize(
    ("fate", "outcome"),
    [
        ("ok", "ok"),
        ("changed", "changed"),
        ("refused", "refused"),
        ("invalid", "invalid"),
        ("late", "failed"),
        ("failed", "failed"),
        ("ignored", "ok"),
        ("quiet", "failed"),
        ("rescued", "ok"),
        ("gone", "unreachable"),
    ],
)
def test_every_host_has_the_outcome_of_its_own_steps(mixed, fate, outcome):
    result, _events = mixed

    assert outcome == result.hosts[f"h-{fate}"].outcome


@pytest.mark.feature("J7")
def test_an_unreachable_host_is_a_failure_with_the_words_of_ssh(mixed):
    result, _events = mixed
    step = result.hosts["h-gone"].failure

    assert (step.step, step.status) == ("connect", "unreachable")
    assert "Connection refused" in step.cause
    assert "sshd" in step.remedy
    assert result.exit_code == 3


def test_a_refusal_carries_what_why_and_what_to_do(mixed):
    result, _events = mixed
    step = result.hosts["h-refused"].failure

    assert (step.step, step.message, step.cause, step.remedy) == ("gate", "pods use it", "pod a", "drain")


def test_the_data_of_steps_are_found_under_their_names(mixed):
    result, _events = mixed
    data = result.hosts["h-ok"].data

    assert data["probe"] == {"plan": {"needed": True}, "state": {"x": [1]}}
    assert data["report"] == {"restarts": 0}


def test_events_come_in_order_and_name_host_and_step(mixed):
    _result, events = mixed
    own = [(event.step, event.status) for event in events if event.host == "h-ok"]

    assert own[0] == ("Do probe", "started")
    assert own.index(("Do probe", "started")) < own.index(("probe", "ok")) < own.index(("report", "ok"))


SECRET = "correct-horse-battery"  # noqa: S105 - it is looked for below
VALUE = {"text": "a 'b' \"c\" $(d) `e` ; # \\ ü", "list": ["x", 1, True, None], "number": "1.10"}
LOOK = f"""
import glob, os, sys
needle = {SECRET[::-1]!r}[::-1].encode()
found, modes = [], []
for pattern in ('cmdline', 'environ'):
    for path in glob.glob('/proc/[0-9]*/' + pattern):
        try:
            if needle in open(path, 'rb').read(): found.append(path)
        except OSError: pass
run = os.environ['GVISOR_NODES_RUN']
for base, names, files in os.walk(run):
    paths = [os.path.join(base, n) for n in names + files]
    modes += [p for p in paths if os.lstat(p).st_mode & 0o077 and not os.path.islink(p)]
print(found, oct(os.stat(run).st_mode & 0o777), modes)
print(*(f'{{name}}={{value}}' for name, value in os.environ.items()), sep='\\n')
"""


@dataclass
class Ordinary:
    result: RunResult
    before: set[str]
    after: set[str]
    marked: set[int]


@pytest.fixture(scope="module")
def ordinary(make_content, make_inventory, tmp_path_factory):
    """One run that goes well, with a secret, with variables of its caller's, and with a slow receiver of its events."""
    looker = tmp_path_factory.mktemp("looker") / "look"
    looker.write_text(LOOK)
    content = make_content(
        one=[
            {"name": "Use", "ansible.builtin.set_fact": {"x": "{{ token | length }}"}},
            {"name": "Look", "ansible.builtin.command": f"/usr/bin/python3 {looker}", "register": "seen"},
            task("tell", "ok", message="{{ seen.stdout_lines[0] }}", data={"got": "{{ value }}"}),
            task("environment", "ok", message="{{ seen.stdout }}"),
            *(task(f"bulk {n}", "ok", data={"bulk": "x" * 200_000}) for n in range(3)),
        ]
    )
    gate = threading.Event()
    before = leftovers()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANSIBLE_STRATEGY", "nonsense")
        patch.setenv("PRIVATE_TOKEN", "x")
        result = run(
            "one", make_inventory(a=None), content=content, extra_vars={"token": SECRET, "value": VALUE},
            options=Options(become_password=SECRET), on_event=lambda event: gate.wait(0.3) if "bulk" in event.step else None,
        )  # fmt: skip
    return Ordinary(result, before, leftovers(), processes.marked(f"gvn-{os.getpid()}-"))


def message(ordinary, step):
    return next(one.message for one in ordinary.result.hosts["a"].steps if one.step == step)


@pytest.mark.feature("J8")
def test_nothing_of_a_run_is_left(ordinary):
    assert ordinary.result.hosts["a"].outcome == "changed"
    assert ordinary.after <= ordinary.before
    assert not ordinary.marked


@pytest.mark.feature("J8")
def test_secrets_are_in_no_argument_no_environment_no_result_and_no_file(ordinary):
    assert message(ordinary, "tell") == "[] 0o700 []"
    assert SECRET not in repr(ordinary.result)
    assert SECRET not in repr(Options(become_password=SECRET))


def test_the_configuration_is_ours_and_not_the_callers(ordinary):
    environment = message(ordinary, "environment")

    assert "PRIVATE_TOKEN" not in environment
    assert "ANSIBLE_STRATEGY" not in environment
    assert "ANSIBLE_HOST_KEY_CHECKING=True" in environment


def test_values_reach_the_playbook_as_they_are(ordinary):
    assert {"got": VALUE} == ordinary.result.hosts["a"].data["tell"]


def test_a_slow_receiver_of_events_does_not_break_the_run(ordinary):
    assert ["bulk 0", "bulk 1", "bulk 2"] == [step.step for step in ordinary.result.hosts["a"].steps][-3:]


@pytest.mark.parametrize("value", ["{{ 1 }}", "a{% b", "{# c", ["{{ x }}"], {"k": {"n": "{{ x }}"}}, {"{{ k }}": 1}])
def test_a_value_that_looks_like_a_template_is_refused_before_anything_runs(make_content, value):
    with pytest.raises(InvalidInputError, match="the value of"):
        run("one", "localhost,", content=make_content(one=[]), extra_vars={"v": value})


def test_no_matching_host_is_invalid_input(make_content, make_inventory):
    content, inventory = make_content(one=[task("x", "ok")]), make_inventory(a=None)

    with pytest.raises(InvalidInputError, match="has no host"):
        run("one", inventory, content=content, options=Options(limit="nobody"))
    with pytest.raises(InvalidInputError, match="has no host"):
        run("one", make_inventory(), content=content)


def test_an_inventory_that_cannot_be_parsed_is_invalid_input(make_content, tmp_path):
    (tmp_path / "bad.yml").write_text("all: [unclosed\n")

    with pytest.raises(InvalidInputError, match="cannot be read") as caught:
        run("one", tmp_path / "bad.yml", content=make_content(one=[]))

    assert "YAML parsing failed" in caught.value.why


def test_an_inventory_that_is_not_there_is_invalid_input(make_content, tmp_path):
    with pytest.raises(InvalidInputError, match="there is no inventory"):
        run("one", tmp_path / "none", content=make_content(one=[]))
    with pytest.raises(InvalidInputError, match="no inventory is given"):
        run("one", [], content=make_content(one=[]))


def test_a_broken_playbook_is_an_error_with_the_words_of_ansible(make_content, make_inventory):
    content = make_content(one=[{"name": "X", "nosuchmodule": {}}])

    with pytest.raises(GvisorNodesError) as caught:
        run("one", make_inventory(a=None), content=content)

    assert caught.value.exit_code == 1
    assert "nosuchmodule" in caught.value.why


def test_an_unknown_playbook_is_an_error(make_content):
    with pytest.raises(GvisorNodesError, match="there is no playbook two"):
        run("two", "a,", content=make_content(one=[]))


def test_a_missing_program_is_named_with_the_command_that_installs_it(make_content, make_inventory, monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MissingComponentError, match="ssh is missing") as caught:
        run("one", make_inventory(a=None), content=make_content(one=[]))

    assert "apt-get install openssh-client" in caught.value.remedy


@pytest.mark.feature("J1")
def test_check_and_diff_show_what_would_change_and_change_nothing(make_content, make_inventory, tmp_path):
    target = tmp_path / "file"
    content = make_content(
        one=[{"name": "Write", "ansible.builtin.lineinfile": {"line": "new", "path": str(target), "create": True}}]
    )
    result = run("one", make_inventory(a=None), content=content, options=Options(check=True, diff=True))

    assert result.hosts["a"].outcome == "changed"
    assert "+new\n" in result.hosts["a"].steps[0].diff
    assert not target.exists()


def test_a_run_over_its_timeout_is_stopped_and_leaves_nothing(make_content, make_inventory, ordinary):
    before = leftovers()
    waiting = {"name": "Wait", "ansible.builtin.command": f"sleep 601.{os.getpid()}"}
    content = make_content(one=[task("first", "changed"), waiting])
    # What this machine needs for many tasks is enough for the first.
    enough = Options(timeout=3 + ordinary.result.seconds)
    result = run("one", make_inventory(a=None), content=content, options=enough, grace=30)

    assert (result.interrupted, result.timed_out, result.exit_code) == (True, True, 1)
    assert (result.hosts["a"].failure.step, result.hosts["a"].failure.status) == ("Wait", "failed")
    assert "done before: first" in result.hosts["a"].failure.cause
    assert leftovers() <= before
    assert not sleeping(f"601.{os.getpid()}")


@pytest.mark.parametrize("timeout", [0.05, 0.2, 0.4, 0.6, 0.8])
def test_a_stop_during_the_start_is_not_lost(make_content, make_inventory, timeout):
    before = leftovers()
    content = make_content(one=[{"name": "Wait", "ansible.builtin.command": "sleep 604"}])
    result = run("one", make_inventory(a=None), content=content, options=Options(timeout=timeout), grace=300)

    assert result.interrupted
    assert result.seconds < 60
    assert leftovers() <= before


def test_another_thread_can_stop_a_run(make_content, make_inventory):
    content = make_content(one=[{"name": "Wait", "ansible.builtin.command": f"sleep 602.{os.getpid()}"}])
    cancel = threading.Event()
    results = []

    def started(event):
        if event.status == "started":
            cancel.set()

    thread = threading.Thread(
        target=lambda: results.append(
            run("one", make_inventory(a=None), content=content, cancel=cancel, on_event=started, grace=5)
        )
    )
    thread.start()
    thread.join(60)

    assert results[0].interrupted
    assert not sleeping(f"602.{os.getpid()}")


def sleeping(seconds):
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                line = Path(entry.path, "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if line[:2] == [b"sleep", seconds.encode()]:
                found.append(entry.name)
    return found


def test_the_content_of_this_package_is_found():
    content = locate()

    assert content.config.is_file()
    assert "host_key_checking = True" in content.config.read_text()
    assert content.playbook("install").is_file()
