"""Cases 57 to 59 and 80 to 84 with the node loop, and what else can happen to a run, in a Shoot and without Gardener.

Kubelets, scheduler and Job controller are played; the API servers are real.
"""

from __future__ import annotations

import base64
import json
import random
import secrets
import signal
import threading
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from dataclasses import asdict, replace
from ssl import create_default_context

import pytest
from landscape import NODES, Film, Running, controller_process, nanoseconds, pmr
from node_places import IMAGE, QUICK, OneCluster, ShootPlace, everything
from patience import PATIENCE, eventually
from played_kubelet import PlayedKubelet

from orchestrator.api.container_runtime import ContainerRuntime
from orchestrator.api.gardener import RUNTIME_LABEL
from orchestrator.controller.definition import ensure_definition
from orchestrator.controller.kinds import (
    CONFIG_MAPS,
    CONTAINER_RUNTIMES,
    JOBS,
    MANAGED_RESOURCES,
    PODS,
    SERVICE_ACCOUNTS,
)
from orchestrator.controller.nodes import job as jobs
from orchestrator.controller.nodes import mark
from orchestrator.controller.nodes.job import JobSettings
from orchestrator.controller.nodes.job_executor import JobExecutor
from orchestrator.controller.nodes.mark import Claim, Marks
from orchestrator.controller.nodes.plan import State
from orchestrator.controller.nodes.pool_pass import NodeSettings, PoolPass
from orchestrator.controller.nodes.target import Target
from orchestrator.controller.pool_objects import NAMESPACE
from orchestrator.controller.removal import nodes_stay
from orchestrator.execution.job_result import JobResult, render
from orchestrator.kube.client import Client, Selection
from orchestrator.kube.credentials import from_file
from orchestrator.kube.events import EVENTS
from orchestrator.kube.resource import Resource
from orchestrator.kube.shoot_credentials import SECRETS
from orchestrator.kube.store import Store
from orchestrator.lab.api_server import ApiServer
from orchestrator.lab.ports import free_ports

BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", namespaced=False)


@pytest.fixture(params=["gardener", "standalone"])
def place(request):
    """A pool without nodes, whose ContainerRuntime is not there yet."""
    if request.param == "gardener":
        one = ShootPlace(request.getfixturevalue("shoot"))
    else:
        one = OneCluster(request.getfixturevalue("client"))
    yield one
    one.clear()


@pytest.fixture
def cluster_of_one(client):
    """The same, always without Gardener."""
    one = OneCluster(client)
    yield one
    one.clear()


@pytest.fixture
def kubelet(place):
    with PlayedKubelet(place.target) as one:
        yield one


@pytest.fixture
def run(place, request, client):
    """``with run() as running``: a controller of the place's kind."""

    def start(**changes):
        if place.standalone:
            return Running(client, place.options(**changes))
        return request.getfixturevalue("controller")(place.options(**changes))

    return start


@pytest.fixture
def pool(place, run):
    """A pool that is looked after."""
    with run() as running:
        place.deploy()
        place.await_looked_after()
        place.running = running
        yield place


# What becomes of a run is the same code wherever the pool is: the other place is for `make exhaustive`.
ELSEWHERE = pytest.mark.exhaustive
SHOOT_SUFFICES = pytest.mark.parametrize(
    "place", ["gardener", pytest.param("standalone", marks=ELSEWHERE)], indirect=True
)
ONE_CLUSTER_SUFFICES = pytest.mark.parametrize(
    "place", [pytest.param("gardener", marks=ELSEWHERE), "standalone"], indirect=True
)


# New nodes, replaced nodes.


@pytest.mark.feature("D8")
@pytest.mark.feature("G3")
def test_case_80_a_new_node_gets_a_run_of_its_own_and_the_operation_stays_as_it_was(pool, kubelet):
    kubelet.ends(pool.add_node("n1"))
    pool.await_states(n1="Ready")
    before = pool.get()
    kubelet.ends(pool.add_node("n5"))
    pool.await_states(n1="Ready", n5="Ready")

    assert [pool.full("n1"), pool.full("n5")] == [raw["metadata"]["annotations"][jobs.NODE] for raw in kubelet.jobs()]
    assert before["status"]["lastOperation"] == pool.get()["status"]["lastOperation"]
    assert "2 of 2 nodes" in pool.said()["message"]
    assert pool.marks("n5").ready


