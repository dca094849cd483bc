"""Bad input and bad nodes: exit code, host, step, cause, remedy, and a tree that nobody touched."""

from __future__ import annotations

import hashlib
import http.server
import json
import shutil
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from command import gvisor_nodes, starts

from orchestrator.lab.tree import difference, snapshot

RELEASE = "20260224.0"
PWNED = Path("/tmp/gvisor-nodes-pwned")
BAD_FLAGS = {
    "degub=true": ("degub", "debug"),
    "debug=perhaps": ("debug",),
    "debug={{ 7 * 7 }}": ("debug",),
    "debug=true; touch /pwned": ("debug",),
    'debug=true"\n[plugins]': ("debug",),
    "debug=$(touch /pwned)": ("debug",),
    "panic-signal=soon": ("panic-signal",),
}
BAD_VALUES = {
    "unknown-flag": ({"runsc_flags": {"degub": "true"}}, "degub"),
    "list": ({"runsc_flags": {"debug": ["true"]}}, "debug"),
    "template": ({"runsc_flags": {"debug": f"{{{{ lookup('pipe', 'touch {PWNED}') }}}}"}}, "template"),
    "shell": ({"runsc_flags": {"debug": f"`touch {PWNED}`"}}, "debug"),
    "toml": ({"runsc_flags": {"debug": "true'\n[debug]\nlevel='trace"}}, "debug"),
    "template-path": ({"runsc_directory": f"{{{{ lookup('pipe', 'touch {PWNED}') }}}}"}, "template"),
    "handler": ({"containerd_handler": "runsc]"}, "containerd_handler"),
    "release": ({"runsc_release": "latest"}, "runsc_release"),
}
SMALL = {
    "ro": ("read-only", "runsc_directory"),
    "noexec": ("noexec", "runsc_directory"),
    "size=10m": ("no space", "400 MiB"),
}
CONFIG = "/etc/containerd/config.toml"
BROKEN = "[broken\n"


@pytest.fixture(scope="module")
def clean(lab):
    """The trees of the nodes without the product, as each test has to leave them."""
    lab.ensure_release(RELEASE)
    for node in lab.nodes:
        # Another file's test.
        if node.run("test -e /var/lib/gvisor-nodes", check=False).returncode == 0:
            gvisor_nodes("remove", "--yes", "--limit", node.name, inventory=lab.inventory)
    return {node.name: snapshot(node) for node in lab.nodes}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("bad-input")


@contextmanager
def untouched(clean, *nodes):
    """The trees and the containerds of nodes must be as they were before."""
    counts = [starts(node) for node in nodes]
    yield
    for node, count in zip(nodes, counts, strict=True):
        assert [] == difference(clean[node.name], snapshot(node))
        assert count == starts(node)
        assert 0 == node.run("test ! -e /var/lib/gvisor-nodes && test ! -e /opt/gvisor-nodes").returncode


def write_inventory(lab, path, hosts):
    """Write an inventory of hosts, each a node with variables of its own; several may be the same node."""
    content = yaml.safe_load(lab.inventory.read_text())
    known = content["all"]["hosts"]
    content["all"]["hosts"] = {name: {**known[node.name], **variables} for name, (node, variables) in hosts.items()}
    path.write_text(yaml.safe_dump(content))
    return path


def apply(inventory, *arguments, env=None):
    return gvisor_nodes("apply", *arguments, inventory=inventory, env=env)


def bad_step(answer, host):
    bad = {"failed", "refused", "invalid", "unreachable"}
    return next(step for step in answer.hosts[host]["steps"] if step["status"] in bad)


def refused(answer, host, step, *words):
    """Assert host, step, cause and remedy of a failure; return the step."""
    bad = bad_step(answer, host)
    assert step == bad["step"]
    assert bad["remedy"]
    text = f"{bad['message']} {bad['cause']} {bad['remedy']}"
    for word in words:
        assert word in text
    assert host in answer.stderr
    return bad


def release(lab, directory):
    """A copy of the lab's release in an operator's directory."""
    files = directory / RELEASE / "x86_64"
    files.mkdir(parents=True)
    for name in ("runsc", "containerd-shim-runsc-v1"):
        shutil.copy(lab.releases.directory / RELEASE / "x86_64" / name, files / name)
    return files


def catalogue(files, path, **changed):
    """Write the catalogue of a directory's release; return the variables that name both."""
    digests = {file.name: f"sha512:{hashlib.sha512(file.read_bytes()).hexdigest()}" for file in sorted(files.iterdir())}
    entry = {
        "release": RELEASE,
        "architecture": "x86_64",
        "layout": "loose",
        "source": "this test",
        "date": "2026-11-01",
        "files": {**digests, **changed},
    }
    path.write_text(json.dumps({"schema": 1, "releases": [entry]}))
    return {
        "runsc_release": RELEASE,
        "runsc_artifacts_directory": str(files.parents[1]),
        "runsc_releases_files": [str(path)],
    }


