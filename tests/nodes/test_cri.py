"""The CRI program against a real containerd with a real runsc: each outcome is made to happen.

gVisor is put on the node by hand, in the product's layout and with the simplest dispatchers that will do, so that
these tests say something about `orchestrator.cri` alone. One lab of their own: they break its containerd.
"""

import json
import secrets
import shlex
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from patience import eventually

from orchestrator.lab import Lab
from orchestrator.lab.removal import down

DIRECTORY = "/opt/gvisor-nodes"
SHIM = f"{DIRECTORY}/containerd-shim-runsc-v1"
OPTIONS = f"{DIRECTORY}/runsc.toml"
RELEASE, OTHER = "20260905.0", "20260224.0"
CONFIG = "/etc/containerd/config.toml"
OTHER_OPTIONS = "/etc/containerd/runsc.toml"
# Ours, and beside it what it could be in its place: containerd is restarted for none of them.
HANDLERS = {
    "runc": ("io.containerd.runc.v2", ""),
    "runsc": (SHIM, OPTIONS),
    "other-options": (SHIM, OTHER_OPTIONS),
    "looked-up": ("io.containerd.runsc.v1", OPTIONS),
    "in-truth-runc": ("io.containerd.runc.v2", ""),
}
PAUSE_UNIT = "gvisor-nodes-lab-pause"
MARKER = "BECOME-SUCCESS-tqxd"
PROMPT = "[sudo via ansible, key=tqxd] password:"


def _write(path, text, mode=0o644):
    return f"printf %s {shlex.quote(text)} > {path}; chmod {mode:o} {path}"


def _generation(release, *flags):
    folder = f"{DIRECTORY}/releases/{release}"
    words = " ".join(shlex.quote(flag) for flag in ("--debug=true", *flags))
    return [
        _write(f"{DIRECTORY}/{name}", f'#!/bin/sh\nexec {folder}/{name} {before} "$@"\n', mode=0o755)
        for name, before in (("runsc", words), ("containerd-shim-runsc-v1", ""))
    ]


def _options(config):
    return _write(OPTIONS, f'binary_name = "{DIRECTORY}/runsc"\n{config}')


def _handlers():
    text = ""
    for name, (runtime_type, options) in HANDLERS.items():
        table = f'[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.{name}'
        text += f'\n{table}]\nruntime_type = "{runtime_type}"\n'
        if options:
            text += f'{table}.options]\nTypeUrl = "io.containerd.runsc.v1.options"\nConfigPath = "{options}"\n'
    return text


class GVisorNode:
    """A node with gVisor on it, and ways to break it."""

    def __init__(self, lab, *releases):
        self.lab = lab
        self.node = lab.nodes[0]
        self.bare = self.node.read(CONFIG)
        for release in releases:
            folder = f"{DIRECTORY}/releases/{release}"
            for name in ("runsc", "containerd-shim-runsc-v1"):
                write = f"mkdir -p {folder}; cat > {folder}/{name}; chmod 755 {folder}/{name}"
                with (lab.ensure_release(release) / name).open("rb") as binary:
                    subprocess.run([*self.node.ssh_arguments(), write], stdin=binary, check=True)

    def repair(self):
        """The state every test starts from, in one call of the node."""
        serve = (
            f"cmp -s /run/wanted.toml {CONFIG} || "
            f"{{ cat /run/wanted.toml > {CONFIG}; systemctl reset-failed containerd; systemctl restart containerd; }}"
        )
        config = _write("/run/wanted.toml", self.bare + _handlers())
        self.node.run("\n".join(("set -e", *_generation(RELEASE), _options(""), config, serve)))

    def generation(self, release, *flags):
        self.node.run("\n".join(_generation(release, *flags)))

    def options(self, config):
        self.node.run(_options(config))

    @contextmanager
    def without(self, path):
        self.node.run(f"mv {path} {path}.away")
        try:
            yield
        finally:
            self.node.run(f"mv {path}.away {path}")

    def request(self, verb, user="root", become=None, **fields):
        expect = {
            "release": RELEASE,
            "runsc": f"{DIRECTORY}/releases/{RELEASE}/runsc",
            "flags": ["--debug=true"],
            "config_path": OPTIONS,
            "runtime_type": SHIM,
            "directory": DIRECTORY,
        }
        access = {"argv": self.node.ssh_arguments(user), "become": become}
        return {"verb": verb, "access": access, "timeout": 30, "expect": expect, **fields}

    def ask(self, verb, user="root", become=None, **fields):
        return self.end(self.start(self.request(verb, user, become, **fields)))

    def prove(self, **fields):
        return self.ask("prove", **fields)

    def start(self, request):
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestrator.cri"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        process.stdin.write(json.dumps(request))
        process.stdin.close()
        return process

    def end(self, process):
        with process, process.stdout, process.stderr:
            answer, errors = process.stdout.read(), process.stderr.read()
        assert (process.returncode, errors) == (0, "")
        return json.loads(answer)

    def sandboxes(self):
        return self.node.run("ctr -n k8s.io containers ls -q").stdout.split()


