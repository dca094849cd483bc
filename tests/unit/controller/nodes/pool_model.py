"""A pool in memory: Nodes, Jobs, a clock, and a controller that does what is planned, with nothing but that in mind.

Nodes are changed by the product's own patches, under the lock that an API server keeps.
"""

from __future__ import annotations

from dataclasses import dataclass

from node_objects import OWNER

from orchestrator.api.merge_patch import merge
from orchestrator.api.node import Node
from orchestrator.controller.nodes import mark
from orchestrator.controller.nodes.mark import Action, Claim
from orchestrator.controller.nodes.outcome import outcome
from orchestrator.controller.nodes.plan import Confirm, Pool, Record, Release, Shut, Start, Stop, lost, plan
from orchestrator.controller.nodes.pool_pass import resting
from orchestrator.controller.nodes.run import Run
from orchestrator.execution.job_result import JobResult

OTHER = "shoot--t/gvisor-b"
TIMEOUT = 300.0
ANEW = 10.0


@dataclass
class Job:
    """A run: what it is for, and how it is."""

    name: str
    uid: str
    action: str
    fingerprint: str
    result: JobResult | None = None
    waits: str = ""
    stopped: bool = False


class World:
    def __init__(self):
        self.now = 1_000_000.0
        self.wish = "1" * 64
        self.nodes = {}
        self.selected = set()
        self.jobs = {}
        self.proved = set()
        self.content = {}
        """What is on a node (by UID): a fingerprint that was proved by the last run, or nobody knows."""
        self.others_live = True
        self.gate = mark.Gate()
        self._views = {}
        self._rest = {}, ""
        self._numbers = iter(range(1, 1_000_000))

    # What others do.

    def join(self, name, *, ready=True):
        uid = f"uid-{next(self._numbers)}"
        raw = {
            "metadata": {"name": name, "uid": uid, "annotations": {}, "labels": {}},
            "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}]},
        }
        self._write(name, raw)
        self.selected.add(name)

    def leave(self, name):
        """The Node goes, and what ran there with it, sooner or later."""
        self.selected.discard(name)
        return self.nodes.pop(name)

    def change(self, name, patch):
        self._write(name, merge(self.nodes[name], patch))

    def begin(self, claim):
        """The Job of a claim; that there is one already is as good."""
        if claim.run not in self.jobs:
            self.jobs[claim.run] = Job(claim.run, claim.uid, claim.action, claim.fingerprint)
            self.content[claim.uid] = None

    def end(self, job, *, well, spoken=True):
        """The Job ends."""
        told = lost(Claim(job.uid, OWNER, action=job.action), "it ended", "without a word")
        if spoken:
            told = JobResult(
                action=job.action,
                outcome="changed" if well else "failed",
                message="" if well else "it failed",
                fingerprint=job.fingerprint,
                proved=well and job.action == "apply",
            )
        job.result, job.waits = told, ""
        if well:
            self.content[job.uid] = job.fingerprint
        if told.proves:
            self.proved.add((job.uid, job.fingerprint))

    # What the controller does.

    def look(self):
        """What it sees."""
        return {name: self.view(name) for name in self.nodes}

    def view(self, name):
        """A Node as it is."""
        raw = self.nodes[name]
        known = self._views.get(name)
        if known is None or known.raw is not raw:
            known = self._views[name] = Node.read(raw)
        return known

    def marks(self, name):
        """What it carries."""
        return mark.read(self.view(name))

    def runs(self):
        return {one.name: Run(one.name, "", one.uid, one.result, one.waits) for one in self.jobs.values()}

    def plan(self, nodes=None):
        seen = self.look() if nodes is None else nodes
        pool = Pool(OWNER, self.wish, TIMEOUT, self.gate)
        whole = self._plan(pool, seen, [])
        before, wish = self._rest
        busy = {one.uid for one in self.jobs.values() if one.result is None}
        rested = [one for name, one in before.items() if wish == self.wish and seen.get(name) is one.node]
        rested = [one for one in rested if one.node.name in self.selected and one.node.metadata.uid not in busy]
        quick = self._plan(pool, seen, rested)
        assert whole == quick, "what is left out because it did not change makes a difference"
        self._rest = resting(quick), self.wish
        return quick

    def _plan(self, pool, seen, rested):
        left_out = {one.node.name for one in rested}
        of_pool = [one for name, one in seen.items() if name in self.selected and name not in left_out]
        claimed = [one for name, one in seen.items() if name not in self.selected and self._is_ours(one)]
        return plan(
            pool,
            of_pool,
            claimed,
            self.runs(),
            self.now,
            claims_elsewhere=lambda owner: owner == OTHER and self.others_live,
            rested=rested,
        )

    def do(self, deed, *, killed_before_run=False):
        """Do one thing that is planned; return what came of it, None if somebody else had written the Node."""
        if isinstance(deed, Stop):
            self.jobs.pop(deed.name, None)
            return True
        claim = self._claim(deed) if isinstance(deed, Start) else None
        written = self._patch(deed.node, self._patch_for(deed, claim))
        if written is not None and claim is not None and not killed_before_run:
            self.begin(claim)
        if written is not None and isinstance(deed, Record) and deed.stop and deed.claim.run in self.jobs:
            self.jobs[deed.claim.run].stopped = True  # its pod ends a little later
        return written and (claim or True)

    def _claim(self, start):
        return Claim(
            uid=start.node.metadata.uid,
            pool=OWNER,
            run=start.run or f"run-{next(self._numbers)}",
            action=start.action.value,
            fingerprint="" if start.action is Action.REMOVE else self.wish,
            attempt=start.attempt,
            at=int(self.now),
        )

    def _patch_for(self, deed, claim):
        match deed:
            case Release(node):
                return mark.released(node, self.gate)
            case Confirm(node, confirmed):
                return mark.confirmed(node, confirmed, self.gate)
            case Shut(node):
                return mark.shut(node, self.gate)
            case Record(node, ended, result):
                return outcome(node, ended, result, self.gate, int(self.now)).patch
        return mark.claimed(deed.node, claim, self.gate)

    def at_work(self):
        """The runs that are under way and were not given up."""
        return [one for one in self.jobs.values() if one.result is None and not one.stopped]

    def _is_ours(self, node):
        claim = mark.read(node).claim
        return claim is not None and claim.pool == OWNER

    def _patch(self, node, patch):
        there = self.nodes.get(node.name)
        if there is None or there["metadata"]["uid"] != patch["metadata"]["uid"]:
            return None
        if there["metadata"]["resourceVersion"] != patch["metadata"]["resourceVersion"]:
            return None
        return self._write(node.name, merge(there, patch))

    def _write(self, name, raw):
        metadata = {**raw["metadata"], "resourceVersion": str(next(self._numbers))}
        self.nodes[name] = {**raw, "metadata": metadata}
        return self.nodes[name]
