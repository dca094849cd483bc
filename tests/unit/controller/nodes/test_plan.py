"""Whose turn it is, case by case; everything at once is in ``test_plan_model.py``."""

from __future__ import annotations

import pytest
from node_objects import F1, F2, OWNER, claim, failure, node, proof

from orchestrator.controller.nodes import mark
from orchestrator.controller.nodes.mark import Action
from orchestrator.controller.nodes.plan import Confirm, Pace, Pool, Record, Release, Shut, Start, State, Stop, plan
from orchestrator.controller.nodes.run import Run
from orchestrator.execution.job_result import JobResult

OK = JobResult(action="apply", outcome="ok", fingerprint=F1, proved=True)
DONE = claim(recorded=True)
PACE = Pace()


def decided(*nodes, wish=F1, runs=(), now=1005.0, others=(), live=(), pace=PACE):
    known = {one.name: one for one in runs}
    return plan(
        Pool(OWNER, wish, 300.0, pace=pace), nodes, others, known, now, claims_elsewhere=lambda owner: owner in live
    )


def run(name="n1", uid="", **how):
    return Run(f"run-{name}", name, uid or f"uid-of-{name}", **how)


def ready(name="n1", fingerprint=F1):
    marks = [claim(name, recorded=True, fingerprint=fingerprint), proof(name, fingerprint)]
    return node(name, marks=marks, labels=[mark.READY])


def started(planned):
    return [(one.node.name, one.action, one.attempt) for one in planned.deeds if isinstance(one, Start)]


def said(planned):
    return {one.node.name: one.state for one in planned.states}


def test_nothing_is_done_about_a_node_that_is_proved():
    planned = decided(ready())

    assert ((), {"n1": State.READY}, None) == (planned.deeds, said(planned), planned.again)


@pytest.mark.feature("D1")
def test_one_node_at_a_time_new_ones_first_then_by_name():
    planned = decided(ready("n1", F2), node("n3"), node("n2"))

    assert [("n2", Action.APPLY, 0)] == started(planned)
    assert {"n1": State.PENDING, "n2": State.RUNNING, "n3": State.PENDING} == said(planned)


def test_while_a_run_is_at_work_no_other_begins():
    planned = decided(node("n1", marks=[claim()]), node("n2"), runs=[run()])

    assert [] == started(planned)
    assert {"n1": State.RUNNING, "n2": State.PENDING} == said(planned)
    assert pytest.approx(1000 + 360 - 1005) == planned.again


def test_what_has_ended_is_recorded_and_looked_at_again_at_once():
    planned = decided(node(marks=[claim()]), runs=[run(result=OK)])

    assert [Record] == [type(one) for one in planned.deeds]
    assert planned.again == 0


def test_a_run_of_another_node_is_nobodys_proof():
    planned = decided(node(marks=[claim(run="run-n2")]), node("n2", marks=[claim("n2")]), runs=[run("n2", result=OK)])

    assert ["n2"] == [one.node.name for one in planned.deeds if isinstance(one, Record)]


@pytest.mark.feature("D10")
def test_a_claim_without_a_run_is_begun_anew_under_its_name_and_not_at_once():
    early = decided(node(marks=[claim()]))
    assert [] == started(early)
    assert pytest.approx(5) == early.again

    [start] = decided(node(marks=[claim()]), now=1010.0).deeds
    assert ("run-n1", 0) == (start.run, start.attempt)


def test_a_removal_does_not_take_the_name_of_an_apply():
    [start] = decided(node(marks=[claim()]), wish="", now=1010.0).deeds

    assert (Action.REMOVE, "") == (start.action, start.run)


def test_a_run_that_waits_for_an_image_is_told_and_given_up_after_a_minute():
    waiting = run(waits="ErrImagePull: no such image")
    early = decided(node(marks=[claim()]), runs=[waiting])
    assert (["ErrImagePull: no such image"], 55) == ([one.why for one in early.states], early.again)

    [record] = decided(node(marks=[claim()]), runs=[waiting], now=1060.0).deeds
    assert record.stop
    assert ("the run could not begin", "ErrImagePull: no such image") == (record.result.message, record.result.cause)


def test_how_long_is_waited_is_a_setting():
    [record] = decided(node(marks=[claim()]), runs=[run(waits="x")], pace=Pace(grace=1.0)).deeds

    assert record.stop


@pytest.mark.feature("D14")
def test_a_run_that_never_ends_is_given_up_and_nothing_begins_before_it_is_gone():
    planned = decided(node(marks=[claim()]), node("n2"), runs=[run()], now=1360.0)
    [record] = planned.deeds
    assert (True, "there was no result after 360 s") == (record.stop, record.result.cause)

    given_up = node(marks=[claim(recorded=True), failure()])
    later = decided(given_up, runs=[run()], now=2000.0)
    assert ((Stop("run-n1", "n1", "uid-of-n1"),), {"n1": State.FAILED}) == (later.deeds, said(later))
    assert [("n1", Action.APPLY, 1)] == started(decided(given_up, now=2000.0))


@pytest.mark.feature("D13")
def test_a_failed_node_is_tried_again_later_each_time_after_all_others():
    one, other = node(marks=[DONE, failure(attempts=2)]), node("n2")
    assert (Pace().pause(2), 20.0, 600.0) == (20.0, 20.0, Pace().pause(100))

    early = decided(one)
    assert ({"n1": State.FAILED}, 15.0) == (said(early), early.again)
    assert [("n2", Action.APPLY, 0)] == started(decided(one, other, now=1020.0))
    assert [("n1", Action.APPLY, 2)] == started(decided(one, now=1020.0))


