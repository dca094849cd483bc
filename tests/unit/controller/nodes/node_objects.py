"""Nodes, claims, proofs and failures for the tests of this folder."""

from __future__ import annotations

import json
from dataclasses import asdict

from orchestrator.api.merge_patch import merge
from orchestrator.api.node import Node
from orchestrator.controller.nodes import mark
from orchestrator.controller.nodes.mark import Claim, Failure, Proof

OWNER = "shoot--t/gvisor-a"
F1, F2 = "1" * 64, "2" * 64


def node(name="n1", *, uid="", ready=True, marks=(), labels=(), **metadata):
    """A Node that carries these marks."""
    annotations = {
        {Claim: mark.CLAIM, Proof: mark.PROOF, Failure: mark.FAILURE}[type(one)]: json.dumps(asdict(one))
        for one in marks
    }
    return Node.read(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "uid": uid or f"uid-of-{name}",
                "resourceVersion": "7",
                "annotations": annotations,
                "labels": dict.fromkeys(labels, "true"),
                **metadata,
            },
            "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "Unknown"}]},
        }
    )


def patched(one, patch):
    """The Node after a patch."""
    return Node.read(merge(one.raw, patch))


def claim(name="n1", **changes):
    """A claim of an apply that was begun at 1000."""
    base = {
        "uid": f"uid-of-{name}",
        "pool": OWNER,
        "run": f"run-{name}",
        "action": "apply",
        "fingerprint": F1,
        "at": 1000,
    }
    return Claim(**base | changes)


def proof(name="n1", fingerprint=F1):
    """A proof."""
    return Proof(f"uid-of-{name}", fingerprint, "20260817.0", 1, 1000)


def failure(name="n1", **changes):
    """An apply that failed at 1000."""
    base = {"uid": f"uid-of-{name}", "action": "apply", "fingerprint": F1, "message": "it failed", "at": 1000}
    return Failure(**base | changes)