@pytest.fixture(scope="module")
def installed():
    name = f"test-cri-{secrets.token_hex(3)}"
    try:
        yield GVisorNode(Lab.up(name, nodes=1), RELEASE, OTHER)
    finally:
        down(name)


@pytest.fixture
def gvisor(installed):
    installed.repair()
    yield installed
    # containerd answers a proof that gave up before it has cleared away what it had begun.
    eventually(lambda: installed.sandboxes() == [], what=installed.sandboxes)


def sudo(password=None):
    """What Ansible's sudo plugin makes, without and with a password."""
    asked = f'-S -p "{PROMPT}"' if password is not None else "-S -n"
    return {
        "command": f"sudo -H {asked} -u root /bin/sh -c 'echo {MARKER} ; @COMMAND@'",
        "success": MARKER,
        "prompt": PROMPT if password is not None else "",
        "password": password,
    }


@pytest.mark.feature("E2")
def test_a_sandbox_of_the_wanted_release_and_flags_is_proved_and_removed(gvisor):
    answer = gvisor.prove()

    assert answer["outcome"] == "proved", answer
    assert answer["removed"] is True
    assert answer["evidence"]["exe"] == f"{DIRECTORY}/releases/{RELEASE}/runsc"
    assert answer["evidence"]["cmdline"][0] == "runsc-sandbox"
    assert answer["evidence"]["cgroup"].startswith("/k8s.io/")


@pytest.mark.feature("C6")
def test_status_names_the_daemon_s_handlers_with_their_paths(gvisor):
    answer = gvisor.ask("status")

    assert answer["ok"] is True
    assert answer["version"]["runtime_name"] == "containerd"
    assert answer["handlers"]["runsc"] == {"runtime_type": SHIM, "config_path": OPTIONS}
    assert "runc" in answer["handlers"]
    assert "pause" in answer["sandbox_image"]


def test_sudo_without_a_password_proves_as_root_does(gvisor):
    assert gvisor.prove(user="admin", become=sudo())["outcome"] == "proved"


def test_sudo_with_a_password_proves_as_root_does(gvisor):
    answer = gvisor.prove(user="operator", become=sudo(gvisor.lab.operator_password))

    assert answer["outcome"] == "proved"
    assert gvisor.lab.operator_password not in json.dumps(answer)


@pytest.mark.parametrize(
    ("become", "code"),
    [
        pytest.param(sudo("not-the-one"), "become-password-wrong", id="wrong"),
        pytest.param(sudo(""), "become-password-missing", id="empty", marks=pytest.mark.exhaustive),
        pytest.param(sudo(), "become-password-missing", id="none"),
        pytest.param(None, "UNAVAILABLE", id="not root"),
    ],
)
def test_a_login_that_does_not_become_root_is_told_why(gvisor, become, code):
    answer = gvisor.prove(user="operator", become=become)

    assert answer["outcome"] == "cri-unavailable"
    assert code == answer["code"]
    assert answer["remedy"]