@contextmanager
def half_a_bucket(lab):
    """A bucket on loopback that closes the connection in the middle of every file."""

    class Half(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            path = lab.releases.directory / RELEASE / "x86_64" / self.path.rsplit("/", 1)[1].removesuffix(".sha512")
            if self.path.endswith(".sha512") and path.exists():
                line = f"{hashlib.sha512(path.read_bytes()).hexdigest()}  {path.name}\n".encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(line)))
                self.end_headers()
                self.wfile.write(line)
            elif path.exists():
                self.send_response(200)
                self.send_header("Content-Length", str(path.stat().st_size))
                self.end_headers()
                self.wfile.write(path.read_bytes()[:100_000])
            else:
                self.send_error(404)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Half) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/release"
        server.shutdown()
        thread.join()


def apply_to(lab, path, hosts, *, rc, env=None):
    """Apply to hosts, see `write_inventory`; all of them must have an answer, and the run end with this exit code."""
    answer = apply(write_inventory(lab, path, hosts), env=env)
    assert rc == answer.rc, answer.stderr
    assert hosts.keys() == answer.hosts.keys()
    return answer


# What ends a host before its node is changed needs no run of its own: each host of an inventory is one case, and the
# hosts of a run end with the same exit code.


@pytest.fixture(scope="module")
def invalid(lab, clean, place):
    """A run of hosts with input that is wrong."""
    first, second = lab.nodes
    whole, dynamic = release(lab, place / "whole"), release(lab, place / "dynamic")
    source = place / "runsc.c"
    source.write_text("int main(void) { return 0; }\n")
    subprocess.run(["gcc", "-o", str(dynamic / "runsc"), str(source)], check=True)
    hosts = {
        **{name: (second, variables) for name, (variables, _) in BAD_VALUES.items()},
        # A node each: they come as far as the lease, which Ansible lets all hosts ask for before one goes on.
        "wrong-sha512": (first, catalogue(whole, place / "wrong.json", runsc=f"sha512:{'0' * 128}")),
        "dynamic": (second, catalogue(dynamic, place / "dynamic.json")),
    }
    with untouched(clean, first, second):
        return apply_to(lab, place / "invalid.yml", hosts, rc=2)


@pytest.fixture(scope="module")
def failed(lab, clean, place):
    """A run of hosts that cannot be reached, and of one whose release cannot be had."""
    first, second = lab.nodes
    variables = catalogue(release(lab, place / "bucket"), place / "bucket.json")
    other = place / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    key = " ".join((place / "other.pub").read_text().split()[:2])
    known = place / "known_hosts"
    known.write_text(f"[127.0.0.1]:{first.port} {key}\n")
    arguments = f"-o UserKnownHostsFile={known} -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes"
    with half_a_bucket(lab) as bucket, untouched(clean, first, second):
        hosts = {
            "half": (second, {**variables, "runsc_artifacts_directory": "", "runsc_bucket": bucket}),
            "no-port": (second, {"ansible_port": 1}),
            # Another node than the one above: hosts of the same address may share a connection.
            "other-key": (first, {"ansible_ssh_common_args": arguments}),
        }
        return apply_to(lab, place / "failed.yml", hosts, rc=3, env={"XDG_CACHE_HOME": str(place / "cache")})


@pytest.fixture(scope="module")
def refusals(lab, clean, place):
    """A run of hosts that cannot get what is wished: its answer, and the configuration of the first node after it."""
    first, second = lab.nodes
    hosts = {
        "no-driver": (second, {"runsc_flags": {"nvproxy": "true"}}),
        "no-such-python": (second, {"ansible_python_interpreter": "/usr/local/bin/python9"}),
        "old-python": (second, {"ansible_python_interpreter": "/run/old/python3"}),
        **{f"small-{number}": (second, {"runsc_directory": f"/run/small/{number}/gvisor"}) for number in range(3)},
        "broken": (first, {}),
    }
    with untouched(clean, first, second):
        # What runs is the node's real Python and Ansible's real check of it; only the number it reads is another.
        second.run("mkdir -p /run/old", check=True)
        second.write(
            "/run/old/sitecustomize.py", "import sys\nsys.version_info = (3, 6, 8)\nsys.version = '3.6.8 (old)'\n"
        )
        wrapper = '#!/bin/sh\nPYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/run/old exec /usr/bin/python3 "$@"\n'
        second.write("/run/old/python3", wrapper, mode=0o755)
        for number, options in enumerate(SMALL):
            small = f"/run/small/{number}"
            second.run(f"mkdir -p {small} && mount -t tmpfs -o {options} tmpfs {small}", check=True)
        good = first.read(CONFIG)
        first.write(CONFIG, good + BROKEN)
        try:
            answer = apply_to(lab, place / "refusals.yml", hosts, rc=4)
            assert good + BROKEN == first.read(CONFIG)
        finally:
            first.write(CONFIG, good)
            second.run("umount /run/small/*; rm -r /run/small /run/old", check=True)
        assert "active" == first.run("systemctl is-active containerd").stdout.strip()
    return answer


