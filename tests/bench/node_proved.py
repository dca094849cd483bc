"""From a node that joins a pool to gVisor proved on it by a Job: how long, and where the time goes.

A cluster of the lab with one node, on which the image is; the controller as a process beside it. The node joins the
pool and leaves it again, so gVisor is installed and removed in each round. What is printed are medians, with the step
times that the Job's own result tells. No peer does the same thing: the upstream extension's installer proves nothing,
and its pod never ends.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

import patience  # noqa: E402 - after the path is set

from orchestrator.api.node import Node  # noqa: E402
from orchestrator.api.workload import Pod  # noqa: E402
from orchestrator.controller.kinds import CONTAINER_RUNTIMES, JOBS, NODES, PODS  # noqa: E402
from orchestrator.controller.nodes import job, mark  # noqa: E402
from orchestrator.controller.pool_objects import NAMESPACE  # noqa: E402
from orchestrator.execution.job_result import parse  # noqa: E402
from orchestrator.kube.client import Client, Selection  # noqa: E402
from orchestrator.kube.credentials import from_file  # noqa: E402
from orchestrator.lab import product_image  # noqa: E402
from orchestrator.lab.cluster import Cluster  # noqa: E402
from orchestrator.lab.engine import find_engine  # noqa: E402

say = Console(highlight=False, markup=False).print
AIM = 15.0
RELEASE = "20260905.0"
LABEL = {"pool": "bench"}
_JOBS = Selection(NAMESPACE, labels=job.SELECTOR)
eventually = partial(patience.eventually, longest=0.01)  # what is waited for is what is measured


@contextmanager
def controller(directory, kubeconfig, image):
    """The controller as people start it, for as long as the block lasts."""
    settings = {
        "mode": "standalone",
        "kubeconfig": str(kubeconfig),
        "leaderElection": {"enabled": False},
        "metrics": {"bindAddress": "0"},
        "health": {"bindAddress": "0"},
        "gvisor": {"release": RELEASE},
        "nodes": {"executor": "job", "image": image, "imagePullPolicy": "Never"},
    }
    path = directory / "controller.yaml"
    path.write_text(json.dumps(settings), encoding="utf-8")
    argv = [sys.executable, "-m", "orchestrator.cli.app", "controller", f"--config={path}"]
    with (directory / "controller.log").open("w") as log, subprocess.Popen(argv, stderr=log, cwd=ROOT) as process:
        try:
            yield
        finally:
            process.terminate()


def newest(client, resource):
    """The Job, or the pod, that was made last."""
    there = [raw for page in client.pages(resource, _JOBS) for raw in page.items]
    return max(there, key=lambda raw: int(raw["metadata"]["resourceVersion"]), default=None)


def joins(client, name):
    """Let the node join the pool; return the moments of what follows, in seconds since then, and the Job's steps."""
    known = {raw["metadata"]["name"] for page in client.pages(JOBS, _JOBS) for raw in page.items}
    begun = time.monotonic()
    client.patch(NODES, name, {"metadata": {"labels": LABEL}})
    moments = {}

    def new_job():
        names = [raw["metadata"]["name"] for page in client.pages(JOBS, _JOBS) for raw in page.items]
        return next((one for one in names if one not in known), None)

    made = eventually(new_job)
    moments["Job"] = time.monotonic() - begun

    def pod():
        there = [Pod.read(raw) for page in client.pages(PODS, _JOBS) for raw in page.items]
        return next((one for one in there if one.job == made), None)

    eventually(lambda: (one := pod()) is not None and (one.status.phase == "Running" or one.terminated))
    moments["container runs"] = time.monotonic() - begun
    ended = eventually(lambda: (one := pod()) is not None and one.terminated)
    moments["container ended"] = time.monotonic() - begun
    eventually(lambda: mark.read(Node.read(client.get(NODES, name))).proof)
    moments["proved"] = time.monotonic() - begun
    result = parse(ended.message)
    return moments, dict(result.steps) | {"(the command in all)": result.seconds}


def leaves(client, name):
    """Let the node leave the pool, and wait until it is clean."""
    client.patch(NODES, name, {"metadata": {"labels": dict.fromkeys(LABEL)}})
    eventually(lambda: mark.read(Node.read(client.get(NODES, name))) == mark.Marks())


def measured(rounds, kind):
    """Run the rounds; return moments and steps of each."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gvisor-nodes-bench-")))
        image = product_image.ensure(find_engine(), releases=(RELEASE,), progress=lambda line: say(f"  {line}"))
        cluster = stack.enter_context(Cluster(directory / "cluster", nodes=True, name="bench"))
        node = cluster.add_node(kind=kind)
        node.load_image(image.archive)
        client = stack.enter_context(Client(from_file(cluster.shoot.kubeconfig_file)))
        stack.enter_context(controller(directory, cluster.shoot.kubeconfig_file, image.name))
        runtime = {
            "apiVersion": CONTAINER_RUNTIMES.api_version,
            "kind": CONTAINER_RUNTIMES.kind,
            "metadata": {"name": "bench", "namespace": "default"},
            "spec": {
                "type": "gvisor",
                "binaryPath": "/var/bin/containerruntimes",
                "workerPool": {"name": "bench", "selector": {"matchLabels": LABEL}},
            },
        }
        eventually(lambda: _made(client, runtime))
        eventually(lambda: (client.get(CONTAINER_RUNTIMES, "bench", "default").get("status") or {}).get("conditions"))
        rows = []
        for _ in range(rounds):
            rows.append(joins(client, node.name))
            leaves(client, node.name)
        return rows


def _made(client, runtime):
    from orchestrator.kube.api_error import ApiError

    try:
        return client.create(CONTAINER_RUNTIMES, runtime)
    except ApiError:  # its definition is not there yet
        return None


def main():
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kind", default="debian13", help="kind of the node")
    options = parser.parse_args()
    rows = measured(options.rounds, options.kind)
    title = f"{options.rounds} rounds, a node of the kind {options.kind}"
    say(f"\n{title}: seconds since it joined the pool (median, longest)")
    for name in rows[0][0]:
        values = [moments[name] for moments, _ in rows]
        say(f"  {name:24} {statistics.median(values):6.2f} {max(values):6.2f}")
    say("of which the Job's own steps (median)")
    for name in rows[0][1]:
        values = [steps.get(name, 0.0) for _, steps in rows]
        say(f"  {name:24} {statistics.median(values):6.2f}")
    proved = statistics.median(moments["proved"] for moments, _ in rows)
    say(f"aim: {AIM:.0f} s, {'met' if proved <= AIM else 'missed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
