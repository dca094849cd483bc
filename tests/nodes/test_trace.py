"""Every call of the shim and of runsc in real pods' lives, traced: each goes to the pod's generation.

Two generations whose programs are wrappers: they note who was called, where and with what, and exec the real program of
one release. Which generation answers is then a fact of the dispatchers alone.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass

import pytest
import yaml
from command import gvisor_nodes
from witness import BUNDLES, DIRECTORY, bundles, processes

from orchestrator.gvisor.dispatchers import RECORD_NAME
from orchestrator.lab.pods import Pods

SHIM = f"{DIRECTORY}/containerd-shim-runsc-v1"
TRACE = "/run/gvisor-nodes-lab-trace"
FIRST, SECOND = 7, 8
FLAGS = {FIRST: "--net-raw=true", SECOND: "--panic-signal=12"}

# generation, program, working directory, arguments; all of them in one write, so that lines do not mix
RUNSC = """#!/bin/sh
printf '%s\\t%s\\t%s\\t%s\\n' {number} runsc "$(pwd -P)" "$(printf %s "$*" | tr '\\n\\t' '  ')" >>{trace}/calls
exec {directory}/releases/{release}/runsc "$@"
"""
WRAPPED_SHIM = """#!/bin/sh
printf '%s\\t%s\\t%s\\t%s\\n' {number} shim "$(pwd -P)" "$(printf %s "$*" | tr '\\n\\t' '  ')" >>{trace}/calls
for action in "$@"; do :; done
[ "$action" = start ] || exec {directory}/releases/{release}/containerd-shim-runsc-v1 "$@"
cat >{trace}/stdin.$$
exec {directory}/releases/{release}/containerd-shim-runsc-v1 "$@" <{trace}/stdin.$$
"""

RELEASES = {"debian12": "20260224.0", "debian13": "20260224.0", "containerd2.4": "20260905.0"}
NAMES = {"debian12": "containerd-1.6", "debian13": "containerd-1.7", "containerd2.4": "containerd-2.4"}
EVERY = [pytest.param(kind, id=name) for kind, name in NAMES.items()]


def each_kind(shown):
    """Every kind of node with every one of some values: by default with the one that is given, all by `exhaustive`."""
    return [
        pytest.param(kind, value, id=f"{name}-{value}", marks=() if value == shown[kind] else pytest.mark.exhaustive)
        for kind, name in NAMES.items()
        for value in sorted({*shown.values()})
    ]


@dataclass(frozen=True)
class Call:
    generation: int
    program: str
    directory: str
    words: list[str]

    @property
    def bundle(self):
        """The container's id, "" for a call from outside of a bundle."""
        return self.directory.removeprefix(f"{BUNDLES}/") if self.directory.startswith(f"{BUNDLES}/") else ""

    @property
    def action(self):
        """The subcommand of runsc; what containerd asks of the shim."""
        return self.words[-1] if self.program == "shim" else next(w for w in self.words if not w.startswith("-"))


class Traced:
    def __init__(self, node, pods, release):
        self.node = node
        self.pods = pods
        self.release = release

    def wrap(self):
        self.node.run(f"mkdir -m 700 {TRACE}; : > {TRACE}/calls")
        for number, flag in FLAGS.items():
            wrapped = f"{DIRECTORY}/releases/traced-{number}"
            generation = f"{DIRECTORY}/generations/{number}"
            self.node.run(f"mkdir {wrapped} {generation}; ln -s ../../releases/traced-{number} {generation}/release")
            self.node.write(f"{generation}/flags", f"{flag}\n")
            words = {"number": number, "trace": TRACE, "directory": DIRECTORY, "release": self.release}
            self.node.write(f"{wrapped}/runsc", RUNSC.format(**words), mode=0o755)
            self.node.write(f"{wrapped}/containerd-shim-runsc-v1", WRAPPED_SHIM.format(**words), mode=0o755)

    def unwrap(self):
        self.node.run(f"rm -rf {DIRECTORY}/releases/traced-* {TRACE}")
        self.node.run(" ; ".join(f"rm -rf {DIRECTORY}/generations/{number}" for number in FLAGS))

    def make_current(self, number):
        self.node.run(f"echo {number} > {DIRECTORY}/current.new && mv {DIRECTORY}/current.new {DIRECTORY}/current")

    def calls(self):
        lines = self.node.read(f"{TRACE}/calls").splitlines()
        split = [line.split("\t") for line in lines]
        return [Call(int(number), program, place, words.split(" ")) for number, program, place, words in split]

    def forget(self):
        self.node.run(f": > {TRACE}/calls; rm -f {TRACE}/stdin.*")