def test_a_handler_that_containerd_does_not_have_is_missing(gvisor):
    assert gvisor.prove(handler="not-there")["outcome"] == "handler-missing"


def test_a_handler_with_other_options_than_ours_is_not_ours(gvisor):
    gvisor.node.run(f"cp {OPTIONS} {OTHER_OPTIONS}")

    answer = gvisor.prove(handler="other-options")

    assert (answer["outcome"], answer["code"]) == ("handler-missing", "handler-differs")


@pytest.mark.parametrize("path", [SHIM, f"{DIRECTORY}/releases/{RELEASE}/containerd-shim-runsc-v1"])
def test_a_shim_that_is_away_is_missing(gvisor, path):
    with gvisor.without(path):
        answer = gvisor.prove()

    assert answer["outcome"] == "shim-missing"
    assert path in answer["detail"]


def test_a_shim_that_is_looked_up_in_vain_is_missing(gvisor):
    assert gvisor.prove(handler="looked-up")["outcome"] == "shim-missing"


def test_a_shim_that_is_not_executable_is_missing(gvisor):
    gvisor.node.run(f"chmod 644 {SHIM}")

    assert gvisor.prove()["outcome"] == "shim-missing"


def test_a_runsc_that_is_away_is_no_missing_shim(gvisor):
    with gvisor.without(f"{DIRECTORY}/releases/{RELEASE}/runsc"):
        answer = gvisor.prove()

    assert answer["outcome"] == "failed"
    assert "put runsc back" in answer["remedy"]


@pytest.mark.parametrize(
    ("flag", "code", "reason"),
    [
        ("--nope=1", "exit-2", "flag provided but not defined: -nope"),
        pytest.param("--file-access=sometimes", "exit-2", "sometimes", marks=pytest.mark.exhaustive),
        ("--qdisc=tbf", "exit-128", "qdisc-tbf-rate"),
    ],
)
def test_flags_that_runsc_refuses_are_said_with_its_reason_and_without_waiting(gvisor, flag, code, reason):
    gvisor.generation(RELEASE, flag)

    answer = gvisor.prove()

    assert (answer["outcome"], answer["code"]) == ("flags-refused", code)
    assert reason in answer["detail"]


def test_a_flag_that_is_refused_in_the_options_file_is_told_apart(gvisor):
    gvisor.options('[runsc_config]\nnope = "1"\n')

    answer = gvisor.prove()

    assert answer["outcome"] == "flags-refused"
    assert "runsc_config" in answer["remedy"]


def test_a_wanted_flag_that_the_sandbox_does_not_carry_is_no_proof(gvisor):
    gvisor.generation(RELEASE, "--debug=false")

    answer = gvisor.prove()

    assert (answer["outcome"], answer["code"]) == ("failed", "flags-differ")
    assert "--debug=true (is 'false')" in answer["detail"]


def test_a_pause_image_that_is_not_there_is_missing(gvisor):
    # Where another test has just restarted containerd, the unit still brings the image: it has to be done first.
    gvisor.node.run(f"systemctl restart {PAUSE_UNIT}", check=True)
    gvisor.node.run("ctr -n k8s.io images rm $(ctr -n k8s.io images ls -q)", check=True)
    try:
        answer = gvisor.prove()
    finally:
        gvisor.node.run(f"systemctl restart {PAUSE_UNIT}")

    assert answer["outcome"] == "pause-image-missing"


def test_another_release_is_the_wrong_one(gvisor):
    gvisor.generation(OTHER)

    answer = gvisor.prove()

    assert answer["outcome"] == "wrong-release"
    assert OTHER in answer["evidence"]["exe"]


