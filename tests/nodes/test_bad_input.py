"""Bad input and bad nodes: exit code, host, step, cause, remedy, and a tree that nobody touched."""

from __future__ import annotations

import hashlib
import http.server
import json
import shutil
import subprocess
import threading

import pytest
import yaml
from command import gvisor_nodes, starts

from orchestrator.lab.tree import difference, snapshot

RELEASE = "20260905.0"


@pytest.fixture
def target(lab):
    node = lab.nodes[1]
    # Another file's test, or one that failed half way.
    if node.run("test -e /var/lib/gvisor-nodes", check=False).returncode == 0:
        gvisor_nodes("remove", "--yes", "--limit", node.name, inventory=lab.inventory)
    return node


@pytest.fixture
def untouched(target):
    """The node, whose tree and containerd must be after the test as they were before."""
    before, count = snapshot(target), starts(target)
    yield target
    assert [] == difference(before, snapshot(target))
    assert count == starts(target)
    assert 0 == target.run("test ! -e /var/lib/gvisor-nodes && test ! -e /opt/gvisor-nodes").returncode


@pytest.fixture
def inventory(lab, target, tmp_path):
    """Write the lab's inventory with one host and other variables; return its path."""

    def write(**variables):
        content = yaml.safe_load(lab.inventory.read_text())
        content["all"]["hosts"] = {target.name: content["all"]["hosts"][target.name]}
        for name, value in variables.items():
            place = content["all"]["hosts"][target.name] if name.startswith("ansible_") else content["all"]["vars"]
            place[name] = value
        path = tmp_path / "inventory.yml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


@pytest.mark.feature("E6")
def test_nvproxy_without_a_driver_is_refused_because_runsc_would_start_no_sandbox(lab, untouched, inventory):
    answer = apply(inventory(), "--flag", "nvproxy=true")

    refused(answer, untouched, 4, "preflight", "no NVIDIA driver is loaded", "no sandbox would start", "/dev/nvidiactl")
    # What it is refused for: the program itself, on a machine that has no such device.
    runsc = lab.releases.directory / f"{RELEASE}/x86_64/runsc"
    subprocess.run([lab.engine.name, "cp", runsc, f"{untouched.name}:/root/runsc"], check=True)
    try:
        start = "timeout 60 /root/runsc --root=/run/alone --network=none --ignore-cgroups"
        without = untouched.run(f"{start} do true", check=False)
        asked = untouched.run(f"{start} --nvproxy=true do true", check=False)
    finally:
        untouched.run("rm -rf /root/runsc /run/alone", check=True)
    assert (0, False) == (without.returncode, asked.returncode == 0), without.stderr
    assert "/dev/nvidiactl" in asked.stderr


def apply(inventory, *arguments, env=None):
    return gvisor_nodes("apply", *arguments, inventory=inventory, env=env)


def refused(answer, node, rc, step, *words):
    """Assert exit code, host, step, cause and remedy of a failure; return the step."""
    assert rc == answer.rc, answer.stderr
    bad = answer.bad_step(node)
    assert step == bad["step"]
    assert bad["remedy"]
    text = f"{bad['message']} {bad['cause']} {bad['remedy']}"
    for word in words:
        assert word in text
    assert node.name in answer.stderr
    return bad


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("degub=true", ("degub", "debug")),
        ("debug=perhaps", ("debug",)),
        ("debug={{ 7 * 7 }}", ("debug",)),
        ("debug=true; touch /pwned", ("debug",)),
        ('debug=true"\n[plugins]', ("debug",)),
        ("debug=$(touch /pwned)", ("debug",)),
        ("panic-signal=soon", ("panic-signal",)),
    ],
)
@pytest.mark.feature("F2")
@pytest.mark.feature("F5")
def test_a_bad_flag_on_the_command_line_is_a_usage_error_before_any_host_is_asked(lab, untouched, flag, words):
    answer = apply(lab.inventory, "--flag", flag)

    assert 2 == answer.rc
    assert not answer.hosts
    error = answer.document["error"]
    assert all(word in f"{error['what']} {error['why']}" for word in words)
    assert error["remedy"]


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"runsc_flags": {"degub": "true"}}, ("degub",)),
        ({"runsc_flags": {"debug": ["true"]}}, ("debug",)),
        ({"runsc_flags": {"debug": "{{ lookup('pipe', 'touch /tmp/gvisor-nodes-pwned') }}"}}, ("template",)),
        ({"runsc_flags": {"debug": "`touch /tmp/gvisor-nodes-pwned`"}}, ("debug",)),
        ({"runsc_flags": {"debug": "true'\n[debug]\nlevel='trace"}}, ("debug",)),
        ({"runsc_directory": "{{ lookup('pipe', 'touch /tmp/gvisor-nodes-pwned') }}"}, ("template",)),
        ({"containerd_handler": "runsc]"}, ("containerd_handler",)),
        ({"runsc_release": "latest"}, ("runsc_release",)),
    ],
)
@pytest.mark.feature("F5")
def test_a_bad_value_in_the_inventory_is_never_evaluated_and_named(untouched, inventory, variables, words, tmp_path):
    answer = apply(inventory(**variables))

    bad = refused(answer, untouched, 2, "probe", *words)
    assert "invalid" == bad["status"]
    assert 0 == subprocess.run(["test", "!", "-e", "/tmp/gvisor-nodes-pwned"], check=False).returncode