@pytest.fixture(scope="module")
def installed(lab_of, tmp_path_factory):
    """A node of each kind, with gVisor on all of them by one run of the command."""
    nodes, hosts = {}, {}
    for kind, release in RELEASES.items():
        of_kind = lab_of(kind)
        of_kind.ensure_release(release)
        node = nodes[kind] = of_kind.nodes[0]
        content = yaml.safe_load(of_kind.inventory.read_text())["all"]
        hosts[node.name] = {**content["vars"], **content["hosts"][node.name], "runsc_release": release}
    inventory = tmp_path_factory.mktemp("inventory") / "kinds.yml"
    inventory.write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    answer = gvisor_nodes("apply", inventory=inventory)
    assert answer.rc == 0, answer.stderr
    yield nodes
    removed = gvisor_nodes("remove", "--yes", inventory=inventory)
    assert removed.rc == 0, removed.stderr


@pytest.fixture(scope="module")
def traced_of(installed):
    """Wrap the programs of a node when first asked for: ``traced_of("debian12")``."""
    with ExitStack() as stack:
        found = {}

        def find(kind):
            if kind not in found:
                node = installed[kind]
                trace = Traced(node, stack.enter_context(Pods(node)), RELEASES[kind])
                before = node.read(f"{DIRECTORY}/current").strip()
                stack.callback(trace.unwrap)
                stack.callback(trace.make_current, before)
                stack.callback(trace.pods.clear)
                trace.wrap()
                found[kind] = trace
            return found[kind]

        yield find


@pytest.fixture
def traced(kind, traced_of):
    return traced_of(kind)


@pytest.fixture
def trace(traced):
    traced.forget()
    traced.make_current(FIRST)
    yield traced
    traced.pods.clear()


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.feature("A12")
@pytest.mark.feature("J11")
def test_every_call_in_the_lives_of_pods_goes_to_their_generation(trace):
    node, pods = trace.node, trace.pods
    old = pods.run("runsc", "old")
    first = old.start_container("first")
    trace.make_current(SECOND)
    new = pods.run("runsc", "new")
    other = new.start_container("other")
    second = old.start_container("second")
    for pod, container in ((old, first), (old, second), (new, other)):
        assert (0, "entered\n") == pod.exec(container, ["echo", "entered"])
    node.run("systemctl restart containerd")
    third = old.start_container("third")
    assert (0, "entered\n") == old.exec(first, ["echo", "entered"])

    # without records the pod's shims know their generation, and its sandbox's shim tells that of a new container
    for identity in (old.id, first.id, second.id, third.id):
        node.run(f"rm {BUNDLES}/{identity}/{RECORD_NAME}")
    fourth = old.start_container("fourth")
    for container in (first, second, fourth):
        assert (0, "entered\n") == old.exec(container, ["echo", "entered"])
    old.stop_container(second)

    # containerd lets the shim of a container whose shim died clear up
    (shim,) = [process for process in processes(node) if process.is_shim and process.belongs_to(third.id)]
    node.run(f"kill -9 {shim.pid}")
    assert old.wait(third) != 0
    for pod in (old, new):
        pod.stop()
        pod.remove()

    generations = dict.fromkeys((old.id, first.id, second.id, third.id, fourth.id), FIRST) | dict.fromkeys(
        (new.id, other.id), SECOND
    )
    calls = trace.calls()
    assert generations == {call.bundle: call.generation for call in calls if call.bundle}
    for call in calls:
        if call.bundle:
            assert generations[call.bundle] == call.generation, call
            assert call.program == "shim" or FLAGS[call.generation] == call.words[0], call
        else:
            assert ("shim", "-info") == (call.program, call.action), call
    actions = {call.action for call in calls if call.program == "runsc"}
    assert {"create", "start", "exec", "wait", "kill", "delete"} <= actions
    # 1.6 asks it of every shim at its end, later ones only where a shim died
    assert third.id in {call.bundle for call in calls if call.program == "shim" and call.action == "delete"}
    assert [] == bundles(node) == processes(node)


