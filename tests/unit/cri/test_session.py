"""A real prefix process with the real relay at its end, on this machine; the only stand-in is the program sudo."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orchestrator.cri.access import DirectNode, reach
from orchestrator.cri.bridge import Bridge, short_folder
from orchestrator.cri.faults import AccessError
from orchestrator.cri.request import Access, Become, Request
from orchestrator.cri.session import Session
from orchestrator.cri.stop import Stop
from orchestrator.errors import InvalidInputError, MissingComponentError

PROMPT = "[sudo via ansible, key=abc] password:"
# Asks as sudo -S does: prompt on stderr, one line from stdin read byte by byte, one more chance.
SUDO = """\
#!/bin/sh
for try in 1 2; do
  printf '%s' "$1" >&2
  read -r answer
  echo "$answer" >> "$0.answers"
  [ "$answer" = s3cret ] && { shift; exec "$@"; }
  echo 'Sorry, try again.' >&2
done
exit 1
"""


@pytest.fixture
def sudo(tmp_path):
    program = tmp_path / "sudo"
    program.write_text(SUDO)
    program.chmod(0o755)
    return program


def local(become=None):
    return Access(argv=("/bin/sh", "-c"), become=become)


def asking(sudo, password):
    command = f"{sudo} \"{PROMPT}\" /bin/sh -c 'echo BECOME-SUCCESS-abc ; @COMMAND@'"
    return local(Become(command=command, prompt=PROMPT, password=password, success="BECOME-SUCCESS-abc"))


@pytest.fixture
def session():
    made = Session()
    yield made
    made.close()


@pytest.fixture
def echo(tmp_path):
    """A unix socket that sends everything back in capital letters, and closes on "bye"."""
    path = tmp_path / "echo"
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(path))
    server.listen()

    def serve(connection):
        with connection:
            while (data := connection.recv(65536)) not in {b"", b"bye"}:
                connection.sendall(data.upper())

    def accept():
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    yield str(path)
    server.shutdown(socket.SHUT_RDWR)
    thread.join()
    server.close()


def dial(path):
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(20)
    connection.connect(path)
    return connection


def receive(connection, count):
    data = b""
    while len(data) < count:
        data += connection.recv(65536)
    return data


def test_the_password_opens_the_way_and_questions_are_answered(session, sudo):
    session.open(asking(sudo, "s3cret"), sys.executable, 20, Stop())

    assert session.ask("inspect", 20, pid=os.getpid(), runsc="")["pid"] == os.getpid()
    assert session.python.startswith("3.")
    assert (sudo.parent / "sudo.answers").read_text() == "s3cret\n"


def test_a_wrong_password_is_given_once(session, sudo):
    with pytest.raises(AccessError) as caught:
        session.open(asking(sudo, "guess"), sys.executable, 20, Stop())

    assert caught.value.code == "become-password-wrong"
    assert (sudo.parent / "sudo.answers").read_text().split() == ["guess"]


def test_without_a_password_nothing_is_given(session, sudo):
    with pytest.raises(AccessError) as caught:
        session.open(asking(sudo, ""), sys.executable, 20, Stop())

    assert caught.value.code == "become-password-missing"
    assert (sudo.parent / "sudo.answers").read_text().strip() == ""


def test_a_node_that_says_nothing_runs_into_the_deadline(session):
    with pytest.raises(AccessError) as caught:
        session.open(Access(argv=("/bin/sh", "-c", "exec sleep 600", "--")), sys.executable, 0.3, Stop())

    assert caught.value.code == "timeout"


def test_a_wish_to_stop_ends_getting_in(session):
    stop = Stop()
    timer = threading.Timer(0.2, stop.request)
    timer.start()
    with pytest.raises(AccessError) as caught:
        session.open(Access(argv=("/bin/sh", "-c", "exec sleep 600", "--")), sys.executable, 60, stop)
    timer.join()

    assert caught.value.code == "stopped"


def test_a_node_without_that_python_is_said_so(session):
    with pytest.raises(AccessError) as caught:
        session.open(local(), "/nonexistent/python3", 20, Stop())

    assert caught.value.code == "python-missing"


def test_a_prefix_that_is_not_here_is_a_missing_component(session):
    with pytest.raises(MissingComponentError) as caught:
        session.open(Access(argv=("/nonexistent/ssh", "node")), sys.executable, 20, Stop())

    assert "openssh-client" in caught.value.remedy


def test_a_hostile_python_starts_nothing(session, tmp_path):
    with pytest.raises(InvalidInputError):
        session.open(local(), f"/usr/bin/python3;touch {tmp_path}/there", 20, Stop())

    assert list(tmp_path.iterdir()) == []


def test_the_environment_of_the_request_reaches_the_prefix(session, tmp_path):
    access = Access(
        argv=("/bin/sh", "-c", f'echo "$WORD" > {tmp_path}/word; exec /bin/sh -c "$0"'), env={"WORD": "x y"}
    )
    session.open(access, sys.executable, 20, Stop())

    assert (tmp_path / "word").read_text() == "x y\n"


def test_a_question_that_fails_on_the_node_comes_back_with_its_reason(session):
    session.open(local(), sys.executable, 20, Stop())

    with pytest.raises(AccessError) as caught:
        session.ask("lock", 20, folder="/nonexistent", seconds=0)

    assert "No such file" in caught.value.why


def test_an_answer_that_does_not_come_is_a_timeout_and_a_lost_node_is_lost(session, tmp_path):
    session.open(local(), sys.executable, 20, Stop())
    with pytest.raises(AccessError) as late:
        session.ask("flags", 0.1, programs=[["/bin/sh", "-c", "exec sleep 5"]])

    session._signal(signal.SIGKILL)
    with pytest.raises(AccessError) as lost:
        session.ask("flags", 20, programs=[])

    assert (late.value.code, lost.value.code) == ("timeout", "lost")


def test_the_end_of_a_session_ends_its_process(session):
    session.open(local(), sys.executable, 20, Stop())
    session.close()

    assert session._process.poll() is not None


def test_a_bridge_carries_several_connections_with_much_data_at_once(session, echo):
    session.open(local(), sys.executable, 20, Stop())
    bridge = Bridge(session, echo)
    connections = [dial(bridge.path) for _ in range(3)]
    blob = b"abc" * 200_000
    for connection in connections:
        threading.Thread(target=connection.sendall, args=(blob,), daemon=True).start()

    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda connection: receive(connection, len(blob)), connections))

    assert [blob.upper()] * 3 == answers
    for connection in connections:
        connection.close()
    bridge.close()


def test_a_connection_closed_on_the_node_is_closed_here(session, echo):
    session.open(local(), sys.executable, 20, Stop())
    bridge = Bridge(session, echo)
    with dial(bridge.path) as connection:
        connection.sendall(b"bye")

        assert connection.recv(10) == b""
    assert bridge.fault == ""
    bridge.close()


def test_a_socket_that_is_not_on_the_node_closes_with_the_node_s_reason(session):
    session.open(local(), sys.executable, 20, Stop())
    bridge = Bridge(session, "/nonexistent/containerd.sock")
    with dial(bridge.path) as connection:
        assert connection.recv(10) == b""
    assert bridge.fault == "/nonexistent/containerd.sock: No such file or directory"
    bridge.close()


def test_a_lost_node_closes_every_connection(session, echo):
    session.open(local(), sys.executable, 20, Stop())
    bridge = Bridge(session, echo)
    with dial(bridge.path) as connection:
        connection.sendall(b"hello")
        assert receive(connection, 5) == b"HELLO"
        session._signal(signal.SIGKILL)

        assert connection.recv(10) == b""
    bridge.close()


def test_the_bridge_is_for_its_owner_only_and_leaves_nothing(session, echo):
    session.open(local(), sys.executable, 20, Stop())
    bridge = Bridge(session, echo)
    folder = Path(bridge.path).parent

    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    bridge.close()
    assert not folder.exists()


def test_the_socket_s_path_stays_short_below_a_long_temporary_folder(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))

    folder = short_folder()

    assert len(str(folder)) < 100
    folder.rmdir()


def test_no_prefix_is_direct_access_and_starts_nothing(tmp_path):
    with reach(Request(verb="status", socket=f"{tmp_path}/c.sock"), 20, Stop()) as node:
        assert isinstance(node, DirectNode)
        assert node.address == f"{tmp_path}/c.sock"
        assert node.ask("inspect", 5, pid=os.getpid(), runsc="")["pid"] == os.getpid()


def test_a_prefix_is_reached_over_a_bridge_that_ends_with_the_context(echo):
    request = Request(verb="status", access=local(), python=sys.executable, socket=echo)
    with reach(request, 20, Stop()) as node, dial(node.address) as connection:
        connection.sendall(b"over")
        assert receive(connection, 4) == b"OVER"

    assert not Path(node.address).exists()


def test_nothing_that_was_asked_is_in_the_process_list(session, sudo):
    session.open(asking(sudo, "s3cret"), sys.executable, 20, Stop())

    shown = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout

    assert "s3cret" not in shown
