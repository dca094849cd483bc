"""Kinds that every API server has, and a few objects of them."""

import threading

from patience import PATIENCE

from orchestrator.kube.resource import Resource

NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
SECRETS = Resource("", "v1", "secrets", "Secret")


NOBODY = "a-token-of-nobody"
"""The bearer token of a user who may do nothing."""


def config_map(namespace, name, **metadata):
    """A ConfigMap."""
    metadata = {"namespace": namespace, "name": name, **metadata}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "1"}}


class Told:
    """A handler that remembers what it was told, and lets a test wait for it."""

    def __init__(self):
        self.events = []
        self._changed = threading.Condition()

    def _tell(self, *event):
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def added(self, raw):
        self._tell("added", raw["metadata"]["name"])

    def updated(self, before, after):
        assert before["metadata"]["uid"] == after["metadata"]["uid"]
        self._tell("updated", after["metadata"]["name"])

    def deleted(self, raw):
        self._tell("deleted", raw["metadata"]["name"])

    def restarted(self, why):
        self._tell("restarted", why)

    def wait(self, *event, times=1):
        """Wait until it was told this so often."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.events.count(event) >= times, PATIENCE), self.events
