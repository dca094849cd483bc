"""What the contract's cases stand on: a seed and a Shoot of real parts, and somebody who acts as gardenlet would."""

from __future__ import annotations

import base64
import json
import secrets
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import yaml
from gardener_objects import CONFIGURATION, cluster, container_runtime
from gardenlet import not_ready
from patience import PATIENCE, eventually

from orchestrator.api import gardener
from orchestrator.controller.controller import Controller, Options
from orchestrator.controller.kinds import (
    CLUSTERS,
    CONFIG_MAPS,
    CONTAINER_RUNTIMES,
    MANAGED_RESOURCES,
    RUNTIME_CLASSES,
)
from orchestrator.errors import GvisorNodesError
from orchestrator.kube.client import Selection
from orchestrator.kube.resource import Resource
from orchestrator.kube.shoot_credentials import SECRETS
from orchestrator.lab.ports import free_ports

NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
SMR = "extension-runtime-gvisor"
FINALIZER = gardener.FINALIZER
DEADLINE = 30
"""Seconds; gardenlet's first severe look is after thirty."""


def pmr(pool):
    """The name of the ManagedResource of a pool."""
    return f"{SMR}-installation-{pool}"


def configuration(**flags):
    """A providerConfig with these flags."""
    return {**CONFIGURATION, "configFlags": {name.replace("_", "-"): value for name, value in flags.items()}}