def test_a_handler_that_leads_to_runc_is_not_gvisor(gvisor):
    answer = gvisor.prove(handler="in-truth-runc")

    assert answer["outcome"] == "not-gvisor"
    assert "io.containerd.runc.v2" in answer["detail"]
    assert answer["removed"] is True


def hang(gvisor):
    """A shim that says once that it was started, and then nothing."""
    gvisor.node.run("rm -f /run/shim-hangs; mkfifo /run/shim-hangs")
    gvisor.node.write(SHIM, "#!/bin/sh\n: > /run/shim-hangs\nexec sleep 600\n", mode=0o755)


def test_a_shim_that_hangs_is_a_timeout_and_nothing_is_left(gvisor):
    gvisor.node.write(SHIM, "#!/bin/sh\nexec sleep 600\n", mode=0o755)

    answer = gvisor.prove(timeout=3)

    assert answer["outcome"] == "timeout"
    assert answer["removed"] is True
    assert answer["seconds"] < 15


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.exhaustive)])
def test_a_signal_ends_a_proof_and_removes_its_sandbox(gvisor, number):
    hang(gvisor)
    process = gvisor.start(gvisor.request("prove"))
    gvisor.node.run("cat /run/shim-hangs", timeout=30)
    process.send_signal(number)
    answer = gvisor.end(process)

    assert (answer["outcome"], answer["code"], answer["removed"]) == ("failed", "stopped", True)


def leave_a_sandbox(gvisor):
    """What a proof leaves that is killed at the worst moment; made by the same code, in a process of its own."""
    code = """
import json, os, sys
from orchestrator.cri.access import reach
from orchestrator.cri.client import RuntimeClient
from orchestrator.cri.proof import LABEL, OURS
from orchestrator.cri.request import parse
from orchestrator.cri.stop import Stop
request = parse(json.load(sys.stdin))
with reach(request, 20, Stop()) as node, RuntimeClient(node.address, Stop()) as client:
    client.run_sandbox("runsc", "leftover", {**OURS, LABEL: "leftover"}, "", 20)
os._exit(0)
"""
    request = json.dumps(gvisor.request("prove"))
    subprocess.run([sys.executable, "-c", code], input=request, text=True, check=True)
    assert len(gvisor.sandboxes()) == 1


def test_what_a_killed_proof_left_is_removed_by_the_next(gvisor):
    leave_a_sandbox(gvisor)

    answer = gvisor.prove()

    assert (answer["outcome"], answer["leftovers"]) == ("proved", 1)


def test_what_a_killed_proof_left_can_be_removed_without_a_proof(gvisor):
    leave_a_sandbox(gvisor)

    first, second = gvisor.ask("clean"), gvisor.ask("clean")

    assert first == {"ok": True, "removed": 1, "error": None}
    assert second == {"ok": True, "removed": 0, "error": None}


def test_two_proofs_at_once_do_not_take_each_other_s_sandbox(gvisor):
    processes = [gvisor.start(gvisor.request("prove")) for _ in range(2)]

    answers = [gvisor.end(process) for process in processes]

    assert [(answer["outcome"], answer["leftovers"]) for answer in answers] == [("proved", 0)] * 2


def test_a_proof_that_cannot_have_the_node_says_who_has_it(gvisor):
    hang(gvisor)
    first = gvisor.start(gvisor.request("prove", timeout=60))
    gvisor.node.run("cat /run/shim-hangs", timeout=30)

    answer = gvisor.prove(timeout=8)  # which the way to the node is a part of
    first.send_signal(signal.SIGTERM)
    gvisor.end(first)

    assert answer["outcome"] == "cri-unavailable"
    assert "another proof" in answer["detail"]


def test_a_socket_that_is_not_there_is_named(gvisor):
    answer = gvisor.ask("status", socket="/run/containerd/nope.sock")

    assert answer["ok"] is False
    assert "/run/containerd/nope.sock: No such file or directory" in answer["error"]["detail"]