def test_a_release_nobody_knows_is_named_with_what_there_is(untouched, inventory):
    refused(apply(inventory(), "--release", "20991231.0"), untouched, 2, "release", "20991231.0", "import")


@pytest.fixture
def artifacts(lab, tmp_path):
    """A copy of the lab's release in an operator's directory with its catalogue file."""
    directory = tmp_path / "artifacts"
    files = directory / RELEASE / "x86_64"
    files.mkdir(parents=True)
    for name in ("runsc", "containerd-shim-runsc-v1"):
        shutil.copy(lab.releases.directory / RELEASE / "x86_64" / name, files / name)

    def catalogue(**changed):
        digests = {
            path.name: f"sha512:{hashlib.sha512(path.read_bytes()).hexdigest()}" for path in sorted(files.iterdir())
        }
        entry = {
            "release": RELEASE,
            "architecture": "x86_64",
            "layout": "loose",
            "source": "this test",
            "date": "2026-11-01",
            "files": {**digests, **changed},
        }
        path = tmp_path / "releases.json"
        path.write_text(json.dumps({"schema": 1, "releases": [entry]}))
        return {"runsc_artifacts_directory": str(directory), "runsc_releases_files": [str(path)]}

    return files, catalogue


@pytest.mark.feature("A3")
def test_a_wrong_sha512_stops_before_the_node_sees_a_file(untouched, inventory, artifacts):
    _, catalogue = artifacts
    answer = apply(inventory(**catalogue(runsc=f"sha512:{'0' * 128}")))

    refused(answer, untouched, 2, "release", "runsc", "000000")


@pytest.mark.feature("A14")
def test_a_dynamic_binary_stops_before_the_node_sees_it(untouched, inventory, artifacts, tmp_path):
    files, catalogue = artifacts
    source = tmp_path / "runsc.c"
    source.write_text("int main(void) { return 0; }\n")
    subprocess.run(["gcc", "-o", str(files / "runsc"), str(source)], check=True)
    refused(apply(inventory(**catalogue())), untouched, 2, "release", "runsc", "static")


@pytest.fixture
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


@pytest.mark.feature("A6")
def test_half_a_download_is_no_release(untouched, inventory, artifacts, half_a_bucket, tmp_path):
    _, catalogue = artifacts
    variables = {**catalogue(), "runsc_artifacts_directory": "", "runsc_bucket": half_a_bucket}
    answer = apply(inventory(**variables), env={"XDG_CACHE_HOME": str(tmp_path / "cache")})

    refused(answer, untouched, 3, "release", "was cut off", "got 100000", "try again")
    assert not list((tmp_path / "cache").rglob("runsc"))


@pytest.mark.feature("J7")
@pytest.mark.feature("D15")
def test_an_unreachable_host_is_a_failure_with_sshs_own_words(untouched, inventory):
    answer = apply(inventory(ansible_port=1))

    assert 3 == answer.rc
    assert "unreachable" == answer.host(untouched)["outcome"]
    bad = answer.bad_step(untouched)
    assert "refused" in f"{bad['message']} {bad['cause']}".lower()
    assert bad["remedy"]


@pytest.mark.feature("C10")
def test_a_changed_host_key_is_a_failure_that_names_known_hosts(untouched, inventory, lab, tmp_path):
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    key = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{untouched.port} {key}\n")
    arguments = f"-o UserKnownHostsFile={known} -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes"
    answer = apply(inventory(ansible_ssh_common_args=arguments))

    assert 3 == answer.rc
    bad = answer.bad_step(untouched)
    assert "host key" in f"{bad['message']} {bad['cause']}".lower()
    assert "ssh-keygen -R" in bad["remedy"]


def test_a_node_without_python_is_told_apart(untouched, inventory):
    node = untouched
    node.run("mkdir /run/away && mv /usr/bin/python3* /run/away/", check=True)
    try:
        answer = apply(inventory())
    finally:
        node.run("mv /run/away/* /usr/bin/ && rmdir /run/away", check=True)
    refused(answer, node, 4, "probe", "no Python", "install Python 3.9")


def test_a_configured_python_that_is_not_there_names_the_one_that_is(untouched, inventory):
    answer = apply(inventory(ansible_python_interpreter="/usr/local/bin/python9"))

    refused(answer, untouched, 4, "probe", "/usr/local/bin/python9", "/usr/bin/python3 (3.")


