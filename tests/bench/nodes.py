"""How soon a node gets its Job among many that need nothing: ``make bench-nodes``. A program, no test.

One API server, the controller as its own process, and this one, which makes Nodes and plays their kubelets; all of them
share the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "gardener"), str(ROOT / "tests" / "contract"), str(ROOT)]

from landscape import NODES, ControllerProcess  # noqa: E402 - the path comes first
from node_places import IMAGE, OneCluster  # noqa: E402
from patience import eventually  # noqa: E402 - the path comes first
from played_kubelet import PlayedKubelet  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from orchestrator.controller.definition import ensure_definition  # noqa: E402
from orchestrator.controller.kinds import CONFIG_MAPS, JOBS  # noqa: E402
from orchestrator.controller.nodes import job, mark  # noqa: E402
from orchestrator.controller.nodes.mark import Claim, Proof  # noqa: E402
from orchestrator.controller.pool_objects import NAMESPACE  # noqa: E402
from orchestrator.errors import GvisorNodesError  # noqa: E402
from orchestrator.kube.client import Client, Selection  # noqa: E402
from orchestrator.kube.credentials import from_file  # noqa: E402
from orchestrator.kube.reflector import Reflector  # noqa: E402
from orchestrator.lab.api_server import ApiServer  # noqa: E402

IDLE = 1000
EVENTS = 100
AIM = 0.5
"""Seconds, p99, from a Node's creation to that of its Job."""


class Arrivals:
    """When Jobs were seen first, by their nodes; a handler of a reflector."""

    def __init__(self):
        self.at = {}

    def added(self, raw):
        self.at.setdefault(raw["metadata"]["annotations"][job.NODE], time.monotonic())

    def updated(self, _before, _after):
        """It is there already."""

    def deleted(self, _raw):
        """It was there."""


def ready_node(place, name):
    """A Node whose kubelet is ready from the beginning."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": place.full(name), "labels": {"pool": place.namespace}},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"containerRuntimeVersion": "containerd://2.4.2"},
        },
    }


def proved_node(client, place, name, fingerprint):
    """One on which gVisor is proved already."""
    raw = {**ready_node(place, name)}
    raw["metadata"] = {**raw["metadata"], "labels": {}}  # no node of the pool before it is marked
    uid = client.create(NODES, raw)["metadata"]["uid"]
    owner = f"{place.namespace}/{place.name}"
    claim = Claim(uid, owner, "gvisor-nodes-apply-0", "apply", fingerprint, recorded=True)
    marks = {mark.CLAIM: claim, mark.PROOF: Proof(uid, fingerprint, "20260817.0", 1)}
    labels = dict.fromkeys(mark.gate(standalone=True).labels, "true") | {"pool": place.namespace}
    annotations = {key: json.dumps(asdict(one)) for key, one in marks.items()}
    client.patch(NODES, place.full(name), {"metadata": {"annotations": annotations, "labels": labels}})


def measure(tell, idle, events):
    """Seconds from each Node to its Job, and how much CPU time the controller took for all of them."""
    with tempfile.TemporaryDirectory(prefix="gvisor-nodes-bench-") as name:
        directory = Path(name)
        with ApiServer(directory / "server") as server, Client(from_file(server.kubeconfig_file)) as client:
            ensure_definition(client, threading.Event())
            place = OneCluster(client)
            settings = {"mode": "standalone", "nodes": {"executor": "job", "image": IMAGE}}
            controller = ControllerProcess(directory, server.kubeconfig_file, settings)
            process = controller.start().process
            try:
                controller.await_ready()
                return _measured(tell, client, place, process.pid, idle, events)
            finally:
                controller.end()


def _measured(tell, client, place, pid, idle, events):
    place.deploy()
    place.await_looked_after()
    wish = client.get(CONFIG_MAPS, f"gvisor-nodes-{place.namespace}-a", NAMESPACE)["data"]["fingerprint"]
    tell(f"{idle} nodes that need nothing")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: proved_node(client, place, f"i{number}", wish), range(idle)))
    place.await_said("True", f"{idle} of {idle} nodes")
    arrivals = Arrivals()
    reflects = Reflector(client, JOBS, selection=Selection(NAMESPACE, labels=job.SELECTOR), handlers=[arrivals])
    threading.Thread(target=reflects.run, daemon=True).start()
    assert reflects.wait_synced(60)
    tell(f"{events} nodes that come one after the other")
    took, before = [], cpu(pid)
    with PlayedKubelet(client) as kubelet:
        for number in range(events):
            full = place.full(f"e{number}")
            begun = time.monotonic()
            client.create(NODES, ready_node(place, f"e{number}"))
            eventually(lambda full=full: full in arrivals.at)
            took.append(arrivals.at[full] - begun)
            kubelet.ends(full)
            eventually(lambda full=full: mark.READY in client.get(NODES, full)["metadata"]["labels"])
    reflects.stop()
    return took, (cpu(pid) - before) / events


def cpu(pid):
    """Seconds of CPU time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure how soon a node gets its Job.")
    parser.add_argument("--idle", type=int, default=IDLE, help="nodes that need nothing")
    parser.add_argument("--events", type=int, default=EVENTS, help="nodes that come")
    given = parser.parse_args()
    out, progress = Console(width=120), Console(stderr=True, highlight=False)
    begun = time.monotonic()
    try:
        took, each = measure(
            lambda what: progress.print(f"{time.monotonic() - begun:6.1f} s  {what}"), given.idle, given.events
        )
    except GvisorNodesError as error:
        progress.print(str(error))
        return error.exit_code
    found = Table(box=None, pad_edge=False)
    for column in ("what", "aim", "measured", ""):
        found.add_column(column, justify="left" if column in {"what", ""} else "right")
    p99 = statistics.quantiles(took, n=100, method="inclusive")[98]
    what = f"a node among {given.idle}, from its creation to its Job's"
    found.add_row(f"{what}, p50 of {given.events}", "-", f"{statistics.median(took):.3f} s", "")
    found.add_row(f"{what}, p99", f"{AIM:g} s", f"{p99:.3f} s", "ok" if p99 <= AIM else "missed")
    found.add_row("CPU time of the controller for each of them, until it is ready", "-", f"{each:.3f} s", "")
    out.print(found)
    out.print(f"{os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the end, for everything.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
