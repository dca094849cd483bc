"""Throw-away nodes of real parts, for the demo, the tests and whoever wants to try something.

A lab is a set of nodes; a node is a container in which systemd is process 1 and runs sshd and containerd, made by
podman (or docker) from an image that debootstrap built on this machine. Nothing in the product imports this package
except the ``gvisor-nodes lab`` commands.

A cluster is Gardener's seed and a shoot: API servers, controllers and the real resource manager, as processes of this
machine. Without nodes it needs no containers, and it shares nothing with a lab: :mod:`orchestrator.lab.cluster` for
tests, :mod:`orchestrator.lab.background` for people, :mod:`orchestrator.lab.cluster_nodes` for its nodes.

For nodes the next step is in :mod:`orchestrator.lab.lab` (the life of a lab), from there in
:mod:`orchestrator.lab.image` and :mod:`orchestrator.lab.artifacts` (what is built once),
:mod:`orchestrator.lab.engine` (podman or docker) and :mod:`orchestrator.lab.node` (one running node).
"""

from orchestrator.lab.artifacts import DEFAULT_RELEASE
from orchestrator.lab.lab import Lab
from orchestrator.lab.node import LabNode

__all__ = ["DEFAULT_RELEASE", "Lab", "LabNode"]