@pytest.mark.feature("D3")
@pytest.mark.feature("D4")
def test_when_a_changed_node_has_failed_only_that_one_is_tried_again():
    failed = node("n1", marks=[claim(fingerprint=F2, recorded=True), proof(), failure(fingerprint=F2)])
    for now, expected in ((1005.0, []), (1010.0, [("n1", Action.APPLY, 1)])):
        planned = decided(failed, ready("n2"), wish=F2, now=now)
        assert expected == started(planned)
        assert "another node failed at the same change first" == planned.states[1].why
    assert [("n1", Action.APPLY, 0)] == started(decided(failed, ready("n2"), wish="3" * 64))


def test_a_new_node_is_begun_also_while_a_change_fails():
    failed = node("n1", marks=[claim(fingerprint=F2, recorded=True), proof(), failure(fingerprint=F2)])

    assert [("n2", Action.APPLY, 0)] == started(decided(failed, node("n2"), wish=F2, now=1010.0))


def test_after_a_run_for_something_else_an_old_proof_is_proved_again():
    tried = node(marks=[claim(fingerprint=F2, recorded=True), proof(), failure(fingerprint=F2)])
    assert [("n1", Action.APPLY, 0)] == started(decided(tried))

    failed = node(marks=[DONE, proof(), failure()])
    assert {"n1": State.FAILED} == said(decided(failed))
    assert [("n1", Action.APPLY, 0)] == started(decided(node(marks=[proof()], labels=[mark.READY])))


@pytest.mark.feature("C5")
@pytest.mark.feature("D15")
def test_a_node_whose_kubelet_is_not_ready_is_named_and_waited_for():
    planned = decided(node("n1", ready=False), node("n2", ready=False, marks=[claim("n2")]), now=1010.0)

    assert ((), {"n1": State.UNREADY, "n2": State.UNREADY}) == (planned.deeds, said(planned))


def test_a_node_of_another_pool_is_left_to_it_until_that_pool_is_gone():
    theirs = node(marks=[claim(pool="x/b", run="run-b")])
    left = decided(theirs, live={"x/b"}, now=2000.0)
    assert ((), {"n1": State.FOREIGN}) == (left.deeds, said(left))
    assert () == decided(theirs, live={"x/b"}, wish="", now=2000.0).deeds

    assert [("n1", Action.APPLY, 0)] == started(decided(theirs, now=2000.0))
    assert [("n1", Action.REMOVE, 0)] == started(decided(theirs, wish="", now=2000.0))


def test_what_a_pool_that_is_gone_has_proved_is_taken_over():
    theirs = node(marks=[claim(pool="x/b", recorded=True), proof()], labels=[mark.READY])
    [deed] = decided(theirs).deeds

    assert Confirm(theirs, DONE) == deed


@pytest.mark.feature("D9")
@pytest.mark.feature("D12")
def test_a_label_that_somebody_took_is_given_again_and_one_that_nobody_earned_goes():
    bare, pretends = node(marks=[DONE, proof()]), node("n2", ready=False, labels=[mark.READY])

    assert (Confirm(bare, DONE), Shut(pretends)) == decided(bare, pretends).deeds


@pytest.mark.feature("D9")
@pytest.mark.parametrize("action", list(Action))
def test_a_label_that_nobody_earned_goes_while_its_nodes_run_is_awaited_too(action):
    pretends = node(marks=[claim(action=action, at=1000)], labels=[mark.READY])

    assert (Shut(pretends),) == decided(pretends, wish="" if action is Action.REMOVE else F1, now=1001.0).deeds


@pytest.mark.feature("D1")
def test_ten_nodes_are_cleared_at_once():
    planned = decided(*(ready(f"n{number:02}") for number in range(12)), wish="")

    assert [f"n{number:02}" for number in range(10)] == [name for name, *_ in started(planned)]
    assert {State.REMOVING} == set(said(planned).values())


def test_nothing_is_removed_where_nothing_is():
    assert ((), ()) == ((planned := decided(node(), wish="")).deeds, planned.states)


def test_marks_of_an_earlier_node_go_without_a_run():
    old = node(marks=[claim("n0"), proof("n0")])

    assert (Release(old),) == decided(old, wish="").deeds


@pytest.mark.feature("D11")
def test_a_node_that_has_left_the_pool_is_cleaned_and_the_run_of_one_that_is_gone_ends():
    planned = decided(others=[ready()], runs=[run("n9")])

    assert [Stop("run-n9", "n9", "uid-of-n9"), Start] == [planned.deeds[0], type(planned.deeds[1])]
    assert [("n1", Action.REMOVE, 0)] == started(planned)


def test_a_run_that_no_claim_names_is_ended_before_another_begins():
    planned = decided(node(), runs=[run()])

    assert ((Stop("run-n1", "n1", "uid-of-n1"),), {"n1": State.PENDING}) == (planned.deeds, said(planned))


@pytest.mark.parametrize("at", [5000, 2**53 - 1])
def test_times_of_the_future_hold_nobody_up(at):
    assert [("n1", Action.APPLY, 1)] == started(decided(node(marks=[DONE, failure(at=at)])))
    assert [("n1", Action.APPLY, 0)] == started(decided(node(marks=[claim(at=at)])))