def nanoseconds(moment=None):
    """A moment as gardenlet writes it."""
    moment = moment or datetime.now(UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "123Z"


class Shoot:
    """One Shoot's namespace in the seed, seen by its gardenlet."""

    def __init__(self, client, target, name, cluster):
        self.client = client
        self.target = target
        self.namespace = name
        self._cluster = cluster
        self._nodes = []

    # What gardenlet writes.

    def prepare(self, *, with_cluster=True, **shoot):
        """NS and CL of the contract; returns itself."""
        labels = {"gardener.cloud/role": "shoot"}
        metadata = {"name": self.namespace, "labels": labels}
        self.client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        if with_cluster:
            self.add_cluster(**shoot)
        return self

    def add_cluster(self, **shoot):
        raw = cluster(**shoot)
        raw["metadata"] = {"name": self.namespace}
        raw["spec"]["seed"] = {}
        self.client.create(CLUSTERS, raw)

    def change_shoot(self, **shoot):
        self.client.patch(CLUSTERS, self.namespace, {"spec": {"shoot": shoot}})

    def deploy(self, pool="a", *, operation="reconcile", timestamp=None, **changes):
        """CR-x of the contract; returns the object."""
        raw = container_runtime(pool, **changes)
        metadata = {
            "name": raw["metadata"]["name"],
            "namespace": self.namespace,
            "annotations": {"gardener.cloud/timestamp": timestamp or nanoseconds()},
            **{key: raw["metadata"][key] for key in ("labels", "finalizers") if key in raw["metadata"]},
        }
        if operation:
            metadata["annotations"]["gardener.cloud/operation"] = operation
        return self.client.create(CONTAINER_RUNTIMES, {**raw, "metadata": metadata})

    def ask(self, pool="a", operation="reconcile", **changes):
        """Annotate the object as gardenlet does; with other changes in the same patch."""
        annotations = {"gardener.cloud/operation": operation, "gardener.cloud/timestamp": nanoseconds()}
        return self.patch(pool, {"metadata": {"annotations": annotations}, **changes})

    def patch(self, pool, patch, subresource=""):
        return self.client.patch(CONTAINER_RUNTIMES, f"gvisor-{pool}", patch, self.namespace, subresource)

    def delete(self, pool="a"):
        annotations = {"confirmation.gardener.cloud/deletion": "true", "gardener.cloud/timestamp": nanoseconds()}
        self.patch(pool, {"metadata": {"annotations": annotations}})
        self.client.delete(CONTAINER_RUNTIMES, f"gvisor-{pool}", self.namespace)

    def add_node(self, name, addresses=(), *, ready=True, **labels):
        """A Node in the Shoot, where nobody but this class plays the kubelet; addresses by their type.

        Returns its name.
        """
        metadata = {"name": f"{self.namespace}-{name}", "labels": labels}
        self.target.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": metadata})
        self._nodes.append(metadata["name"])
        addresses = [{"type": kind, "address": address} for kind, address in addresses]
        status = {"addresses": addresses, "nodeInfo": {"containerRuntimeVersion": "containerd://2.4.2"}}
        self.target.patch(NODES, metadata["name"], {"status": status}, "", "status")
        self.heard_of(metadata["name"], ready=ready)
        return metadata["name"]

    def heard_of(self, node, *, ready=True):
        """Let a Node's kubelet say that it is ready, or let it be unheard."""
        condition = {"type": "Ready", "status": "True" if ready else "Unknown"}
        self.target.patch(NODES, node, {"status": {"conditions": [condition]}}, "", "status")

    def grant_access(self):
        """The Secret by which the controller reaches the Shoot's own API server, as gardenlet keeps it."""
        encoded = base64.b64encode(json.dumps(self._cluster.shoot.kubeconfig()).encode()).decode()
        metadata = {"namespace": self.namespace, "name": "gardener-internal"}
        self.client.create(
            SECRETS, {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"kubeconfig": encoded}}
        )

    def target_kubeconfig(self, token):
        """The kubeconfig of the Shoot's own API server, for a token."""
        kubeconfig = self._cluster.shoot.kubeconfig("a-token")
        kubeconfig["users"][0]["user"] = {"token": token}
        return kubeconfig

    # What is there.

    def get(self, pool="a"):
        """The object, or None."""
        return self._get(CONTAINER_RUNTIMES, f"gvisor-{pool}")

    def resource(self, name):
        """A ManagedResource, or None."""
        return self._get(MANAGED_RESOURCES, name)

    def secret(self, name):
        """A Secret, or None."""
        return self._get(SECRETS, name)

    def names(self, resource):
        """The names of all objects of a kind in the namespace, sorted."""
        pages = self.client.pages(resource, Selection(self.namespace))
        return sorted(raw["metadata"]["name"] for page in pages for raw in page.items)

    def secret_of(self, name):
        """The one Secret that a ManagedResource references."""
        [reference] = self.resource(name)["spec"]["secretRefs"]
        return self.secret(reference["name"])

    def manifests(self, name):
        """The objects that a ManagedResource holds."""
        secret = self.secret_of(name)
        return list(yaml.safe_load_all(base64.b64decode(secret["data"]["config.yaml"])))

    def settings(self, pool="a"):
        """The lines of runsc's settings that the pool's nodes get."""
        [wish] = [one for one in self.manifests(pmr(pool)) if one["kind"] == "ConfigMap"]
        return wish["data"]["flags"].splitlines()

    def runtime_class(self):
        """The RuntimeClass in the Shoot's own API server, or None."""
        return self.target.find(RUNTIME_CLASSES, "gvisor")

    def _get(self, resource, name):
        return self.client.find(resource, name, self.namespace)

    # What is waited for.

    def await_ready(self, pool="a", deadline=DEADLINE):
        """Wait as gardenlet does; return the object."""

        def looked():
            raw = self.get(pool)
            return raw if raw is not None and not not_ready(raw) else None

        return eventually(looked, deadline, lambda: self.get(pool))

    def await_state(self, state, pool="a", deadline=DEADLINE):
        """Wait until the last operation is in a state; return the object."""

        def looked():
            raw = self.get(pool)
            last = ((raw or {}).get("status") or {}).get("lastOperation") or {}
            return raw if last.get("state") == state else None

        return eventually(looked, deadline, lambda: self.get(pool))

    def await_healthy(self, pool="a", deadline=PATIENCE):
        """Wait until the resource manager has applied everything, and the object says so; return the object."""

        def looked():
            raw = self.get(pool)
            said = {one["type"]: one["status"] for one in raw.get("status", {}).get("conditions", ())}
            return raw if said.get("SystemComponentsHealthy") == "True" else None

        return eventually(looked, deadline, lambda: self.get(pool))

    def await_gone(self, pool="a", deadline=PATIENCE):
        """Wait until the object is gone."""
        eventually(lambda: self.get(pool) is None, deadline, lambda: self.get(pool))

    def clear(self):
        """Leave nothing for the next case to see; what the Shoot has is taken away by the resource manager."""
        self.ask_to_clear()
        self.await_clear()

    def ask_to_clear(self):
        """Ask for all deletions. Of several Shoots first of all: in one API server they share a RuntimeClass."""
        for name in self.names(CONTAINER_RUNTIMES):
            self.client.delete(CONTAINER_RUNTIMES, name, self.namespace)
            if self._get(CONTAINER_RUNTIMES, name) is not None:
                self.client.patch(CONTAINER_RUNTIMES, name, {"metadata": {"finalizers": None}}, self.namespace)
        for name in self.names(MANAGED_RESOURCES):
            self.client.delete(MANAGED_RESOURCES, name, self.namespace)

    def await_clear(self):
        """Wait until the resource manager has let go, and remove the rest."""
        eventually(lambda: not self.names(MANAGED_RESOURCES), what=lambda: self.names(MANAGED_RESOURCES))
        for name in self.names(SECRETS):
            self.client.delete(SECRETS, name, self.namespace)
        # What was migrated stays in the Shoot, and the next case's Shoot is in the same API server.
        for page in self.target.pages(CONFIG_MAPS, Selection("kube-system")):
            for raw in page.items:
                if raw["metadata"]["name"].startswith("gvisor-nodes-"):
                    self.target.delete(CONFIG_MAPS, raw["metadata"]["name"], "kube-system")
        self.client.delete(CLUSTERS, self.namespace)
        for name in self._nodes:
            self.target.delete(NODES, name)


def facts(raw):
    """What the last operation says, without its time."""
    last = raw["status"]["lastOperation"]
    return last["type"], last["state"], last["progress"], last["description"]


