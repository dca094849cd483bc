import socket
import subprocess
import sys
from pathlib import Path

from orchestrator.lab import ports as lab_ports
from orchestrator.lab.ports import LOOPBACK, free_ports, kept_ports

LOWEST_OF_CLIENTS = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])


def test_free_ports_are_different_and_anybody_can_listen_on_them():
    ports = free_ports(20)

    assert len(set(ports)) == 20
    for port in ports:
        socket.create_server((LOOPBACK, port)).close()


def test_no_connection_of_a_client_can_take_them():
    if LOWEST_OF_CLIENTS >= 11_000:  # elsewhere clients have everything
        assert max(free_ports(20)) < LOWEST_OF_CLIENTS


def test_what_one_process_was_given_and_does_not_listen_on_yet_no_other_one_gets(monkeypatch):
    program = "from orchestrator.lab.ports import free_ports; print(*free_ports(1), flush=True); input()"
    argv = [sys.executable, "-c", program]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        theirs = int(other.stdout.readline())
        monkeypatch.setattr(lab_ports, "_candidates", lambda: iter([theirs, *range(11_000, 12_000)]))
        assert [theirs] != free_ports(1)
        other.communicate("\n")

    monkeypatch.setattr(lab_ports, "_candidates", lambda: iter([theirs]))
    assert [theirs] == free_ports(1)


def test_a_server_that_is_started_again_has_its_ports_again(tmp_path):
    path = tmp_path / "new" / "server.ports"
    ports = kept_ports(path, 3)

    assert kept_ports(path, 3) == ports


def test_a_file_that_holds_no_such_ports_is_written_anew(tmp_path):
    path = tmp_path / "server.ports"
    path.write_text("1 x")

    ports = kept_ports(path, 2)

    assert len(ports) == 2
    assert kept_ports(path, 2) == ports
