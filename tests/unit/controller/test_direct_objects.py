"""What is written without Gardener, and what of others is never touched."""

from __future__ import annotations

import pytest
from gardener_objects import CONFIGURATION, container_runtime

from orchestrator.api.container_runtime import ContainerRuntime
from orchestrator.api.merge_patch import merge
from orchestrator.controller.direct_objects import MANAGED_BY, SHARED, bring, pool_names, remove, wanted
from orchestrator.controller.installation import Installation
from orchestrator.controller.step import Change, Create, Delete
from orchestrator.errors import ConfigurationError, RefusedError


def runtime(pool="a", **changes):
    return ContainerRuntime.read(container_runtime(pool, **changes))


def objects(of):
    return wanted(of, Installation())[0]


def there(*of):
    return {(one["kind"], one["metadata"]["name"]): one for each in of for one in objects(each)}


A, B = runtime("a"), runtime("b")
SERVED = {"metadata": {"uid": "x", "resourceVersion": "1", "labels": {"foreign": "1"}}}


def test_what_is_missing_is_made_and_then_nothing_is_left_to_do():
    assert [Create(one) for one in objects(A)] == list(bring(objects(A), {}))
    assert () == bring(objects(A), {name: merge(one, SERVED) for name, one in there(A).items()})
    assert {SHARED, *pool_names(A)} == set(there(A))


def test_a_changed_flag_changes_the_wish_and_nothing_else():
    debug = runtime(spec={"providerConfig": {**CONFIGURATION, "configFlags": {"debug": "true"}}})
    [change] = bring(objects(debug), there(A))

    assert isinstance(change, Change)
    assert ("ConfigMap", "gvisor-nodes-a") == (change.kind, change.name)
    assert {"data"} == set(change.patch)


def test_an_object_of_somebody_else_is_named_and_left():
    foreign = {"kind": "RuntimeClass", "metadata": {"name": "gvisor"}, "handler": "mine"}
    with pytest.raises(RefusedError, match="RuntimeClass gvisor") as refused:
        bring(objects(A), {SHARED: foreign})

    assert f"{MANAGED_BY}=gvisor-nodes" in refused.value.remedy
    assert () == remove(A, [], {SHARED: foreign})


def test_of_two_pools_of_one_name_the_first_has_it():
    second = runtime(metadata={"namespace": "other"})
    with pytest.raises(RefusedError) as refused:
        bring(objects(second), there(A))

    assert "shoot--foo--bar/gvisor-a" in refused.value.why
    assert [Delete(*SHARED)] == list(remove(second, [second], there(A)))
    assert [] == list(remove(second, [second, runtime(metadata={"uid": "another"})], there(A)))


@pytest.mark.parametrize(
    ("others", "goes"),
    [
        ([A], True),
        ([A, B], False),
        ([A, runtime("b", metadata={"deletionTimestamp": "2026-08-21T10:00:00Z"})], True),
        ([A, runtime("b", spec={"type": "kata"})], True),
    ],
)
def test_the_runtime_class_goes_with_the_last_pool(others, goes):
    steps = remove(A, others, there(A, B))

    assert {Delete(*name) for name in pool_names(A)} <= set(steps)
    assert goes is (Delete(*SHARED) in steps)
    assert not {Delete(*name) for name in pool_names(B)} & set(steps)


def test_a_wrong_configuration_wants_nothing():
    with pytest.raises(ConfigurationError):
        objects(runtime(spec={"providerConfig": {"apiVersion": "some.group/v1", "kind": "GVisorConfiguration"}}))