@pytest.mark.parametrize("kind", EVERY)
def test_the_shim_gets_the_standard_input_that_containerd_sends(trace):
    pod = trace.pods.run("runsc", "web")

    found = trace.node.run(f"cat {TRACE}/stdin.* | tr -d '\\0'").stdout
    # a message that holds the handler's options
    assert f"{DIRECTORY}/runsc.toml" in found
    assert [FIRST] == [call.generation for call in trace.calls() if call.program == "shim" and call.action == "start"]
    pod.remove()


@pytest.mark.parametrize(
    ("kind", "argument"), each_kind({"debian12": "-v", "debian13": "-info", "containerd2.4": "-v"})
)
def test_outside_a_bundle_the_shim_of_the_current_generation_answers(trace, argument):
    trace.make_current(SECOND)
    real = trace.node.run(
        f"cd / && {DIRECTORY}/releases/{trace.release}/containerd-shim-runsc-v1 {argument}", check=False
    )

    through = trace.node.run(f"cd / && {SHIM} {argument}", check=False)

    # the lists in what -info prints come in another order each time
    assert (real.returncode, real.stderr) == (through.returncode, through.stderr)
    assert sorted(real.stdout) == sorted(through.stdout)
    assert [(SECOND, "/", [argument])] == [(call.generation, call.directory, call.words) for call in trace.calls()]


def hostile(identity):
    """Texts that would name another pod's sandbox to whoever does not read JSON."""
    fake = f'"io.kubernetes.cri.sandbox-id":"{identity}"'
    return [
        fake,
        f"{{{fake}}}",
        f",{fake}",
        f"\n{fake}",
        f'\\",{fake},\\"',
        f"\n@{identity}\n",
        "$(reboot)`reboot`';reboot",
    ]


@pytest.fixture
def passing_annotations(traced):
    """containerd hands all annotations of a pod's author on, as some are configured to."""
    node = traced.node
    line = f'runtime_type = "{SHIM}"\n'
    (file,) = node.run(f"grep -rlF '{line.strip()}' /etc/containerd").stdout.split()
    before = node.read(file)
    node.write(file, before.replace(line, f'{line}pod_annotations = ["*"]\ncontainer_annotations = ["*"]\n'))
    node.run("systemctl restart containerd")
    yield
    node.write(file, before)
    node.run("systemctl restart containerd")


@pytest.mark.parametrize(("kind", "own"), each_kind({"debian12": FIRST, "debian13": SECOND, "containerd2.4": FIRST}))
def test_what_a_pod_s_author_writes_never_leads_to_another_pod_s_generation(trace, passing_annotations, own):
    another = FIRST + SECOND - own
    trace.make_current(another)
    victim = trace.pods.run("runsc", "victim")
    trace.make_current(own)
    texts = hostile(victim.id)
    annotations = {
        "io.kubernetes.cri.sandbox-id": victim.id,
        **{f"example.com/{number}": text for number, text in enumerate(texts)},
        f'x","io.kubernetes.cri.sandbox-id":"{victim.id}","y': "z",
    }
    pod = trace.pods.run("runsc", f"a'b\"c $(reboot)\n{texts[1]}", namespace=f"d{texts[2]}", annotations=annotations)
    trace.make_current(another)

    container = pod.start_container(
        'c"d', ["sh", "-c", "sleep 1000", *texts], environment={"X": texts[3], "Y": texts[5]}, annotations=annotations
    )

    assert victim.id in trace.node.read(f"{BUNDLES}/{container.id}/config.json")
    assert (0, texts[3]) == pod.exec(container, ["sh", "-c", 'printf %s "$X"'])
    for identity in (pod.id, container.id):
        assert {own} == {call.generation for call in trace.calls() if call.bundle == identity}
        assert f"{own}\n" == trace.node.read(f"{BUNDLES}/{identity}/{RECORD_NAME}")
    pod.remove()
    assert {another} == {call.generation for call in trace.calls() if call.bundle == victim.id}
    victim.remove()
    assert [] == bundles(trace.node)