def version(raw):
    return raw["metadata"]["resourceVersion"]


class Running:
    """A controller that runs in this process."""

    def __init__(self, client, options=None):
        self.controller = Controller(client, options or Options())
        self._stop = threading.Event()
        self._leader = threading.Thread(target=self.controller.lead, args=(self._stop,), daemon=True)
        self._blocks = ExitStack()

    def __enter__(self):
        self._blocks.enter_context(self.controller.watching())
        assert self.controller.wait_ready(self._stop)
        self._leader.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        self._leader.join(60)
        self._blocks.close()
        assert not self._leader.is_alive(), "it does not stop"

    @contextmanager
    def slow(self, shoot):
        """Let nothing be planned or written for a Shoot while the block lasts."""
        with self.controller.delivery.namespaces.held(shoot.namespace):
            yield

    def lose_patience(self):
        """Let the patience with the nodes of deleted objects be over now, whatever it was."""
        nodes = self.controller._nodes
        nodes._options = replace(nodes._options, patience=0.0)
        nodes.look_at("")

    def await_quiet(self):
        """Wait until everything that was seen is done; nothing may be left that a clock would bring back."""
        queue = self.controller.queue
        eventually(lambda: queue.drain(0.0) and not queue._due and not queue._dirty, what=lambda: dict(queue._due))


class Beacon:
    """Proves that a controller has had its chance: what was written before it, was seen and worked on before it."""

    def __init__(self, shoot, running):
        self._shoot = shoot
        self._running = running

    def pass_by(self):
        pool = f"beacon-{secrets.token_hex(3)}"
        self._shoot.deploy(pool)
        self._shoot.await_ready(pool)
        self._running.await_quiet()


def with_options(**changes):
    """The options of a controller, changed."""
    return replace(Options(), **changes)


class ControllerProcess:
    """A controller as people start it."""

    def __init__(self, directory, kubeconfig, settings):
        self.metrics, self.health = free_ports(2)
        name = secrets.token_hex(3)
        self._log = directory / f"controller-{name}.log"
        self._file = directory / f"controller-{name}.yaml"
        defaults = {
            "kubeconfig": str(kubeconfig),
            "leaderElection": {"enabled": False},
            "metrics": {"bindAddress": f"127.0.0.1:{self.metrics}"},
            "health": {"bindAddress": f"127.0.0.1:{self.health}"},
        }
        self._file.write_text(json.dumps({**defaults, **settings}))
        self.process = None

    def start(self):
        argv = [sys.executable, "-m", "orchestrator.cli.app", "controller", f"--config={self._file}"]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def end(self, number=signal.SIGTERM):
        """Send a signal and wait; returns the exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)

    @property
    def lines(self):
        """What it has logged."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    @property
    def text(self):
        """The same as it was written."""
        return self._log.read_text()

    def get(self, port, path):
        """Ask an endpoint; returns code and text, 0 for no answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def await_ready(self):
        eventually(lambda: self.get(self.health, "/readyz")[0] == 200, 60, lambda: self.text)
        return self


@contextmanager
def controller_process(directory, kubeconfig, settings):
    """Runs while the block lasts."""
    one = ControllerProcess(directory, kubeconfig, settings).start()
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.end(signal.SIGKILL)


class Film:
    """Every change of some kinds in a namespace, in the order in which etcd has them."""

    def __init__(self, client, namespace, *resources):
        self._client = client
        self._namespace = namespace
        self._resources = resources
        self._watches = []
        self._threads = []
        self._lock = threading.Lock()
        self._over = False
        self.events = []

    def __enter__(self):
        for resource in self._resources:
            *_, page = self._client.pages(resource, Selection(self._namespace))
            watch = self._client.watch(resource, page.resource_version, 300, Selection(self._namespace))
            self._watches.append(watch)
            thread = threading.Thread(target=self._record, args=(resource, watch), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *error):
        self._over = True
        for watch, thread in zip(self._watches, self._threads, strict=True):
            watch.stop()
            thread.join(60)
            watch.__exit__(None, None, None)

    def _record(self, resource, watch):
        try:
            for event in watch:
                if event.type != "BOOKMARK":
                    with self._lock:
                        self.events.append((int(event.resource_version), event.type, resource.kind, event.raw))
        except GvisorNodesError:
            if not self._over:  # a watch that is stopped may end in the middle of an event
                raise

    def until(self, condition):
        """Wait until a condition of all events holds; return them in order."""
        return eventually(lambda: condition(self.ordered()) and self.ordered(), what=self.told)

    def ordered(self):
        with self._lock:
            return sorted(self.events, key=lambda event: event[0])

    def told(self):
        return [(kind, what, raw["metadata"]["name"]) for _, kind, what, raw in self.ordered()]

    def moment(self, kind, what, name):
        """When something happened first to an object, as etcd counts; fails if it did not."""
        return next(
            at for at, type_, of, raw in self.ordered() if (type_, of, raw["metadata"]["name"]) == (kind, what, name)
        )
