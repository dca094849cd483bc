"""A pool with nodes: in a Shoot whose ContainerRuntime is in a seed, or all of it in one cluster without Gardener."""

from __future__ import annotations

import json
import secrets

from landscape import NAMESPACES, NODES, Running, with_options
from patience import PATIENCE, eventually

from orchestrator.api.node import Node
from orchestrator.controller.kinds import CONTAINER_RUNTIMES
from orchestrator.controller.nodes import mark
from orchestrator.controller.nodes.job import JobSettings
from orchestrator.controller.nodes.plan import Pace
from orchestrator.controller.nodes.settings import NodesOptions
from orchestrator.controller.verb import TriggerMode

IMAGE = "example/gvisor-nodes:test"
QUICK = Pace(grace=1.0, anew=0.5, first=0.2, longest=1.0)
OF_A = {
    "worker.gardener.cloud/pool": "a",
    "worker.garden.sapcloud.io/group": "a",
    "worker.gardener.cloud/cri-name": "containerd",
}


def options(*, standalone=False, timeout=300, **changes):
    """A controller that looks after nodes, and waits for nothing for long."""
    nodes = NodesOptions(job=JobSettings(image=IMAGE, timeout=timeout), **{"pace": QUICK, "patience": 60.0} | changes)
    mode = {"mode": TriggerMode.GENERATION} if standalone else {}
    return with_options(nodes=nodes, standalone=standalone, **mode)


class Place:
    """What both have in common."""

    standalone = False

    def __init__(self, client, target, namespace, name):
        self.client = client
        self.target = target
        self.namespace = namespace
        self.name = name

    def options(self, **changes):
        return options(standalone=self.standalone, **changes)

    def get(self):
        return self.client.find(CONTAINER_RUNTIMES, self.name, self.namespace)

    def delete(self):
        self.client.delete(CONTAINER_RUNTIMES, self.name, self.namespace)

    def await_gone(self, deadline=PATIENCE):
        eventually(lambda: self.get() is None, deadline, what=self.get)

    def said(self, kind="GVisorNodesReady"):
        conditions = self.get().get("status", {}).get("conditions", ())
        return next((one for one in conditions if one["type"] == kind), {})

    def await_said(self, status, *texts):
        def looked():
            one = self.said()
            return one if one.get("status") == status and all(text in one["message"] for text in texts) else None

        return eventually(looked, what=lambda: self.get()["status"])

    def states(self):
        told = self.get().get("status", {}).get("providerStatus", {})
        return {one["name"]: one["state"] for one in told.get("nodes", ())}

    def await_states(self, **wanted):
        """Wait until the nodes are told to be so; by the ends of their names."""
        names = {self.full(name): state for name, state in wanted.items()}
        eventually(lambda: names == self.states(), what=lambda: self.get()["status"])

    def full(self, name):
        return f"{self.namespace}-{name}"

    def node(self, name):
        return self.target.find(NODES, self.full(name))

    def marks(self, name):
        return mark.read(Node.read(self.node(name)))

    def drop_node(self, name):
        self.target.delete(NODES, self.full(name))


class ShootPlace(Place):
    """In a Shoot."""

    def __init__(self, shoot):
        super().__init__(shoot.client, shoot.target, shoot.namespace, "gvisor-a")
        self.shoot = shoot

    def deploy(self):
        self.shoot.grant_access()
        self.shoot.deploy()

    def await_looked_after(self):
        self.shoot.await_healthy()
        self.await_said("True", "0 of 0")

    def delete(self):
        self.shoot.delete()

    def add_node(self, name, *, of_pool=True, **how):
        return self.shoot.add_node(name, **how, **(OF_A if of_pool else {}))

    def heard_of(self, name, *, ready):
        self.shoot.heard_of(self.full(name), ready=ready)

    def clear(self):
        """The Shoot's own fixture does it."""


class OneCluster(Place):
    """Without Gardener."""

    standalone = True

    def __init__(self, client):
        namespace = f"test-{secrets.token_hex(3)}"
        super().__init__(client, client, namespace, "a")
        client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        self._nodes = set()

    def deploy(self):
        pool = {"name": f"{self.namespace}-a", "selector": {"matchLabels": {"pool": self.namespace}}}
        self.client.create(
            CONTAINER_RUNTIMES,
            {
                "apiVersion": CONTAINER_RUNTIMES.api_version,
                "kind": CONTAINER_RUNTIMES.kind,
                "metadata": {"name": "a", "namespace": self.namespace},
                "spec": {"type": "gvisor", "binaryPath": "/opt/gvisor-nodes", "workerPool": pool},
            },
        )

    def await_looked_after(self):
        self.await_said("True", "0 of 0")

    def add_node(self, name, *, of_pool=True, ready=True):
        full = self.full(name)
        metadata = {"name": full, "labels": {"pool": self.namespace} if of_pool else {}}
        self.client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": metadata})
        self._nodes.add(full)
        status = {"nodeInfo": {"containerRuntimeVersion": "containerd://2.4.2"}}
        self.client.patch(NODES, full, {"status": status}, "", "status")
        self.heard_of(name, ready=ready)
        return full

    def heard_of(self, name, *, ready):
        condition = {"type": "Ready", "status": "True" if ready else "Unknown"}
        self.client.patch(NODES, self.full(name), {"status": {"conditions": [condition]}}, "", "status")

    def clear(self):
        for full in self._nodes:
            self.client.delete(NODES, full)
        if self.get() is not None:
            with Running(self.client, options(standalone=True)):
                self.delete()
                self.await_gone()


def everything(client, *resources):
    """The text of all objects of these kinds."""
    return "\n".join(json.dumps(raw) for one in resources for page in client.pages(one) for raw in page.items)
