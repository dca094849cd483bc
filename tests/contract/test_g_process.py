"""Cases 68 to 76: what a seed sees of the process, and conditions."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack

import pytest
from landscape import SMR, Film, configuration, facts, pmr, version, with_options
from patience import eventually

from orchestrator.controller.kinds import CONTAINER_RUNTIMES, MANAGED_RESOURCES
from orchestrator.kube.lease import LEASES

HEARTBEAT = "gardener-extension-heartbeat"
LEADER = "runtime-gvisor-leader-election"
HEALTH = "SystemComponentsHealthy"


def lease(shoot, name):
    return shoot._get(LEASES, name)


def heartbeats(shoot, **settings):
    return {"heartbeat": {"namespace": shoot.namespace, "renewIntervalSeconds": 1}, **settings}


def test_case_68_the_heartbeat_is_made_and_renewed(shoot, process):
    with process(**heartbeats(shoot)) as one:
        one.await_ready()
        first = eventually(lambda: lease(shoot, HEARTBEAT), what=lambda: one.text)["spec"]
        times = {first["renewTime"]}
        begun = time.monotonic()

        def advanced():
            times.add(lease(shoot, HEARTBEAT)["spec"]["renewTime"])
            return len(times) > 2

        eventually(advanced, what=lambda: times)
        assert time.monotonic() - begun < 45, "as often as was asked for: by default it would be a minute"

    assert ("runtime-gvisor", 1) == (first["holderIdentity"], first["leaseDurationSeconds"])
    assert "acquireTime" not in first


def test_case_69_a_heartbeat_of_somebody_else_is_adopted(shoot, process):
    raw = {
        "apiVersion": LEASES.api_version,
        "kind": LEASES.kind,
        "metadata": {"name": HEARTBEAT, "namespace": shoot.namespace, "labels": {"example.com/l": "1"}},
        "spec": {"holderIdentity": "another", "renewTime": "2026-08-21T10:00:00.000000Z", "leaseDurationSeconds": 30},
    }
    shoot.client.create(LEASES, raw)
    with process(**heartbeats(shoot)) as one:
        eventually(lambda: lease(shoot, HEARTBEAT)["spec"]["holderIdentity"] == "runtime-gvisor", what=lambda: one.text)

    adopted = lease(shoot, HEARTBEAT)
    assert {"example.com/l": "1"} == adopted["metadata"]["labels"]
    assert raw["spec"]["renewTime"] < adopted["spec"]["renewTime"]


def test_case_70_an_interval_of_zero_ends_the_process_before_it_asks_anybody(shoot, process):
    with process(heartbeat={"namespace": shoot.namespace, "renewIntervalSeconds": 0}, kubeconfig="/nowhere") as one:
        assert 0 != one.process.wait(60)

    assert "heartbeat.renewIntervalSeconds" in one.text
    assert "/nowhere" not in one.text
    assert lease(shoot, HEARTBEAT) is None


def elects(shoot):
    return heartbeats(shoot, leaderElection={"enabled": True, "namespace": shoot.namespace})


@pytest.mark.feature("G8")
def test_case_71_one_replica_leads_and_the_other_takes_over_from_a_dead_one(shoot, process):
    with process(**elects(shoot)) as first:
        holder = eventually(lambda: lease(shoot, LEADER), what=lambda: first.text)["spec"]["holderIdentity"]
        with process(**elects(shoot)) as second:
            second.await_ready()
            shoot.deploy("a")
            shoot.await_ready("a")
            assert holder == lease(shoot, LEADER)["spec"]["holderIdentity"]
            eventually(lambda: wrote(first), what=lambda: first.text)
            assert not wrote(second)

            first.end(signal.SIGKILL)
            begun = time.monotonic()
            shoot.deploy("b")
            eventually(lambda: holder != lease(shoot, LEADER)["spec"]["holderIdentity"], 60, lambda: second.text)
            # The lease is 15 seconds, and a candidate looks every two.
            assert time.monotonic() - begun < 25
            shoot.await_ready("b", deadline=60)
            eventually(lambda: wrote(second), what=lambda: second.text)


def wrote(one):
    """Whether a process has changed anything but Leases since it began; a replica that waits has only listed.

    It is counted after it is written.
    """
    _, text = one.get(one.metrics, "/metrics")
    return "gvisor_nodes_reconcile_total{" in text


@pytest.mark.feature("G8")
def test_case_71_a_replica_that_ends_gives_the_lead_away_at_once(shoot, process):
    with process(**elects(shoot)) as first:
        eventually(lambda: (lease(shoot, LEADER) or {}).get("spec", {}).get("holderIdentity"), what=lambda: first.text)
        assert 0 == first.end(signal.SIGTERM), first.text

    assert "" == lease(shoot, LEADER)["spec"].get("holderIdentity", "")


@pytest.mark.feature("G7")
def test_case_72_the_endpoints_answer(shoot, process):
    with process() as one:
        one.await_ready()
        shoot.deploy()
        shoot.await_ready()

        assert (200, "ok") == one.get(one.health, "/healthz") == one.get(one.health, "/readyz")
        counted = 'gvisor_nodes_reconcile_total{result="succeeded",verb="reconcile"}'
        eventually(lambda: counted in one.get(one.metrics, "/metrics")[1], what=lambda: one.text)
        code, text = one.get(one.metrics, "/metrics")
    assert 200 == code
    for line in (
        'workqueue_depth{name="containerruntime"} 0.0',
        'gvisor_nodes_watch_restarts_total{reason="start",resource="containerruntimes"} 1.0',
        'gvisor_nodes_api_requests_total{cluster="seed",code="201",verb="create"}',
        "gvisor_nodes_leader 1.0",
    ):
        assert line in text


def test_case_72_it_is_not_ready_before_everything_is_listed(process, cluster):
    with ExitStack() as frozen:
        frozen.enter_context(cluster.seed.frozen())
        with process() as one:
            eventually(lambda: one.get(one.health, "/healthz")[0], 60, lambda: one.text)
            code, why = one.get(one.health, "/readyz")
            assert 503 == code
            for name in ("containerruntimes", "clusters", "managedresources"):
                assert name in why
            frozen.close()
            one.await_ready()


def test_every_line_of_a_reconcile_tells_which(shoot, process):
    with process() as one:
        one.await_ready()
        shoot.deploy()
        shoot.await_ready()
        one.end()
        mine = [line for line in one.lines if line.get("object") == f"{shoot.namespace}/gvisor-a"]

    assert mine
    assert all(line["reconcile_id"] and line["ts"] and line["level"] for line in mine)
    assert {"reconcile"} <= {line["verb"] for line in mine}


@pytest.fixture
def reconciled(shoot, controller):
    """A Shoot after case 6, everything applied and told; the controller runs on."""
    with controller(with_options(patience=2)) as running:
        shoot.deploy()
        shoot.await_ready()
        await_health(shoot, "True", "All health checks successful")
        running.await_quiet()
        shoot.running = running
        yield shoot


def health(shoot):
    conditions = (shoot.get().get("status") or {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == HEALTH), {})


def await_health(shoot, status, message):
    return eventually(
        lambda: (one := health(shoot)).get("status") == status and message in one["message"] and one,
        what=lambda: (health(shoot), shoot.resource(SMR)),
    )


def report(shoot, name, status, message):
    """Let a ManagedResource report something, as the resource manager does."""
    now = "2026-08-21T10:00:00Z"
    condition = {"type": "ResourcesApplied", "status": status, "reason": "ApplyFailed", "message": message}
    condition |= {"lastTransitionTime": now, "lastUpdateTime": now}
    shoot.client.patch(MANAGED_RESOURCES, name, {"status": {"conditions": [condition]}}, shoot.namespace, "status")


@pytest.mark.feature("G5")
def test_case_73_a_hibernated_shoot_is_healthy_because_it_sleeps(reconciled):
    reconciled.change_shoot(spec={"hibernation": {"enabled": True}})
    condition = await_health(reconciled, "True", "Shoot is hibernated")

    assert "HealthCheckSuccessful" == condition["reason"]


@pytest.mark.feature("G5")
def test_case_74_times_change_only_with_what_they_are_about(reconciled, stuck):
    foreign = {
        "type": "Foreign",
        "status": "True",
        "reason": "R",
        "message": "m",
        "lastTransitionTime": "2026-08-21T10:00:00Z",
        "lastUpdateTime": "2026-08-21T10:00:00Z",
    }
    old = {**health(reconciled), "lastTransitionTime": "2026-08-21T10:00:00Z", "lastUpdateTime": "2026-08-21T10:00:00Z"}
    others = [one for one in reconciled.get()["status"]["conditions"] if one["type"] != HEALTH]
    with stuck():
        reconciled.patch("a", {"status": {"conditions": [foreign, old, *others]}}, "status")
        reconciled.ask()
        reconciled.await_ready()
        reconciled.running.await_quiet()
        assert old == health(reconciled), "the same again"

        report(reconciled, pmr("a"), "False", "first")
        first = await_health(reconciled, "False", "first")
        assert old["lastTransitionTime"] < first["lastTransitionTime"]
        assert old["lastUpdateTime"] < first["lastUpdateTime"]

        reconciled.patch(
            "a",
            {
                "status": {
                    "conditions": [
                        foreign,
                        {**first, **{key: old[key] for key in ("lastTransitionTime", "lastUpdateTime")}},
                        *others,
                    ]
                }
            },
            "status",
        )
        report(reconciled, pmr("a"), "False", "second")
        second = await_health(reconciled, "False", "second")
    assert old["lastTransitionTime"] == second["lastTransitionTime"]
    assert old["lastUpdateTime"] < second["lastUpdateTime"]
    assert foreign == reconciled.get()["status"]["conditions"][0]


def test_case_75_a_condition_touches_nothing_else(reconciled, stuck):
    before = reconciled.get()
    with stuck(), Film(reconciled.client, reconciled.namespace, CONTAINER_RUNTIMES) as film:
        report(reconciled, SMR, "False", "it does not work")
        await_health(reconciled, "False", "it does not work")
        film.until(len)
    after = reconciled.get()

    for key in ("lastOperation", "lastError", "observedGeneration"):
        assert before["status"].get(key) == after["status"].get(key)
    assert "gardener.cloud/operation" not in after["metadata"]["annotations"]
    assert [after["metadata"]["resourceVersion"]] == [version(raw) for *_, raw in film.ordered()]


@pytest.mark.parametrize("leaving", ["deleting", "migrate", "migrated"])
def test_case_76_nothing_is_told_of_an_object_that_leaves(reconciled, stuck, leaving, beacon):
    def said():
        return reconciled.get()["status"]["conditions"]

    before = said()
    if leaving == "migrated":
        reconciled.ask(operation="migrate")
        eventually(lambda: "gardener.cloud/operation" not in reconciled.get()["metadata"]["annotations"])
        beacon(reconciled, reconciled.running)
        report(reconciled, SMR, "False", "it does not work")
        beacon(reconciled, reconciled.running)
    else:
        with stuck():
            reconciled.patch(
                "a", {"metadata": {"finalizers": [*reconciled.get()["metadata"]["finalizers"], "example.com/x"]}}
            )
            reconciled.delete() if leaving == "deleting" else reconciled.ask(operation="migrate")
            reconciled.await_state("Error")
            report(reconciled, pmr("a"), "False", "it does not work")
            reconciled.change_shoot(spec={"hibernation": {"enabled": True}})
            reconciled.await_state("Error")
            eventually(lambda: reconciled.running.controller.queue.drain(0.0))
            assert before == said()
        return
    assert before == said()
    assert "Migrate" == facts(reconciled.get())[0]


@pytest.mark.feature("G6")
def test_left_out_settings_are_also_an_event(shoot, process):
    with process():
        shoot.deploy(spec={"providerConfig": configuration(platform="kvm")})
        shoot.await_ready()
        eventually(lambda: events(shoot), what=lambda: shoot.get()["status"])

    [event] = events(shoot)
    assert ("Warning", "SettingsLeftOut") == (event["type"], event["reason"])
    assert "platform" in event["message"]


def events(shoot):
    from orchestrator.kube.client import Selection
    from orchestrator.kube.events import EVENTS

    return [raw for page in shoot.client.pages(EVENTS, Selection(shoot.namespace)) for raw in page.items]
