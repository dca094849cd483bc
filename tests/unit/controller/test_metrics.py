"""The metrics: names that dashboards know, a number of series that does not grow, and what the parts of ``kube`` tell."""

from __future__ import annotations

from typing import get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from orchestrator.controller.metrics import ALL, NODE_STATES, Metrics, Result
from orchestrator.controller.verb import Verb
from orchestrator.execution.job_result import JobOutcome
from orchestrator.kube.resource import Resource
from orchestrator.kube.work_queue import WorkQueue

NODES = Resource("", "v1", "nodes", "Node", namespaced=False)


def samples(metrics):
    """Every sample by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
    }


def value(metrics, name, /, **labels):
    return samples(metrics)[name, tuple(sorted(labels.items()))]


def series(metrics, name):
    return {key for key in samples(metrics) if key[0] == name}


def test_what_is_documented_is_what_there_is():
    families = list(text_string_to_metric_families(Metrics().exposition().decode()))
    own = {family.name: (family.type, family.documentation) for family in families if "process_" not in family.name}

    assert own == {one.name.removesuffix("_total"): (one.kind, one.meaning) for one in ALL}
    assert "process_resident_memory_bytes" in {family.name for family in families}


def test_two_processes_worth_of_metrics_do_not_mix():
    one, other = Metrics(), Metrics()

    one.leads(leading=True)

    assert (value(one, "gvisor_nodes_leader"), value(other, "gvisor_nodes_leader")) == (1, 0)


def test_a_work_queue_tells_what_controller_runtimes_tell():
    metrics = Metrics()
    now = [100.0]
    queue = WorkQueue(clock=lambda: now[0], metrics=metrics.queue("containerruntime"))

    queue.add("a")
    queue.add("b")
    now[0] += 0.5
    queue.get(0)
    now[0] += 2
    queue.add_rate_limited("a")
    queue.done("a")

    def of(name, **labels):
        return value(metrics, f"workqueue_{name}", name="containerruntime", **labels)

    assert (of("depth"), of("adds_total"), of("retries_total")) == (1, 2, 1)
    assert (of("queue_duration_seconds_count"), of("queue_duration_seconds_sum")) == (1, 0.5)
    assert (of("work_duration_seconds_count"), of("work_duration_seconds_sum")) == (1, 2)
    assert (of("work_duration_seconds_bucket", le="1.0"), of("work_duration_seconds_bucket", le="10.0")) == (0, 1)


def test_a_queue_that_nothing_happened_to_is_there_already():
    metrics = Metrics()
    metrics.queue("containerruntime")

    assert value(metrics, "workqueue_adds_total", name="containerruntime") == 0


def test_a_reconcile_is_counted_by_verb_and_result_and_timed_by_verb():
    metrics = Metrics()

    metrics.reconciled(Verb.DELETE, Result.WAITING, 0.2)
    metrics.reconciled(Verb.DELETE, Result.SUCCEEDED, 0.3)
    metrics.reconciled(None, Result.NOTHING, 0.0)

    assert value(metrics, "gvisor_nodes_reconcile_total", verb="delete", result="waiting") == 1
    assert value(metrics, "gvisor_nodes_reconcile_total", verb="none", result="nothing") == 1
    assert value(metrics, "gvisor_nodes_reconcile_duration_seconds_sum", verb="delete") == 0.5


def test_requests_are_counted_by_kind_of_cluster_verb_and_code():
    metrics = Metrics()
    observe = metrics.api_requests("shoot")

    observe("get", 200)
    observe("get", 200)
    observe("watch", 0)

    assert value(metrics, "gvisor_nodes_api_requests_total", cluster="shoot", verb="get", code="200") == 2
    assert value(metrics, "gvisor_nodes_api_requests_total", cluster="shoot", verb="watch", code="error") == 1


def test_begun_watches_are_counted_by_resource_and_reason():
    metrics = Metrics()

    metrics.watch_restarts(NODES)("expired")

    assert value(metrics, "gvisor_nodes_watch_restarts_total", resource="nodes", reason="expired") == 1


@pytest.mark.feature("G7")
def test_nodes_are_counted_by_state_and_those_that_are_gone_no_longer():
    metrics = Metrics()

    metrics.nodes(["Ready", "Failed", "Ready"])
    metrics.nodes(["Ready", "Pending"])

    assert {"Ready": 1, "Pending": 1} == {
        dict(labels)["state"]: number
        for (name, labels), number in samples(metrics).items()
        if name == "gvisor_nodes_nodes" and number
    }
    assert len(NODE_STATES) == len(series(metrics, "gvisor_nodes_nodes"))


@pytest.mark.feature("G7")
def test_runs_are_counted_by_action_and_outcome_and_timed_by_action():
    metrics = Metrics()

    metrics.run_ended("apply", "changed", 12.0)
    metrics.run_ended("apply", "refused", 3.0)
    metrics.run_ended("a stranger's", "word", 1.0)

    assert value(metrics, "gvisor_nodes_runs_total", action="apply", outcome="refused") == 1
    assert value(metrics, "gvisor_nodes_runs_total", action="other", outcome="other") == 1
    assert value(metrics, "gvisor_nodes_run_duration_seconds_sum", action="apply") == 15


@pytest.mark.parametrize("word", [*get_args(JobOutcome.__value__), "unproved"])
def test_every_outcome_of_a_run_has_its_own_series(word):
    metrics = Metrics()

    metrics.run_ended("remove", word, 1.0)

    assert value(metrics, "gvisor_nodes_runs_total", action="remove", outcome=word) == 1


@pytest.mark.parametrize("status", [299, 470, 999, 12345])
def test_whatever_servers_answer_the_number_of_series_stays(status):
    metrics = Metrics()

    for number in range(100):
        metrics.api_requests("seed")(f"verb{number}", status + number % 2)
        metrics.watch_restarts(NODES)(f"reason{number}")

    assert len(series(metrics, "gvisor_nodes_api_requests_total")) <= 2
    assert len(series(metrics, "gvisor_nodes_watch_restarts_total")) == 1
