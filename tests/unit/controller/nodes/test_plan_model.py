"""The plan against a pool in which everything happens that can happen to Nodes, Jobs and controllers."""

from __future__ import annotations

import json
from collections import Counter

import hypothesis.strategies as st
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from node_objects import F1, F2
from pool_model import ANEW, OTHER, TIMEOUT, World

from orchestrator.controller.nodes import mark
from orchestrator.controller.nodes.mark import Action
from orchestrator.controller.nodes.plan import REMOVALS, Start, State

NAMES = st.sampled_from([f"n{number}" for number in range(13)])
CHANCE = st.randoms(use_true_random=False)
OURS = "gvisor-nodes/"
PHASES = [one for one in Phase if one is not Phase.explain]


class OneController(RuleBasedStateMachine):
    """A controller that sees what there is, is killed at any time, and knows nothing but what it sees."""

    def __init__(self):
        super().__init__()
        self.world = World()
        self.touched = False
        """Whether somebody has taken marks away since the last look."""

    # What happens to nodes.

    @rule(name=NAMES, ready=st.booleans())
    def joins(self, name, ready):
        if name not in self.world.nodes:
            self.world.join(name, ready=ready)

    @rule(number=st.integers(2, 13))
    def many_join(self, number):
        for one in range(number):
            self.joins(f"n{one}", ready=True)

    @rule(name=NAMES)
    def goes(self, name):
        if name in self.world.nodes:
            self.world.leave(name)

    @rule(name=NAMES)
    def is_replaced(self, name):
        if name in self.world.nodes:
            self.world.leave(name)
            self.world.join(name)

    @rule(name=NAMES)
    def leaves_the_pool(self, name):
        if name in self.world.nodes:
            self.world.selected.discard(name)

    @rule(name=NAMES)
    def comes_into_the_pool(self, name):
        if name in self.world.nodes:
            self.world.selected.add(name)

    @rule(name=NAMES, ready=st.booleans())
    def its_kubelet_is_heard_or_not(self, name, ready):
        if name in self.world.nodes:
            status = {"conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}]}
            self.world.change(name, {"status": status})

    # What happens to runs.

    @rule(chance=CHANCE, well=st.booleans(), spoken=st.booleans())
    def a_run_ends(self, chance, well, spoken):
        if going := [one for one in self.world.jobs.values() if one.result is None]:
            self.world.end(chance.choice(going), well=well, spoken=spoken)

    @rule(chance=CHANCE)
    def a_run_vanishes(self, chance):
        if self.world.jobs:
            self.world.jobs.pop(chance.choice(sorted(self.world.jobs)))

    @rule(chance=CHANCE, waits=st.sampled_from(["ErrImagePull: no such image", ""]))
    def a_run_does_not_begin(self, chance, waits):
        if going := [one for one in self.world.jobs.values() if one.result is None]:
            chance.choice(going).waits = waits

    # What people do.

    @rule(wish=st.sampled_from([F1, F2]))
    @precondition(lambda self: self.world.wish)
    def something_else_is_wanted(self, wish):
        self.world.wish = wish

    @rule()
    @precondition(lambda self: self.world.nodes)
    def the_pool_is_deleted(self):
        self.world.wish = ""

    @rule(name=NAMES)
    def another_pool_claims(self, name):
        if name in self.world.nodes and not mark.present(self.world.view(name)):
            claim = mark.Claim(self.world.nodes[name]["metadata"]["uid"], OTHER, "run-of-other", "apply", F2, at=1)
            self.world.change(name, {"metadata": {"annotations": {mark.CLAIM: mark._written(claim)}}})

    @rule(name=NAMES, which=st.sampled_from([mark.CLAIM, mark.PROOF, mark.FAILURE]), text=st.sampled_from([None, "{}"]))
    def somebody_takes_a_mark(self, name, which, text):
        if name in self.world.nodes and not self.is_foreign(name):
            self.world.change(name, {"metadata": {"annotations": {which: text}}})
            self.touched = True

    @rule(name=NAMES, value=st.sampled_from([None, "true"]))
    def somebody_sets_or_takes_the_label(self, name, value):
        if name in self.world.nodes and not self.is_foreign(name):
            self.world.change(name, {"metadata": {"labels": {mark.READY: value}}})
            self.touched = True

    @rule(seconds=st.sampled_from([1, ANEW, 61, TIMEOUT + 61, 700]))
    def time_passes(self, seconds):
        self.world.now += seconds
        for one in [one for one in self.world.jobs.values() if one.stopped]:
            del self.world.jobs[one.name]

    # What the controller does.

    @rule(until=st.integers(0, 20), killed=st.booleans())
    def it_looks(self, until, killed):
        """A pass, the whole of it or until the process is killed."""
        self.carry_out(self.world.plan(), until if killed else None)

    def carry_out(self, planned, until=None):
        foreign = {name: raw for name, raw in self.world.nodes.items() if self.is_foreign(name)}
        for number, deed in enumerate(planned.deeds):
            if isinstance(deed, Start):
                self.check_turn(deed, planned)
            if number == until:
                self.world.do(deed, killed_before_run=True)
                break
            assert self.world.do(deed)
        else:
            self.touched = False
        assert foreign == {name: self.world.nodes[name] for name in foreign}
        for one in planned.states:
            if one.state is State.READY:
                uid = one.node.metadata.uid
                assert self.world.content[uid] == self.world.wish, "it is shown as ready, and is something else"

    def check_turn(self, start, planned):
        if start.action is Action.REMOVE:
            return
        marks = mark.read(start.node)
        new = [one for one in planned.states if one.marks.proof is None and one.why == "another node comes first"]
        if marks.proof is not None:
            assert not [one for one in new if one.state is State.PENDING], "a new node waits for a changed one"
            failing = [one for one in planned.states if one.marks.proof is not None and self.failed(one.marks)]
            assert start.attempt or not failing, "another changed node is begun, and one has failed"

    def failed(self, marks):
        return marks.failure is not None and (marks.failure.action, marks.failure.fingerprint) == (
            "apply",
            self.world.wish,
        )

    def is_foreign(self, name):
        claim = self.world.marks(name).claim
        return claim is not None and claim.pool == OTHER

    @invariant()
    def a_node_has_one_run(self):
        most = Counter(one.uid for one in self.world.jobs.values() if one.result is None).values()
        assert max(most, default=0) <= 1

    @invariant()
    def a_pool_has_one_run_and_a_removal_ten(self):
        live = {raw["metadata"]["uid"] for raw in self.world.nodes.values()}
        going = [one for one in self.world.at_work() if one.uid in live]
        if not self.touched and not self.pool_changed:
            assert len(going) <= (1 if self.world.wish else REMOVALS)

    @property
    def pool_changed(self):
        """Whether runs are under way that were begun under another rule, or for nodes of which nobody knows any more."""
        claimed = {
            claim.run
            for name in self.world.nodes
            if (claim := self.world.marks(name).claim) is not None and not claim.recorded
        }
        going = self.world.at_work()
        removals = any(one.action == "remove" for one in going)
        return any(one.name not in claimed for one in going) or (bool(self.world.wish) and removals)

    @invariant()
    def a_proof_is_of_what_was_proved(self):
        for name in self.world.nodes:
            proof = self.world.marks(name).proof
            assert proof is None or (proof.uid, proof.fingerprint) in self.world.proved

    @invariant()
    def what_is_labelled_is_proved(self):
        for name in self.world.nodes:
            marks = self.world.marks(name)
            known = (name in self.world.selected and self.world.wish) or marks.claim is not None
            assert self.touched or self.is_foreign(name) or not known or not marks.ready or marks.proof is not None

    def teardown(self):
        """When the world is quiet, every node ends."""
        for name in self.world.nodes:
            self.its_kubelet_is_heard_or_not(name, ready=True)
        for _ in range(200):
            self.carry_out(planned := self.world.plan())
            for job in [one for one in self.world.jobs.values() if one.result is None]:
                self.world.end(job, well=job.uid[-1] != "7" or job.action == "remove")
            self.a_node_has_one_run()
            self.what_is_labelled_is_proved()
            if not planned.deeds and planned.again is None:
                break
            self.time_passes(planned.again or 0)
            if self.world.wish and not planned.deeds and all(self.at_rest(one) for one in planned.states):
                break
        else:
            raise AssertionError(f"it never comes to rest: {json.dumps(self.world.nodes, indent=1)}")
        for one in planned.states:
            assert self.at_rest(one), one
        if not self.world.wish:
            # Outside of the pool and without a claim that says something, nothing on a Node can be known as ours.
            others = {name for name in self.world.nodes if self.is_foreign(name)}
            nobodys = {name for name in self.world.nodes if self.world.marks(name).claim is None}
            others |= nobodys - self.world.selected
            assert not [raw for name, raw in self.world.nodes.items() if OURS in str(raw) and name not in others]

    @staticmethod
    def at_rest(one):
        held = one.why == "another node failed at the same change first"
        return one.state in {State.READY, State.FAILED, State.FOREIGN} or held


class TwoControllers(OneController):
    """Two that both act, one of them on what it saw some time ago, and paused for a while before it begins a run."""

    def __init__(self):
        super().__init__()
        self.old = None
        self.late = []

    @rule()
    def one_looks(self):
        self.old = self.world.plan()

    @rule()
    @precondition(lambda self: self.old is not None)
    def it_acts_late(self):
        for deed in self.old.deeds:
            if not isinstance(deed, Start):
                self.world.do(deed)
            elif claim := self.world.do(deed, killed_before_run=True):
                self.late.append((self.world.now, claim))
        self.old = None

    @rule()
    def its_runs_begin(self):
        for at, claim in self.late:
            if self.world.now - at < ANEW:
                self.world.begin(claim)
        self.late = []

    def carry_out(self, planned, until=None):
        for deed in planned.deeds[:until]:
            self.world.do(deed)

    @invariant()
    def a_pool_has_one_run_and_a_removal_ten(self):
        """Nobody promises that of two."""

    def what_is_labelled_is_proved(self):
        """The same: one may look while the other writes."""

    def teardown(self):
        self.late, self.old = [], None
        super().teardown()


TestOneController = OneController.TestCase
TestOneController.settings = settings(max_examples=40, stateful_step_count=30, deadline=None, phases=PHASES)
TestTwoControllers = TwoControllers.TestCase
TestTwoControllers.settings = settings(max_examples=30, stateful_step_count=30, deadline=None, phases=PHASES)
