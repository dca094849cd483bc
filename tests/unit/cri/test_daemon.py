"""What is read out of a verbose Status."""

import json

import pytest

from orchestrator.cri.daemon import DaemonView, HandlerView, read


def test_handlers_come_with_their_type_and_their_options_path():
    runtimes = {
        "runc": {"runtimeType": "io.containerd.runc.v2", "options": {"SystemdCgroup": True}},
        "runsc": {"runtimeType": "/opt/x/containerd-shim-runsc-v1", "options": {"ConfigPath": "/opt/x/runsc.toml"}},
        "empty": {"runtimeType": "", "options": None},
    }
    info = {"config": json.dumps({"containerd": {"runtimes": runtimes}, "sandboxImage": "pause:1"})}

    view = read(info)

    assert {
        "runc": HandlerView("io.containerd.runc.v2", ""),
        "runsc": HandlerView("/opt/x/containerd-shim-runsc-v1", "/opt/x/runsc.toml"),
        "empty": HandlerView("", ""),
    } == view.handlers
    assert view.sandbox_image == "pause:1"


@pytest.mark.parametrize("info", [{}, {"config": ""}, {"config": "no json"}, {"config": "[]"}, {"config": "{}"}])
def test_a_daemon_that_tells_nothing_has_no_handlers(info):
    assert read(info) == DaemonView(handlers={}, sandbox_image=None)