@pytest.fixture(scope="module")
def more_refusals(lab, clean, place):
    """A run of a host without Python, and of one that somebody else changes."""
    first, second = lab.nodes
    hosts = {"no-python": (first, {}), "held": (second, {"node_lock_timeout": 1})}
    with untouched(clean, first, second):
        second.run("mkdir -p /run/gvisor-nodes", check=True)
        lease = '{"token": "x", "holder": "anna@desk (pid 7)", "ttl": 1000, "until": 1e12}'
        second.write("/run/gvisor-nodes/lease.json", lease)
        first.run("mkdir /run/away && mv /usr/bin/python3* /run/away/", check=True)
        try:
            return apply_to(lab, place / "more_refusals.yml", hosts, rc=4)
        finally:
            first.run("mv /run/away/* /usr/bin/ && rmdir /run/away", check=True)
            second.run("rm -r /run/gvisor-nodes", check=True)


@pytest.mark.feature("E6")
def test_nvproxy_without_a_driver_is_refused_because_runsc_would_start_no_sandbox(lab, refusals):
    words = ("no NVIDIA driver is loaded", "no sandbox would start", "/dev/nvidiactl")
    refused(refusals, "no-driver", "preflight", *words)
    # What it is refused for: the program itself, on a machine that has no such device.
    node = lab.nodes[1]
    runsc = lab.releases.directory / f"{RELEASE}/x86_64/runsc"
    subprocess.run([lab.engine.name, "cp", runsc, f"{node.name}:/root/runsc"], check=True)
    try:
        start = "timeout 60 /root/runsc --root=/run/alone --network=none --ignore-cgroups"
        without = node.run(f"{start} do true", check=False)
        asked = node.run(f"{start} --nvproxy=true do true", check=False)
    finally:
        node.run("rm -rf /root/runsc /run/alone", check=True)
    assert (0, False) == (without.returncode, asked.returncode == 0), without.stderr
    assert "/dev/nvidiactl" in asked.stderr


@pytest.mark.feature("F2")
@pytest.mark.feature("F5")
def test_a_bad_flag_on_the_command_line_is_a_usage_error_before_any_host_is_asked(lab, clean):
    with untouched(clean, *lab.nodes):
        for flag, words in BAD_FLAGS.items():
            answer = apply(lab.inventory, "--flag", flag)

            assert 2 == answer.rc, flag
            assert not answer.hosts, flag
            error = answer.document["error"]
            assert all(word in f"{error['what']} {error['why']}" for word in words)
            assert error["remedy"]


@pytest.mark.parametrize("host", BAD_VALUES)
@pytest.mark.feature("F5")
def test_a_bad_value_in_the_inventory_is_never_evaluated_and_named(invalid, host):
    bad = refused(invalid, host, "probe", BAD_VALUES[host][1])
    assert "invalid" == bad["status"]
    assert not PWNED.exists()


def test_a_release_nobody_knows_is_named_with_what_there_is(lab, clean):
    node = lab.nodes[1]
    with untouched(clean, node):
        answer = apply(lab.inventory, "--release", "20991231.0", "--limit", node.name)
    assert 2 == answer.rc, answer.stderr
    refused(answer, node.name, "release", "20991231.0", "import")


@pytest.mark.feature("A3")
def test_a_wrong_sha512_stops_before_the_node_sees_a_file(invalid):
    refused(invalid, "wrong-sha512", "release", "runsc", "000000")


@pytest.mark.feature("A14")
def test_a_dynamic_binary_stops_before_the_node_sees_it(invalid):
    refused(invalid, "dynamic", "release", "runsc", "static")


@pytest.mark.feature("A6")
def test_half_a_download_is_no_release(failed, place):
    refused(failed, "half", "release", "was cut off", "got 100000", "try again")
    assert not list((place / "cache").rglob("runsc"))