@pytest.mark.feature("C10")
@SHOOT_SUFFICES
def test_case_81_a_node_that_was_replaced_is_a_new_one(pool, kubelet):
    first = kubelet.ends(pool.add_node("n1"))
    pool.await_states(n1="Ready")
    pool.drop_node("n1")
    pool.await_said("True", "0 of 0")
    second = kubelet.ends(pool.add_node("n1"))
    pool.await_states(n1="Ready")

    assert first["metadata"]["labels"][jobs.NODE_UID] != second["metadata"]["labels"][jobs.NODE_UID]
    assert pool.node("n1")["metadata"]["uid"] == pool.marks("n1").proof.uid


@pytest.mark.feature("D11")
@ONE_CLUSTER_SUFFICES
def test_a_node_that_leaves_the_pool_is_cleaned_and_looked_after_no_longer(pool, kubelet):
    full = pool.add_node("n1")
    kubelet.ends(full)
    pool.await_states(n1="Ready")
    labels = pool.node("n1")["metadata"]["labels"]
    ours = [name for name in labels if name not in {mark.READY, RUNTIME_LABEL}]
    pool.target.patch(NODES, full, {"metadata": {"labels": dict.fromkeys(ours)}})
    begun = kubelet.begins(full)
    assert not pool.marks("n1").ready
    kubelet.succeeds(begun)
    eventually(lambda: Marks() == pool.marks("n1"), what=lambda: pool.marks("n1"))
    pool.await_states()

    assert "remove" == begun["metadata"]["labels"]["gvisor-nodes/action"]
    assert "0 of 0" in pool.said()["message"]


@pytest.mark.feature("G6")
@SHOOT_SUFFICES
def test_what_becomes_of_a_node_is_an_event_of_that_node(pool, kubelet):
    def told(name):
        about = f"involvedObject.uid={pool.node(name)['metadata']['uid']}"
        pages = pool.target.pages(EVENTS, Selection(fields=about))
        return [(raw["type"], raw["reason"], raw["message"]) for page in pages for raw in page.items]

    kubelet.ends(pool.add_node("n1"))
    kubelet.ends(pool.add_node("n2"), "failed", step="proof", message="no sandbox starts", cause="exit code 128")

    ((kind, reason, message),) = eventually(lambda: told("n1"))
    assert ("Normal", "GVisorProved") == (kind, reason)
    assert message.endswith("is proved, generation 1")
    ((kind, reason, message),) = eventually(lambda: told("n2"))
    assert ("Warning", "GVisorFailed") == (kind, reason)
    assert "apply: [proof] no sandbox starts: exit code 128" == message


STARTUP = "startup-taint.cluster-autoscaler.kubernetes.io/gvisor"


@pytest.mark.feature("D9")
@ONE_CLUSTER_SUFFICES
def test_a_startup_taint_goes_with_the_proof_and_taints_of_others_stay(place, run, kubelet):
    with run(startup_taint=STARTUP):
        place.deploy()
        place.await_looked_after()
        other = {"key": "example.com/maintenance", "effect": "NoSchedule"}
        node = place.add_node("n1", ready=False)
        taints = [{"key": STARTUP, "effect": "NoSchedule"}, other]
        place.target.patch(NODES, node, {"spec": {"taints": taints}})
        place.heard_of("n1", ready=True)
        begun = kubelet.begins(node)
        assert {STARTUP, other["key"]} == {one["key"] for one in place.node("n1")["spec"]["taints"]}
        kubelet.succeeds(begun)
        place.await_states(n1="Ready")
        assert [other] == [{key: one[key] for key in other} for one in place.node("n1")["spec"]["taints"]]


