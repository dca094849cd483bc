"""The child protocol: one object in, one object out, whatever happens in between."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time

import pytest

from orchestrator.cri.__main__ import fault, scrubbed
from orchestrator.cri.request import parse

SHAPES = {
    "status": {"ok", "version", "handlers", "sandbox_image", "error"},
    "clean": {"ok", "removed", "error"},
    "prove": {"outcome", "code", "detail", "remedy", "seconds", "evidence", "removed", "leftovers"},
}


def start(request, *argv):
    process = subprocess.Popen(
        [sys.executable, *(argv or ("-m", "orchestrator.cri"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdin.write(request if isinstance(request, str) else json.dumps(request))
    process.stdin.close()
    return process


def end(process):
    with process, process.stdout, process.stderr:
        answer, errors = process.stdout.read(), process.stderr.read()
    assert (process.returncode, errors) == (0, "")
    assert answer.count("\n") == 1
    return json.loads(answer)


def ask(request, *argv):
    return end(start(request, *argv))


@pytest.fixture
def silent(tmp_path):
    """A socket that accepts and never says a word, as a daemon that hangs."""
    path = tmp_path / "containerd.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(path))
        server.listen()
        yield str(path)


@pytest.mark.parametrize("verb", SHAPES)
@pytest.mark.parametrize("argv", [[], ["/bin/sh", "-c"]], ids=["direct", "prefix"])
def test_every_verb_answers_in_its_shape_where_there_is_no_runtime(tmp_path, verb, argv):
    request = {"verb": verb, "socket": f"{tmp_path}/none.sock", "python": sys.executable, "access": {"argv": argv}}

    answer = ask(request)

    assert set(answer) == SHAPES[verb]
    told = answer if verb == "prove" else answer["error"]
    assert told["code"] == "UNAVAILABLE"
    assert "No such file or directory" in told["detail"]
    assert told["remedy"]


@pytest.mark.parametrize("verb", SHAPES)
def test_a_runtime_that_hangs_is_left_at_the_deadline(silent, verb):
    started = time.monotonic()
    answer = ask({"verb": verb, "socket": silent, "timeout": 1})

    assert "DEADLINE_EXCEEDED" in json.dumps(answer)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ('{"verb": "status", "x": 1}', "unknown: x"),
        ('{"verb": "prove", "timeout": -1}', "timeout"),
        (json.dumps({"verb": "prove", "python": "python3;id", "access": {"argv": ["/bin/sh", "-c"]}}), "python3;id"),
        (json.dumps({"verb": "status", "access": {"argv": ["/nonexistent/ssh", "x"]}}), "/nonexistent/ssh"),
    ],
)
def test_a_request_that_cannot_be_carried_out_is_answered_too(request_, text):
    assert text in json.dumps(ask(request_))


def test_a_worker_that_hangs_is_left_at_the_hard_deadline():
    code = """
import threading
from orchestrator.cri import __main__ as program, proof
program.run = lambda request, stop: threading.Event().wait()
program.CLOSING_SECONDS = proof.REMOVAL_SECONDS = 0.1
program.main()
"""
    answer = ask({"verb": "prove", "timeout": 0.3}, "-c", code)

    assert set(answer) == SHAPES["prove"]
    assert (answer["outcome"], answer["code"], answer["removed"]) == ("timeout", "hard-deadline", False)


def test_a_worker_that_crashes_is_answered_for():
    code = "from orchestrator.cri import __main__ as program; program.run = lambda *_: 1 / 0; program.main()"

    assert ask({"verb": "status"}, "-c", code)["error"]["code"] == "crash"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_what_waits_and_is_answered(silent, tmp_path, number):
    # the fifo tells when the program is about to wait for the relay, long after its handlers are set
    fifo = tmp_path / "waits"
    os.mkfifo(fifo)
    script = f": > {shlex.quote(str(fifo))}; exec sleep 600"
    access = {"argv": ["/bin/sh", "-c", script, "--"]}
    process = start({"verb": "prove", "access": access, "socket": silent, "python": sys.executable})
    fifo.read_text()
    process.send_signal(number)

    answer = end(process)

    assert (answer["outcome"], answer["code"]) == ("failed", "stopped")


def test_a_password_is_in_no_argv_and_in_no_answer(tmp_path):
    # the prefix shows what it can see of us, and repeats the password that it is given
    command = "printf 'Password: ' ; read -r p ; echo \"got $p\" >&2 ; ps -eo args >&2 ; exit 1 ; @COMMAND@"
    become = {"command": command, "prompt": "Password:", "password": "hunter2-x", "success": "ROOT"}

    answer = ask(
        {
            "verb": "prove",
            "access": {"argv": ["/bin/sh", "-c"], "become": become},
            "socket": f"{tmp_path}/none",
            "python": sys.executable,
        }
    )

    assert answer["outcome"] == "cri-unavailable"
    assert "hunter2-x" not in json.dumps(answer)


def test_a_password_that_is_a_word_of_ours_changes_no_code():
    request = parse({"verb": "prove", "access": {"argv": ["ssh"], "become": {"password": "failed"}}})

    answer = json.loads(scrubbed(fault(request, "crash", "it failed"), request))

    assert (answer["outcome"], answer["detail"]) == ("failed", "it ***")