@pytest.mark.feature("J7")
@pytest.mark.feature("D15")
def test_an_unreachable_host_is_a_failure_with_sshs_own_words(failed):
    assert "unreachable" == failed.hosts["no-port"]["outcome"]
    bad = bad_step(failed, "no-port")
    assert "refused" in f"{bad['message']} {bad['cause']}".lower()
    assert bad["remedy"]


@pytest.mark.feature("C10")
def test_a_changed_host_key_is_a_failure_that_names_known_hosts(failed):
    bad = bad_step(failed, "other-key")
    assert "host key" in f"{bad['message']} {bad['cause']}".lower()
    assert "ssh-keygen -R" in bad["remedy"]


def test_a_node_without_python_is_told_apart(more_refusals):
    refused(more_refusals, "no-python", "probe", "no Python", "install Python 3.9")


def test_a_configured_python_that_is_not_there_names_the_one_that_is(refusals):
    refused(refusals, "no-such-python", "probe", "/usr/local/bin/python9", "/usr/bin/python3 (3.")


def test_a_python_that_is_too_old_is_told_apart(refusals):
    refused(refusals, "old-python", "probe", "3.6.8 is too old", "install Python 3.9")


@pytest.mark.feature("E1")
@pytest.mark.parametrize("options", SMALL)
def test_a_file_system_that_cannot_hold_a_release_is_refused(refusals, options):
    refused(refusals, f"small-{list(SMALL).index(options)}", "preflight", *SMALL[options])


@pytest.mark.feature("B16")
def test_a_configuration_that_was_broken_before_us_is_refused_and_left_alone(refusals):
    refused(refusals, "broken", "preflight", "cannot read its configuration", "repair it first")


@pytest.mark.feature("C9")
def test_a_second_apply_gives_up_when_its_time_is_over_and_names_the_first(more_refusals):
    refused(more_refusals, "held", "lock", "another run holds this node", "anna@desk", "1000 s")


class TestInstalledTwiceAtOnce:
    """On a node that two applies wanted at the same moment."""

    @pytest.fixture(scope="class")
    @staticmethod
    def node(lab):
        return lab.nodes[1]

    @pytest.fixture(scope="class")
    @staticmethod
    def inventory(lab, node, tmp_path_factory):
        path = tmp_path_factory.mktemp("inventory") / "inventory.yml"
        return write_inventory(lab, path, {node.name: (node, {})})

    @pytest.fixture(scope="class")
    @staticmethod
    def answers(clean, node, inventory):
        """What both said, and how often containerd was started meanwhile; the node is cleaned to the byte in the end."""
        count, answers = starts(node), []
        threads = [threading.Thread(target=lambda: answers.append(apply(inventory))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        yield answers, starts(node) - count
        removed = gvisor_nodes("remove", "--yes", inventory=inventory)
        assert 0 == removed.rc, removed.stderr
        assert [] == difference(clean[node.name], snapshot(node))

    @pytest.mark.feature("C9")
    def test_the_second_waits_and_finds_it_done(self, node, answers):
        said, restarts = answers
        assert [0, 0] == [answer.rc for answer in said], [answer.stderr for answer in said]
        assert {"proved"} == {answer.host(node)["proof"] for answer in said}
        assert 1 == restarts

    @pytest.mark.feature("H4")
    @pytest.mark.usefixtures("answers")
    def test_a_removal_is_refused_while_a_pod_runs_and_names_it(self, node, inventory):
        command = (
            "ctr -n k8s.io run -d --read-only --annotation io.kubernetes.cri.container-type=sandbox "
            "--annotation io.kubernetes.cri.sandbox-name=cart --annotation io.kubernetes.cri.sandbox-namespace=shop "
            "--runtime /opt/gvisor-nodes/containerd-shim-runsc-v1 --runtime-config-path /opt/gvisor-nodes/runsc.toml "
            "--rootfs / cart /bin/sleep 600 </dev/null >/dev/null 2>&1"
        )
        node.run(f"timeout 60 {command}", check=True)
        installed = snapshot(node)
        try:
            answer = gvisor_nodes("remove", "--yes", inventory=inventory)
            assert [] == difference(installed, snapshot(node))
        finally:
            node.run(
                "ctr -n k8s.io task kill -s KILL cart; ctr -n k8s.io task delete -f cart; ctr -n k8s.io container delete cart"
            )
        assert 4 == answer.rc, answer.stderr
        refused(answer, node.name, "preflight", "pods still run", "shop/cart", "drain")
        gone = "timeout 20 sh -c 'while ls /run/containerd/io.containerd.runtime.v2.task/k8s.io/cart >/dev/null 2>&1; do sleep 0.2; done'"
        assert 0 == node.run(gone).returncode