@pytest.mark.feature("C4")
def test_a_containerd_that_is_stopped_is_unavailable_at_once_or_waited_for(gvisor):
    gvisor.node.run("systemctl stop containerd")
    at_once = gvisor.ask("status")
    waiting = gvisor.start(gvisor.request("status", wait=True))
    gvisor.node.run(f"systemctl reset-failed; systemctl start containerd {PAUSE_UNIT}")

    assert at_once["error"]["code"] == "UNAVAILABLE"
    assert gvisor.end(waiting)["ok"] is True


def test_a_containerd_without_its_cri_plugin_is_told_apart(gvisor):
    broken = f'{gvisor.bare}\n[plugins."io.containerd.grpc.v1.cri".containerd]\ndefault_runtime_name = "nope"\n'
    gvisor.node.write(CONFIG, broken)
    gvisor.node.run("systemctl reset-failed containerd; systemctl restart containerd")

    answer = gvisor.prove()

    assert (answer["outcome"], answer["code"]) == ("cri-unavailable", "UNIMPLEMENTED")


def test_a_containerd_that_hangs_is_a_timeout(gvisor):
    pid = gvisor.node.run("systemctl show -P MainPID containerd").stdout.strip()
    gvisor.node.run(f"kill -STOP {pid}")
    try:
        answer = gvisor.prove(timeout=2)
    finally:
        gvisor.node.run(f"kill -CONT {pid}")

    assert answer["outcome"] == "timeout"
    assert answer["seconds"] < 10


def test_a_host_key_that_is_not_the_known_one_is_refused(gvisor, tmp_path):
    (tmp_path / "known_hosts").write_text("")
    request = gvisor.request("status")
    request["access"]["argv"] = [
        word if not word.startswith("UserKnownHostsFile=") else f"UserKnownHostsFile={tmp_path}/known_hosts"
        for word in request["access"]["argv"]
    ]

    assert gvisor.end(gvisor.start(request))["error"]["code"] == "host-key"


def test_a_host_where_nobody_listens_is_unreachable(gvisor):
    request = gvisor.request("status")
    request["access"]["argv"] = ["ssh", "-o", "BatchMode=yes", "-p", "1", "127.0.0.1"]

    assert gvisor.end(gvisor.start(request))["error"]["code"] == "unreachable"


def test_a_node_without_that_python_is_told(gvisor):
    assert gvisor.ask("status", python="/usr/bin/python9")["error"]["code"] == "python-missing"


@pytest.mark.feature("E3")
def test_the_limits_of_the_pod_s_cgroup_are_reported_as_they_hold(gvisor):
    gvisor.node.run(
        "mkdir -p /sys/fs/cgroup/memory/limited /sys/fs/cgroup/cpu/limited;"
        "echo 209715200 > /sys/fs/cgroup/memory/limited/memory.limit_in_bytes;"
        "echo 50000 > /sys/fs/cgroup/cpu/limited/cpu.cfs_quota_us"
    )
    try:
        evidence = gvisor.prove(cgroup_parent="/limited")["evidence"]
    finally:
        gvisor.node.run("rmdir /sys/fs/cgroup/*/limited", check=False)

    assert (evidence["memory_limit"], evidence["cpu_quota"]) == (209715200, 0.5)
    assert evidence["cgroup"].startswith("/limited")


def test_a_proof_leaves_the_node_s_files_and_processes_as_they_were(gvisor):
    look = (
        "find /etc /opt /root /tmp /run /home -xdev -printf '%p %y %m %u\\n' | grep -vE "
        "'null-netns|/run/(systemd|utmp|log|sudo|user|motd)|/run/containerd/runsc' | sort; pgrep -c 'runsc|shim'"
    )
    gvisor.prove()
    before = gvisor.node.run(look, check=False).stdout
    assert f"{OPTIONS} f 644 root" in before
    gvisor.prove()

    assert before == gvisor.node.run(look, check=False).stdout
