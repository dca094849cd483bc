"""Cases 1 to 5: what Gardener's own schema lets in, and that everything we write is let in."""

from __future__ import annotations

import pytest
from landscape import facts

from orchestrator.controller.kinds import CONTAINER_RUNTIMES
from orchestrator.kube.api_error import InvalidObjectError


@pytest.mark.feature("G1")
@pytest.mark.feature("G2")
@pytest.mark.parametrize("missing", ["workerPool", "binaryPath", "type", "workerPool.selector"])
def test_case_01_a_runtime_without_a_required_field_is_refused_by_its_name(shoot, missing):
    *parents, name = missing.split(".")
    spec = {name: None}
    for parent in reversed(parents):
        spec = {parent: spec}
    with pytest.raises(InvalidObjectError, match=name) as refused:
        shoot.deploy(spec=spec)

    assert 422 == refused.value.status


def test_case_02_a_class_is_immutable_once_it_is_there(shoot):
    shoot.deploy("with", spec={"class": "shoot"})
    shoot.deploy("without")

    with pytest.raises(InvalidObjectError, match="Value is immutable"):
        shoot.patch("with", {"spec": {"class": "seed"}})
    assert "shoot" == shoot.patch("without", {"spec": {"class": "shoot"}})["spec"]["class"]


@pytest.mark.parametrize(
    ("status", "named"),
    [
        (
            {
                "lastOperation": {
                    "type": "Create",
                    "state": "Processing",
                    "description": "",
                    "lastUpdateTime": "2026-08-21T10:00:00Z",
                }
            },
            "progress",
        ),
        ({"state": "text"}, "state"),
        (
            {
                "conditions": [
                    {
                        "type": "A",
                        "status": "True",
                        "message": "",
                        "lastTransitionTime": "2026-08-21T10:00:00Z",
                        "lastUpdateTime": "2026-08-21T10:00:00Z",
                    }
                ]
            },
            "reason",
        ),
    ],
)
def test_case_03_a_status_that_is_not_whole_is_refused(shoot, status, named):
    shoot.deploy()
    with pytest.raises(InvalidObjectError, match=named) as refused:
        shoot.patch("a", {"status": status}, "status")

    assert 422 == refused.value.status


def test_case_03_what_the_controller_writes_is_never_refused(shoot, controller, refusals):
    with controller():
        shoot.deploy()
        shoot.await_ready()
        shoot.ask(spec={"providerConfig": {"apiVersion": "some.group/v1", "kind": "GVisorConfiguration"}})
        shoot.await_state("Error")
        shoot.ask(spec={"providerConfig": None})
        shoot.await_ready()
        shoot.delete()
        shoot.await_gone()

    assert [] == refusals(422)


@pytest.mark.feature("G1")
def test_case_04_a_generation_counts_changes_of_the_spec_only(shoot):
    first = shoot.deploy(metadata={"finalizers": ["example.com/x"]})["metadata"]["generation"]
    shoot.patch("a", {"metadata": {"labels": {"a": "b"}}})
    shoot.patch("a", {"status": {"observedGeneration": 7}}, "status")
    assert first == shoot.get()["metadata"]["generation"]

    shoot.patch("a", {"spec": {"providerConfig": {"a": "b"}}})
    assert first + 1 == shoot.get()["metadata"]["generation"]

    shoot.delete()
    assert first + 2 == shoot.get()["metadata"]["generation"]
    assert shoot.get()["metadata"]["deletionTimestamp"]


def test_case_05_a_table_has_type_status_and_age(shoot, controller, table):
    with controller():
        shoot.deploy()
        shoot.await_ready()

    columns, [row] = table(CONTAINER_RUNTIMES, shoot.namespace)
    assert ["Name", "Type", "Status", "Age"] == columns
    assert ["gvisor-a", "gvisor", "Succeeded"] == row[:3]
    assert "Succeeded" == facts(shoot.get())[1]