@SHOOT_SUFFICES
def test_a_node_waits_until_the_upstream_extensions_pod_has_left_it(pool, kubelet):
    node = pool.full("n1")
    metadata = {
        "name": f"upstream-{node}",
        "namespace": NAMESPACE,
        "labels": {"app.kubernetes.io/name": "containerd-gvisor"},
    }
    spec = {"nodeName": node, "containers": [{"name": "installer", "image": "example/upstream"}]}
    pool.target.create(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    pool.add_node("n1")
    why = "the upstream extension's pod still runs there"
    eventually(lambda: why in str(pool.get()["status"].get("providerStatus")), what=lambda: pool.get()["status"])
    assert [] == kubelet.jobs(node)

    # The API server keeps a pod that runs until its kubelet has ended it.
    pool.target.patch(PODS, metadata["name"], {"status": {"phase": "Succeeded"}}, NAMESPACE, "status")
    pool.target.delete(PODS, metadata["name"], NAMESPACE)
    kubelet.ends(node)
    pool.await_states(n1="Ready")


# Deletions.


@pytest.mark.feature("G10")
def test_case_57_a_deletion_clears_the_pools_nodes_first_and_one_that_vanishes_is_no_failure(pool, kubelet):
    for name in ("n1", "n2", "n3"):
        kubelet.ends(pool.add_node(name))
    pool.await_states(n1="Ready", n2="Ready", n3="Ready")
    pool.add_node("other", of_pool=False)
    pool.delete()
    begun = [kubelet.begins(pool.full(name)) for name in ("n1", "n2", "n3")]
    assert {"remove"} == {raw["metadata"]["labels"]["gvisor-nodes/action"] for raw in begun}
    for name in ("n1", "n2", "n3"):
        assert (None, False) == ((marks := pool.marks(name)).proof, marks.ready), "the label goes before the run begins"

    kubelet.says(begun[0], render(JobResult(action="remove", outcome="changed")))
    eventually(lambda: Marks() == pool.marks("n1"))
    pool.drop_node("n2")
    assert still_provided(pool)
    kubelet.says(begun[2], render(JobResult(action="remove", outcome="ok")))
    pool.await_gone()

    assert [Marks(), Marks()] == [pool.marks("n1"), pool.marks("n3")]
    assert not any(pool.full("other") in str(raw) for raw in kubelet.jobs())
    mine = [job for name in ("n1", "n2", "n3") for job in kubelet.jobs(pool.full(name))]
    assert [] == mine, "what is left of runs goes with the pool"


def still_provided(pool):
    """Whether what a removal needs is still there, and nobody has asked for its end."""
    if pool.standalone:
        names = f"gvisor-nodes-{pool.namespace}-a"
        return all(pool.target.find(kind, names, NAMESPACE) for kind in (CONFIG_MAPS, SERVICE_ACCOUNTS))
    return "deletionTimestamp" not in pool.client.get(MANAGED_RESOURCES, pmr("a"), pool.namespace)["metadata"]


@pytest.mark.feature("H4")
def test_case_57_a_removal_that_pods_refuse_is_left_in_time_with_their_names(place, run, kubelet, caplog):
    with run() as running:
        place.deploy()
        place.await_looked_after()
        kubelet.ends(place.add_node("n1"))
        place.await_states(n1="Ready")
        place.delete()
        kubelet.ends(place.full("n1"), "refused", message="pods use gVisor", pods=("x/p1",), pods_total=1)
        # A patience of a few seconds could be over before that, on a machine with much else to do.
        states = running.controller._nodes.states
        key = (place.namespace, place.name)
        eventually(lambda: any(one.marks.failure for one in states(key) or ()), what=lambda: place.node("n1"))
        assert place.get()
        running.lose_patience()
        place.await_gone()

    assert f"gVisor stays on: {place.full('n1')} (pods use gVisor (1 pods: x/p1))" in caplog.text
    assert place.marks("n1").claim, "what is still there is still claimed"


@pytest.mark.parametrize(
    "why",
    [
        {"metadata": {"deletionTimestamp": "2026-08-21T10:00:00Z"}},
        {"spec": {"hibernation": {"enabled": True}}},
        {"metadata": {"annotations": {"confirmation.gardener.cloud/force-deletion": "true"}}},
    ],
    ids=["deleting", "hibernated", "forced"],
)
@pytest.mark.parametrize("place", ["gardener"], indirect=True)
def test_case_58_no_run_begins_where_that_is_pointless(pool, kubelet, why):
    kubelet.ends(pool.add_node("n1"))
    pool.await_states(n1="Ready")
    before = pool.node("n1")["metadata"]["resourceVersion"]
    pool.shoot.change_shoot(**why)
    controller = pool.running.controller
    nodes = controller._nodes
    eventually(lambda: nodes_stay(controller._cluster_of(pool.namespace)))  # gardenlet is not faster than a watch
    pool.delete()
    pool.await_gone()
    eventually(lambda: nodes.queue.drain(0.0))

    begun = kubelet.jobs(pool.full("n1"))
    assert ["apply"] == [raw["metadata"]["labels"]["gvisor-nodes/action"] for raw in begun]
    assert before == pool.node("n1")["metadata"]["resourceVersion"]


@pytest.mark.feature("D15")
def test_case_59_nodes_that_do_not_answer_are_left_when_the_patience_is_over(place, run, kubelet, caplog):
    with run(patience=4.0):
        place.deploy()
        place.await_looked_after()
        kubelet.ends(place.add_node("n1"))
        place.await_states(n1="Ready")
        place.heard_of("n1", ready=False)
        place.await_states(n1="Ready")
        place.delete()
        place.await_gone()

    assert f"gVisor stays on: {place.full('n1')} (its kubelet is not ready)" in caplog.text


def test_a_removal_that_ends_after_its_object_is_still_recorded_and_nothing_of_it_stays(place, run, kubelet):
    with run() as running:
        place.deploy()
        place.await_looked_after()
        kubelet.ends(place.add_node("n1"))
        place.await_states(n1="Ready")
        place.delete()
        begun = kubelet.begins(place.full("n1"))
        running.lose_patience()
        place.await_gone()
        kubelet.succeeds(begun)
        eventually(lambda: place.marks("n1") == Marks(), what=lambda: place.marks("n1"))
        eventually(lambda: not kubelet.jobs(place.full("n1")))


@pytest.mark.parametrize("place", ["gardener"], indirect=True)
def test_case_59_a_shoot_that_does_not_answer_costs_no_more_than_the_patience(place, run):
    with run(patience=2.0):
        place.deploy()
        place.await_looked_after()
        config = place.shoot.target_kubeconfig("a-token")
        [port] = free_ports(1)
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
        write_access(place, config)
    with run(patience=2.0):
        begun = time.monotonic()
        place.delete()
        place.await_gone()

    assert time.monotonic() - begun < 20


# Access to the Shoot.


def write_access(place, config):
    encoded = base64.b64encode(json.dumps(config).encode()).decode()
    place.client.patch(SECRETS, "gardener-internal", {"data": {"kubeconfig": encoded}}, place.namespace)


@pytest.fixture
def accounts(target, cluster):
    """Makes administrators of the Shoot by ServiceAccounts, whose tokens end with them; name and token."""
    made = []

    def make():
        name = f"admin-{secrets.token_hex(3)}"
        metadata = {"name": name, "namespace": NAMESPACE}
        target.create(SERVICE_ACCOUNTS, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
        made.append(name)
        target.create(
            BINDINGS,
            {
                "apiVersion": BINDINGS.api_version,
                "kind": BINDINGS.kind,
                "metadata": {"name": name},
                "roleRef": {"apiGroup": BINDINGS.group, "kind": "ClusterRole", "name": "cluster-admin"},
                "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}],
            },
        )
        path = Resource(
            "", "v1", f"namespaces/{NAMESPACE}/serviceaccounts/{name}/token", "TokenRequest", namespaced=False
        )
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        return name, target.create(path, asked)["status"]["token"]

    yield make
    for name in made:
        target.delete(SERVICE_ACCOUNTS, name, NAMESPACE)
        target.delete(BINDINGS, name)


def is_refused(server, token):
    context = create_default_context(cadata=server.authority.decode())
    headers = {"Authorization": f"Bearer {token}"}
    request = urllib.request.Request(f"{server.url}/api/v1/nodes?limit=1", headers=headers)  # noqa: S310 - https
    try:
        with urllib.request.urlopen(request, timeout=30, context=context):  # noqa: S310 - https, to loopback
            return False
    except urllib.error.HTTPError as error:
        with error:
            return error.code == 401


@pytest.mark.parametrize("place", ["gardener"], indirect=True)
def test_case_84_no_token_of_a_shoot_shows_up_and_a_renewed_one_is_used_without_a_restart(
    place, kubelet, process, accounts, target, cluster
):
    (first, old), (_, new) = accounts(), accounts()
    place.deploy()
    write_access(place, place.shoot.target_kubeconfig(old))
    settings = {"nodes": {"executor": "job", "image": "example/gvisor-nodes:test"}, "log": {"level": "debug"}}
    with process(**settings) as one:
        one.await_ready()
        place.await_looked_after()
        kubelet.ends(place.add_node("n1"))
        place.await_states(n1="Ready")

        write_access(place, place.shoot.target_kubeconfig(new))
        target.delete(SERVICE_ACCOUNTS, first, NAMESPACE)
        eventually(lambda: is_refused(cluster.shoot, old))
        kubelet.ends(place.add_node("n2"))
        place.await_states(n1="Ready", n2="Ready")
        kubelet.ends(place.add_node("n3"), "failed", message=f"it said {new[:5]}")
        place.await_said("False", place.full("n3"))
        assert one.process.poll() is None
        shown = [one.text, one.get(one.metrics, "/metrics")[1]]

    shown.append(everything(place.client, CONTAINER_RUNTIMES, EVENTS, MANAGED_RESOURCES))
    shown.append(everything(target, EVENTS, NODES, JOBS, PODS, CONFIG_MAPS))
    ours = place.client.pages(SECRETS, Selection(place.namespace))
    shown += [str(raw) for page in ours for raw in page.items if raw["metadata"]["name"] != "gardener-internal"]
    for token in (old, new):
        assert not [text for text in shown if token in text or token.split(".")[2] in text]


# What can happen to a run.


@ONE_CLUSTER_SUFFICES
def test_a_node_that_goes_takes_its_run_with_it_and_the_next_one_begins(pool, kubelet):
    first = kubelet.begins(pool.add_node("n1"))
    pool.add_node("n2")
    pool.drop_node("n1")
    kubelet.ends(pool.full("n2"))
    pool.await_states(n2="Ready")

    assert first["metadata"]["name"] not in str(kubelet.jobs())


@pytest.mark.feature("C10")
@ONE_CLUSTER_SUFFICES
def test_the_end_of_a_run_on_a_replaced_node_says_nothing_of_the_new_one(pool, kubelet):
    first = kubelet.begins(pool.add_node("n1"))
    with Film(pool.target, "", NODES) as film:
        pool.drop_node("n1")
        pool.add_node("n1")
        second = kubelet.begins(pool.full("n1"))
        told = {"action": "apply", "outcome": "ok", "proved": True, "release": "r"}
        fingerprint = first["metadata"]["annotations"]["gvisor-nodes/fingerprint"]
        kubelet.says(second, render(JobResult(**told, fingerprint=fingerprint, generation=7)))
        pool.await_states(n1="Ready")
        film.until(len)

    assert first["metadata"]["name"] not in str(kubelet.jobs())
    assert 7 == pool.marks("n1").proof.generation


@ONE_CLUSTER_SUFFICES
def test_a_job_that_somebody_deletes_is_made_anew_when_its_pod_is_gone(pool, kubelet):
    first = kubelet.begins(pool.add_node("n1"))
    pool.target.delete(JOBS, first["metadata"]["name"], NAMESPACE)
    kubelet.forgets(first)
    second = kubelet.ends(pool.full("n1"))
    pool.await_states(n1="Ready")

    assert first["metadata"]["name"] == second["metadata"]["name"]
    assert first["metadata"]["uid"] != second["metadata"]["uid"]


@pytest.mark.feature("D13")
@ONE_CLUSTER_SUFFICES
def test_an_evicted_pod_is_a_failure_that_is_named_and_tried_again(place, run, kubelet):
    # Long enough to be seen before the next run begins; marks are in whole seconds.
    with run(pace=replace(QUICK, first=4.0, longest=4.0)):
        place.deploy()
        place.await_looked_after()
        kubelet.evicts(kubelet.begins(place.add_node("n1")))
        place.await_said("False", "Evicted: The node was low on resource")
        kubelet.ends(place.full("n1"))
        place.await_states(n1="Ready")


@ONE_CLUSTER_SUFFICES
def test_an_image_that_is_missing_is_named_at_once_and_given_up_and_other_nodes_go_on(place, run, kubelet):
    never = replace(QUICK, first=600.0, longest=600.0)
    with run(pace=replace(never, grace=600.0)):
        place.deploy()
        place.await_looked_after()
        node = place.add_node("n1")
        first = kubelet.begins(node, waiting={"reason": "ErrImagePull", "message": "no such image"})
        place.await_said("Progressing", "ErrImagePull: no such image")
    with run(pace=never):
        place.add_node("n2")
        place.await_said("False", node, "the run could not begin: ErrImagePull: no such image")
        eventually(lambda: first["metadata"]["name"] not in str(kubelet.jobs()))
        kubelet.forgets(first)
        kubelet.ends(place.full("n2"))
        place.await_states(n1="Failed", n2="Ready")


@pytest.mark.parametrize(
    "message", ["{", "\x1b[2J\x00 nothing", '{"schema":1,"action":"apply","outcome":"ok","proved":true}', "x" * 4096]
)
@pytest.mark.parametrize("place", ["standalone"], indirect=True)
def test_a_strange_message_proves_nothing_and_the_node_is_tried_again(pool, kubelet, message):
    kubelet.says(kubelet.begins(pool.add_node("n1")), message)
    eventually(lambda: pool.marks("n1").failure, what=lambda: pool.node("n1"))
    marks = pool.marks("n1")
    assert (None, False, "unknown") == (marks.proof, marks.ready, marks.failure.outcome)

    kubelet.ends(pool.full("n1"))
    pool.await_states(n1="Ready")


@pytest.mark.feature("D14")
@ONE_CLUSTER_SUFFICES
def test_a_run_that_hangs_is_given_up_and_gone_before_the_next_begins(place, run, kubelet):
    with run(timeout=1):
        place.deploy()
        place.await_looked_after()
        first = kubelet.begins(place.add_node("n1"), running={"startedAt": nanoseconds()})
        place.await_said("False", "the run did not end: there was no result after 2 s")
        eventually(lambda: first["metadata"]["name"] not in str(kubelet.jobs()))
        kubelet.forgets(first)
        second = kubelet.ends(place.full("n1"))
        place.await_states(n1="Ready")

    assert first["metadata"]["name"] != second["metadata"]["name"]


# What can happen to controllers and API servers.


class Witness:
    """Counts from everything that happened how many Jobs each node had under way at once."""

    def __init__(self, film):
        self._film = film

    def most(self):
        going, most = {}, {}
        for _, what, kind, raw in self._film.ordered():
            name = raw["metadata"].get("labels", {}).get("batch.kubernetes.io/job-name", raw["metadata"]["name"])
            uid = raw["metadata"].get("labels", {}).get(jobs.NODE_UID)
            if uid is None:
                continue
            under_way = going.setdefault(uid, set())
            if kind == "Job" and what == "ADDED":
                under_way.add(name)
            elif what == "DELETED" or raw.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
                under_way.discard(name)
            most[uid] = max(most.get(uid, 0), len(under_way))
        return max(most.values(), default=0)


@pytest.mark.feature("D1")
@pytest.mark.feature("D10")
def test_two_controllers_at_once_never_start_two_runs_on_a_node(cluster_of_one, server, client):
    one = cluster_of_one
    with Film(client, NAMESPACE, JOBS, PODS) as film, PlayedKubelet(client) as kubelet, ExitStack() as stack:
        for _ in range(2):
            own = stack.enter_context(Client(from_file(server.kubeconfig_file)))
            stack.enter_context(Running(own, one.options()))
        one.deploy()
        stack.enter_context(kubelet.serving())
        names = [f"n{number}" for number in range(6)]
        for name in names:
            one.add_node(name)
        one.await_states(**dict.fromkeys(names, "Ready"))
        assert 1 == Witness(film).most()
        assert len(names) == len(kubelet.jobs())


class Late:
    """A cluster whose Nodes are seen as they were before: its watch of them is slower than that of Jobs."""

    def __init__(self, target, *looks):
        self._target = target
        self._looks = list(looks)

    def nodes(self):
        return self._looks.pop(0) if self._looks else self._target.nodes()

    def __getattr__(self, name):
        return getattr(self._target, name)


@pytest.fixture
def watched(client):
    """The cluster as a second controller sees it."""
    one = Target(client.sibling(), lambda: None)
    one.start()
    assert one.wait_synced(PATIENCE)
    yield one
    one.stop()


class TestWhatAnotherControllerHasBegun:
    """A run is not for the nodes as they were looked at; only where it is not for those of now it ends."""

    @pytest.fixture
    def begun(self, cluster_of_one, client, watched):
        """How the Nodes were before, and the name of the run that the other one has begun since, and maybe recorded."""
        one = cluster_of_one
        with PlayedKubelet(client) as kubelet:

            def begin(*, seen=True, ended=False):
                with Running(client, one.options()):
                    one.deploy()
                    one.await_looked_after()
                    full = one.add_node("n1", ready=False)
                    before = eventually(lambda: tuple(node for node in watched.nodes() if node.name == full))
                    one.heard_of("n1", ready=True)
                    raw = kubelet.await_job(full)
                    if ended:
                        kubelet.ends(full)
                        one.await_states(n1="Ready")
                eventually(lambda: self.executor(watched).runs(f"{one.namespace}/{one.name}"))
                return before if seen else (), raw["metadata"]["name"]

            yield begin

    @staticmethod
    def executor(watched, pods=None):
        return JobExecutor(watched.client, watched.jobs, watched.pods if pods is None else pods, JobSettings(IMAGE))

    def left(self, one, watched, *looks, pods=None):
        """The runs there are after a pass that looked at the Nodes so, one time after the other."""
        settings = NodeSettings(standalone=True, gate=mark.gate(standalone=True), timeout=300.0)
        one_pass = PoolPass(Late(watched, *looks), self.executor(watched, pods), settings, owns=lambda _: True)
        told = one_pass.keep(ContainerRuntime.read(one.get()))
        of_pool = f"{jobs.POOL}={jobs.pool_label(f'{one.namespace}/{one.name}')}"
        pages = watched.client.pages(JOBS, Selection(NAMESPACE, labels=of_pool))
        return {raw["metadata"]["name"] for page in pages for raw in page.items}, [each.state for each in told.states]

    @pytest.mark.parametrize("seen", [False, True], ids=["the node was not there", "the node had no claim"])
    def test_goes_on_however_late_its_node_is_seen(self, cluster_of_one, watched, begun, seen):
        before, name = begun(seen=seen)
        eventually(lambda: any(mark.read(node).claim for node in watched.nodes()))
        now = watched.nodes()

        for looks in ((before, before), (before, now), (now, now)):
            assert {name} == self.left(cluster_of_one, watched, *looks)[0]

    def test_keeps_its_log_however_late_its_end_is_seen(self, cluster_of_one, watched, begun):
        _, name = begun(ended=True)
        eventually(lambda: any(mark.read(node).proof for node in watched.nodes()))

        assert ({name}, [State.READY]) == self.left(cluster_of_one, watched, pods=Store())

    def test_ends_where_it_was_given_up(self, cluster_of_one, watched, begun, client):
        begun()
        given_up = json.dumps({**asdict(cluster_of_one.marks("n1").claim), "recorded": True})
        client.patch(NODES, cluster_of_one.full("n1"), {"metadata": {"annotations": {mark.CLAIM: given_up}}})
        eventually(lambda: any((mark.read(node).claim or Claim("", "")).recorded for node in watched.nodes()))

        assert set() == self.left(cluster_of_one, watched)[0]

    def test_ends_where_no_claim_names_it(self, cluster_of_one, watched, begun, client):
        before, _ = begun()
        unnamed = {"metadata": {"annotations": {mark.CLAIM: None}}}
        client.patch(NODES, cluster_of_one.full("n1"), unnamed)

        assert set() == self.left(cluster_of_one, watched, before, before)[0]

    def test_ends_where_its_node_is_gone(self, cluster_of_one, watched, begun):
        begun()
        cluster_of_one.drop_node("n1")

        assert set() == self.left(cluster_of_one, watched, (), ())[0]


@pytest.mark.feature("D10")
@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.exhaustive)])
def test_a_controller_that_is_killed_at_any_moment_leaves_nothing_that_the_next_does_not_finish(
    cluster_of_one, server, client, tmp_path, kills
):
    one, chance = cluster_of_one, random.Random(20260817)  # noqa: S311 - moments
    settings = {"mode": "standalone", "nodes": {"executor": "job", "image": "example/gvisor-nodes:test"}}
    with (
        Film(client, NAMESPACE, JOBS, PODS) as film,
        Film(client, "", NODES) as nodes,
        PlayedKubelet(client) as kubelet,
        kubelet.serving(),
    ):
        one.deploy()
        for number in range(kills):
            with controller_process(tmp_path, server.kubeconfig_file, settings) as process:
                process.await_ready()
                one.add_node(f"n{number}")
                seen = len(nodes.ordered()) + len(film.ordered()) + chance.randrange(8)
                at = time.monotonic() + 3
                eventually(
                    lambda seen=seen, at=at: len(nodes.ordered()) + len(film.ordered()) >= seen or time.monotonic() > at
                )
                process.end(signal.SIGKILL)
        with controller_process(tmp_path, server.kubeconfig_file, settings) as process:
            wanted = {one.full(f"n{number}"): "Ready" for number in range(kills)}
            eventually(lambda: wanted == one.states(), 120, lambda: (one.get()["status"], process.text[-2000:]))
        assert 1 == Witness(film).most()


@pytest.mark.parametrize("seconds", [0, pytest.param(60, marks=pytest.mark.exhaustive)])
def test_an_api_server_that_is_away_for_a_while_is_waited_for(tmp_path, seconds):
    with ApiServer(tmp_path / "server") as server, Client(from_file(server.kubeconfig_file)) as client:
        ensure_definition(client, threading.Event())
        one = OneCluster(client)
        with PlayedKubelet(client) as kubelet, Running(client, one.options()) as running:
            one.deploy()
            one.await_looked_after()
            begun = kubelet.begins(one.add_node("n1"))
            server.stop()
            running.controller._nodes.look_at("")
            eventually(lambda: running.controller._nodes.queue.drain(0.0))
            threading.Event().wait(seconds)  # it is the outage itself
            server.start()
            kubelet.succeeds(begun)
            second = one.add_node("n2")
            eventually(lambda: kubelet.jobs(second), 120)  # watches are tried again every half a minute by then
            kubelet.ends(second)
            eventually(lambda: {"Ready"} == set(one.states().values()), 120, lambda: one.get()["status"])
            assert 2 == len(kubelet.jobs())
