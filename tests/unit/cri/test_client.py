"""The client against a server on a socket that answers as a containerd does that has just been started."""

import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from orchestrator.cri import runtime_pb2, runtime_pb2_grpc
from orchestrator.cri.client import RuntimeClient
from orchestrator.cri.faults import AccessError, CallError
from orchestrator.cri.stop import Stop
from orchestrator.lab.pod_calls import PodCalls


class Starting(runtime_pb2_grpc.RuntimeServiceServicer):
    """Not initialized for a number of calls."""

    def __init__(self, code, refusals, words="server is not initialized yet"):
        self.code = code
        self.refusals = refusals
        self.words = words
        self.calls = 0
        self.asked = threading.Event()

    def Version(self, _request, context):  # noqa: N802 -- the interface's name
        self.calls += 1
        self.asked.set()
        if self.calls <= self.refusals:
            context.abort(self.code, self.words)
        return runtime_pb2.VersionResponse(runtime_name="containerd", runtime_version="1.6.20")


@pytest.fixture
def serve(tmp_path):
    address = str(tmp_path / "s")
    with ThreadPoolExecutor(max_workers=2) as pool:
        server = grpc.server(pool)

        def start(servicer):
            runtime_pb2_grpc.add_RuntimeServiceServicer_to_server(servicer, server)
            server.add_insecure_port(f"unix://{address}")
            server.start()
            return address

        yield start
        server.stop(None).wait(10)


@pytest.mark.parametrize("code", [grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE], ids=["1.x", "2.x"])
def test_a_containerd_that_still_looks_at_its_pods_is_waited_for(serve, code):
    starting = Starting(code, refusals=3)

    with RuntimeClient(serve(starting), Stop()) as client:
        answer = client.version(30)

    assert answer["runtime_version"] == "1.6.20"
    assert starting.calls == 4


def test_it_is_waited_for_within_the_deadline_and_its_own_words_are_told(serve):
    starting = Starting(grpc.StatusCode.UNKNOWN, refusals=10**6)

    with RuntimeClient(serve(starting), Stop()) as client, pytest.raises(CallError) as raised:
        client.version(1)

    # the last call may have run into the deadline itself
    assert raised.value.code in {"UNKNOWN", "DEADLINE_EXCEEDED"}
    assert starting.calls >= 1


def test_another_error_is_told_at_once(serve):
    with (
        RuntimeClient(serve(Starting(grpc.StatusCode.UNKNOWN, 0)), Stop()) as client,
        pytest.raises(CallError) as raised,
    ):
        client.status_info(30)

    assert raised.value.code == "UNIMPLEMENTED"


def test_a_wish_to_stop_ends_the_waiting(serve):
    starting, stop = Starting(grpc.StatusCode.UNKNOWN, refusals=10**6), Stop()

    def wish():
        starting.asked.wait(30)
        stop.request()

    wisher = threading.Thread(target=wish)
    with RuntimeClient(serve(starting), stop) as client:
        wisher.start()
        with pytest.raises(AccessError, match="stopped"):
            client.version(60)
    wisher.join()


def test_a_connection_that_broke_is_told_at_once_but_a_labs_pods_ask_again(serve):
    breaking = Starting(grpc.StatusCode.UNAVAILABLE, refusals=2, words="Stream removed")
    address = serve(breaking)

    with RuntimeClient(address, Stop()) as client, pytest.raises(CallError, match="Stream removed"):
        client.version(30)
    with PodCalls(address, Stop()) as calls:
        assert "1.6.20" == calls.version(30)["runtime_version"]

    assert 3 == breaking.calls