def test_a_python_that_is_too_old_is_told_apart(untouched, inventory):
    # What runs is the node's real Python and Ansible's real check of it; only the number it reads is another.
    untouched.run("mkdir -p /run/old", check=True)
    untouched.write(
        "/run/old/sitecustomize.py", "import sys\nsys.version_info = (3, 6, 8)\nsys.version = '3.6.8 (old)'\n"
    )
    wrapper = '#!/bin/sh\nPYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/run/old exec /usr/bin/python3 "$@"\n'
    untouched.write("/run/old/python3", wrapper, mode=0o755)
    answer = apply(inventory(ansible_python_interpreter="/run/old/python3"))
    untouched.run("rm -r /run/old", check=True)

    refused(answer, untouched, 4, "probe", "3.6.8 is too old", "install Python 3.9")


@pytest.mark.feature("E1")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("ro", ("read-only", "runsc_directory")),
        ("noexec", ("noexec", "runsc_directory")),
        ("size=10m", ("no space", "400 MiB")),
    ],
)
def test_a_file_system_that_cannot_hold_a_release_is_refused(untouched, inventory, options, words):
    untouched.run(f"mkdir /run/small && mount -t tmpfs -o {options} tmpfs /run/small", check=True)
    try:
        answer = apply(inventory(runsc_directory="/run/small/gvisor"))
    finally:
        untouched.run("umount /run/small && rmdir /run/small", check=True)
    refused(answer, untouched, 4, "preflight", *words)


@pytest.mark.feature("B16")
def test_a_configuration_that_was_broken_before_us_is_refused_and_left_alone(untouched, inventory):
    good = untouched.read("/etc/containerd/config.toml")
    untouched.write("/etc/containerd/config.toml", good + "[broken\n")
    try:
        answer = apply(inventory())
        assert good + "[broken\n" == untouched.read("/etc/containerd/config.toml")
    finally:
        untouched.write("/etc/containerd/config.toml", good)
    refused(answer, untouched, 4, "preflight", "cannot read its configuration", "repair it first")
    assert "active" == untouched.run("systemctl is-active containerd").stdout.strip()


@pytest.mark.feature("H4")
def test_a_removal_is_refused_while_a_pod_runs_and_names_it(lab, target, inventory):
    node = target
    assert 0 == apply(inventory()).rc
    command = (
        "ctr -n k8s.io run -d --read-only --annotation io.kubernetes.cri.container-type=sandbox "
        "--annotation io.kubernetes.cri.sandbox-name=cart --annotation io.kubernetes.cri.sandbox-namespace=shop "
        "--runtime /opt/gvisor-nodes/containerd-shim-runsc-v1 --runtime-config-path /opt/gvisor-nodes/runsc.toml "
        "--rootfs / cart /bin/sleep 600 </dev/null >/dev/null 2>&1"
    )
    node.run(f"timeout 60 {command}", check=True)
    installed = snapshot(node)
    try:
        answer = gvisor_nodes("remove", "--yes", inventory=inventory())
        assert [] == difference(installed, snapshot(node))
    finally:
        node.run(
            "ctr -n k8s.io task kill -s KILL cart; ctr -n k8s.io task delete -f cart; ctr -n k8s.io container delete cart"
        )
    refused(answer, node, 4, "preflight", "pods still run", "shop/cart", "drain")
    gone = "timeout 20 sh -c 'while ls /run/containerd/io.containerd.runtime.v2.task/k8s.io/cart >/dev/null 2>&1; do sleep 0.2; done'"
    assert 0 == node.run(gone).returncode
    assert 0 == gvisor_nodes("remove", "--yes", inventory=inventory()).rc


@pytest.mark.feature("C9")
def test_of_two_applies_at_once_the_second_waits_and_finds_it_done(lab, target, inventory):
    path = inventory()
    before, count = snapshot(target), starts(target)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(apply(path))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [0, 0] == [answer.rc for answer in answers], [answer.stderr for answer in answers]
    assert {"proved"} == {answer.host(target)["proof"] for answer in answers}
    assert 1 == starts(target) - count
    assert 0 == gvisor_nodes("remove", "--yes", inventory=path).rc
    assert [] == difference(before, snapshot(target))


@pytest.mark.feature("C9")
def test_a_second_apply_gives_up_when_its_time_is_over_and_names_the_first(untouched, inventory):
    untouched.run("mkdir -p /run/gvisor-nodes", check=True)
    lease = '{"token": "x", "holder": "anna@desk (pid 7)", "ttl": 1000, "until": 1e12}'
    untouched.write("/run/gvisor-nodes/lease.json", lease)
    try:
        answer = apply(inventory(node_lock_timeout=1))
    finally:
        untouched.run("rm -r /run/gvisor-nodes", check=True)
    refused(answer, untouched, 4, "lock", "another run holds this node", "anna@desk", "1000 s")
