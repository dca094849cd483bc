"""The HTTP endpoints, on real sockets of the loopback interface."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
import time

import pytest

from orchestrator.controller.bind_address import BindAddress
from orchestrator.controller.endpoints import Answer, Endpoint, Endpoints, metrics_page, probe_page
from orchestrator.controller.metrics import CONTENT_TYPE, Metrics
from orchestrator.errors import GvisorNodesError

ANY_PORT = BindAddress("127.0.0.1", 0)
SETTING = "health.bindAddress"


def well():
    return ""


def endpoint(pages=None, address=ANY_PORT, setting=SETTING):
    return Endpoint(setting, address, pages if pages is not None else {"/healthz": probe_page(well)})


def ask(endpoints, path, setting=SETTING, method="GET"):
    connection = http.client.HTTPConnection(*endpoints.bound(setting), timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode(), response.getheader("Content-Type")
    finally:
        connection.close()


def test_a_probe_that_is_well_is_200_and_one_that_is_not_is_503_with_the_reason():
    reasons = ["nodes are not synced"]
    pages = {"/healthz": probe_page(well), "/readyz": probe_page(lambda: "".join(reasons))}

    with Endpoints(endpoint(pages)) as endpoints:
        assert ask(endpoints, "/healthz") == (200, "ok", "text/plain; charset=utf-8")
        assert ask(endpoints, "/readyz") == (503, "nodes are not synced", "text/plain; charset=utf-8")
        reasons.clear()
        assert ask(endpoints, "/readyz?verbose")[:2] == (200, "ok")


def test_case_72_metrics_are_text_on_an_address_of_their_own():
    metrics = Metrics()
    pages = {"/metrics": metrics_page(metrics.exposition, CONTENT_TYPE)}

    with Endpoints(endpoint(), endpoint(pages, setting="metrics.bindAddress")) as endpoints:
        status, text, content_type = ask(endpoints, "/metrics", "metrics.bindAddress")
        assert ask(endpoints, "/metrics")[0] == 404
        assert ask(endpoints, "/healthz", "metrics.bindAddress")[0] == 404

    assert (status, content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert "gvisor_nodes_leader 0.0" in text


@pytest.mark.parametrize("path", ["/", "/healthz/", "/../healthz", "/x"])
def test_every_other_path_is_not_found(path):
    with Endpoints(endpoint()) as endpoints:
        assert ask(endpoints, path)[:2] == (404, "not found")


def test_a_head_has_no_body_and_what_would_change_something_is_no_method():
    with Endpoints(endpoint()) as endpoints:
        assert ask(endpoints, "/healthz", method="HEAD")[:2] == (200, "")
        assert ask(endpoints, "/healthz", method="POST")[0] == 501


def test_a_page_that_fails_is_500_without_the_error_which_is_in_the_log(caplog):
    def fails():
        raise GvisorNodesError("the inside")

    with caplog.at_level(logging.ERROR), Endpoints(endpoint({"/healthz": fails})) as endpoints:
        status, text, _ = ask(endpoints, "/healthz")

    assert (status, "the inside" in text) == (500, False)
    assert "the inside" in caplog.text


def test_an_address_that_is_off_is_not_served():
    with Endpoints(endpoint(address=None)) as endpoints, pytest.raises(KeyError):
        endpoints.bound(SETTING)


def test_a_port_in_use_is_told_with_the_address_and_the_setting():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(GvisorNodesError) as caught, Endpoints(endpoint(address=BindAddress("127.0.0.1", port))):
            pass

    told = str(caught.value)
    assert told.startswith(f"nothing can be served at 127.0.0.1:{port}: Address already in use\n")
    assert SETTING in told


def test_a_name_that_does_not_exist_is_told_the_same_way():
    with (
        pytest.raises(GvisorNodesError, match=r"nothing can be served at no\.such\.host\.invalid:1"),
        Endpoints(endpoint(address=BindAddress("no.such.host.invalid", 1))),
    ):
        pass


def test_if_one_address_cannot_be_had_none_is_kept():
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as chosen:
        free = BindAddress(*chosen.getsockname())
        chosen.close()
        used = endpoint(address=BindAddress(*taken.getsockname()), setting="metrics.bindAddress")
        with pytest.raises(GvisorNodesError), Endpoints(endpoint(address=free), used):
            pass

        with Endpoints(endpoint(address=free)) as endpoints:
            assert endpoints.bound(SETTING) == free


def test_afterwards_nothing_listens_and_the_same_port_can_be_had_again():
    with Endpoints(endpoint()) as endpoints:
        bound = endpoints.bound(SETTING)
        assert ask(endpoints, "/healthz")[0] == 200

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(bound, timeout=10)
    with Endpoints(endpoint(address=bound)) as endpoints:
        assert ask(endpoints, "/healthz")[0] == 200


@pytest.mark.parametrize("host", ["", "localhost", "::1"])
def test_every_form_of_a_host_is_listened_on(host):
    if host == "::1" and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    with Endpoints(endpoint(address=BindAddress(host, 0))) as endpoints:
        assert ask(endpoints, "/healthz")[0] == 200


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
def test_without_a_host_both_families_are_answered():
    with Endpoints(endpoint(address=BindAddress("", 0))) as endpoints:
        port = endpoints.bound(SETTING).port
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, port), timeout=10).close()


def test_clients_that_send_nothing_block_neither_others_nor_the_end():
    with Endpoints(endpoint(), deadline=3600) as endpoints:
        slow = [socket.create_connection(endpoints.bound(SETTING), timeout=10) for _ in range(20)]
        slow[0].sendall(b"GET /heal")
        assert ask(endpoints, "/healthz")[0] == 200
        begun = time.monotonic()

    assert time.monotonic() - begun < 5
    for connection in slow:
        assert connection.recv(1) == b""
        connection.close()


def test_a_client_that_does_not_read_blocks_neither_others_nor_the_end():
    entered = threading.Event()

    def large():
        entered.set()
        return Answer(b"x" * 50_000_000)

    with Endpoints(endpoint({"/large": large, "/healthz": probe_page(well)}), deadline=3600) as endpoints:
        slow = socket.create_connection(endpoints.bound(SETTING), timeout=10)
        slow.sendall(b"GET /large HTTP/1.0\r\n\r\n")
        assert entered.wait(10)
        assert ask(endpoints, "/healthz")[0] == 200
        begun = time.monotonic()

    assert time.monotonic() - begun < 5
    slow.close()


def test_a_client_that_sends_too_slowly_is_cut_off_at_the_deadline():
    with Endpoints(endpoint(), deadline=0.0) as endpoints:
        slow = socket.create_connection(endpoints.bound(SETTING), timeout=10)

        assert slow.recv(1) == b""
        slow.close()


def test_what_is_no_http_is_refused_and_harms_nothing():
    with Endpoints(endpoint()) as endpoints:
        with socket.create_connection(endpoints.bound(SETTING), timeout=10) as strange:
            strange.sendall(b"\x16\x03\x01\x00\xff\r\n\r\n")
            strange.recv(1)
        assert ask(endpoints, "/healthz")[0] == 200


def test_ended_twice_or_never_begun_is_no_error():
    endpoints = Endpoints(endpoint())
    endpoints.__exit__(None, None, None)
    with endpoints:
        endpoints.__exit__(None, None, None)
