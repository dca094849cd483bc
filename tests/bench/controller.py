"""What the controller takes of time, requests and memory: ``make bench``. A program, no test: it prints and judges nobody.

A seed and a Shoot of real parts, the controller as its own process, and this one, which writes objects as gardenlet does
and watches what becomes of them; all of them share the machine. The same is measured of the upstream extension if
``UPSTREAM_CONTROLLER`` is the path of its program; its published figures were measured on a machine of this kind.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import batched
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "gardener"), str(ROOT / "tests" / "contract"), str(ROOT)]

from landscape import SMR, ControllerProcess, Shoot, configuration, pmr  # noqa: E402 - the path comes first
from patience import eventually  # noqa: E402 - the path comes first
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from orchestrator.controller.kinds import CONTAINER_RUNTIMES, MANAGED_RESOURCES  # noqa: E402
from orchestrator.errors import GvisorNodesError  # noqa: E402
from orchestrator.kube.client import Client  # noqa: E402
from orchestrator.kube.credentials import from_file  # noqa: E402
from orchestrator.kube.reflector import Reflector  # noqa: E402
from orchestrator.lab.cluster import Cluster  # noqa: E402

SINGLE = 20
REPEATED = 10
LAST = 5
BURST = 200
LARGE = 2000
IN_NAMESPACE = 10
FLAGS = {"debug": "true", "net_raw": "true", "nvproxy": "true", "panic_signal": "12"}
WRITES = {"create", "patch", "delete", "POST", "PUT", "PATCH", "DELETE"}
OWN_WRITES = 3
"""Of an operation: Processing, the annotation, the outcome."""
CONFLICT = "409"


@dataclass(frozen=True, slots=True)
class Row:
    """What is measured.

    Attributes:
        what: for people.
        aim: at most this, if there is one.
        unit: of the aim and of what was measured.
        published: what the upstream extension was measured at before, if it was.
    """

    what: str
    aim: float | None
    unit: str
    published: float | None = None


ROWS = {
    "single": Row(f"one object, create to Succeeded, p50 of {SINGLE}", 0.15, "s", 0.09),
    "burst": Row(f"{BURST} at once, until the last is Succeeded", 10.0, "s", 223.0),
    "burst p50": Row(f"{BURST} at once, p50 of an object", None, "s", 141.0),
    "burst cpu": Row("of that, CPU time of the controller", None, "s"),
    "burst cpu all": Row("of that, CPU time of controller, API servers, etcd and this", None, "s"),
    "conflicts": Row("conflicts (409) of its own up to here", 0, "", 100),
    "writes": Row("unchanged reconcile, writes besides the operation's three", 0, ""),
    "unchanged": Row(f"unchanged reconcile, by its own metric, mean of {REPEATED}", None, "s", 0.014),
    "names": Row(f"{REPEATED} unchanged reconciles with four flags: names of Secrets", 1, "", 4),
    "memory": Row(f"memory with {2 * BURST} objects (RSS)", 120.0, "MB", 83.0),
    "idle": Row("60 s idle with them: writes", 0, "", 4 * BURST),
    "last": Row(f"delete the last object, from when the resource manager is done, p50 of {LAST}", 0.5, "s"),
    "last whole": Row("the same from the request", None, "s", 4.07),
    "large": Row(f"{LARGE} at once, until the last is Succeeded", 100.0, "s"),
}


@dataclass
class Seen:
    """When this process saw what became of objects; a handler of reflectors."""

    succeeded: dict[tuple[str, str], float] = field(default_factory=dict)
    gone: dict[tuple[str, str], float] = field(default_factory=dict)

    def added(self, raw):
        if ((raw.get("status") or {}).get("lastOperation") or {}).get("state") == "Succeeded":
            self.succeeded.setdefault(self._key(raw), time.monotonic())

    def updated(self, _before, after):
        self.added(after)

    def deleted(self, raw):
        self.gone[self._key(raw)] = time.monotonic()

    @staticmethod
    def _key(raw):
        return raw["metadata"]["namespace"], raw["metadata"]["name"]


class Ours:
    """The controller of this project as a process."""

    requests_metric = ("gvisor_nodes_api_requests", "verb")
    seconds_metric = ("gvisor_nodes_reconcile_duration_seconds", "verb", "reconcile")

    def __init__(self, directory, kubeconfig):
        self._controller = ControllerProcess(directory, kubeconfig, {})

    def start(self):
        self._controller.start().await_ready()
        return self._controller.process

    def requests(self):
        """How many requests it has sent, by verb and code."""
        family, word = self.requests_metric
        counted = Counter()
        for sample in self._samples(family):
            if sample.name.endswith("_total"):
                counted[sample.labels[word], sample.labels["code"]] += int(sample.value)
        return counted

    def reconciles(self):
        """How many seconds its reconciles took, and how many there were."""
        family, word, value = self.seconds_metric
        samples = [sample for sample in self._samples(family) if sample.labels[word] == value]
        return tuple(
            sum(sample.value for sample in samples if sample.name == f"{family}_{part}") for part in ("sum", "count")
        )

    def _samples(self, family):
        text = self._controller.get(self._controller.metrics, "/metrics")[1]
        families = text_string_to_metric_families(text)
        return [sample for one in families if one.name == family for sample in one.samples]


class Upstream(Ours):
    """The upstream extension's program."""

    requests_metric = ("rest_client_requests", "method")
    seconds_metric = ("controller_runtime_reconcile_time_seconds", "controller", "containerruntime")

    def __init__(self, directory, kubeconfig, program):
        super().__init__(directory, kubeconfig)
        self._log = directory / "upstream.log"
        one = self._controller
        self._argv = [
            program,
            f"--kubeconfig={kubeconfig}",
            "--leader-election=false",
            f"--metrics-bind-address=127.0.0.1:{one.metrics}",
            f"--health-bind-address=127.0.0.1:{one.health}",
            "--ignore-operation-annotation=false",
            "--heartbeat-namespace=default",
            "--heartbeat-renew-interval-seconds=3600",
            "--gardener-version=v1.149.3",
        ]

    def start(self):
        with self._log.open("ab") as log:
            process = subprocess.Popen(self._argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        eventually(lambda: self._controller.get(self._controller.metrics, "/metrics")[0] == 200, 60)
        return process


class Bench:
    """One controller on one seed."""

    def __init__(self, directory, cluster, client, target, controller, process, seen):
        self._directory = str(directory)
        self._cluster = cluster
        self._client = client
        self._target = target
        self._controller = controller
        self._process = process
        self._seen = seen
        self._numbers = iter(range(10_000))
        self.figures = {}

    def run(self, tell, *, large):
        """Measure everything; what is told is what comes next."""
        for what, measure in (
            ("one by one", self.single),
            (f"{BURST} at once", self.burst),
            ("unchanged reconciles", self.unchanged),
            (f"{2 * BURST} objects", self.memory),
            ("nothing for a minute", self.idle),
            ("the last of a Shoot goes", self.last),
            *(((f"{LARGE} at once", self.large),) if large else ()),
        ):
            tell(what)
            measure()

    def single(self):
        shoot = self._shoot()
        took = []
        for number in range(SINGLE):
            begun = time.monotonic()
            shoot.deploy(f"p{number}")
            took.append(self._succeeded([(shoot.namespace, f"gvisor-p{number}")], 30) - begun)
        self.figures["single"] = statistics.median(took)

    def burst(self):
        before = self._cpu()
        whole, each = self._at_once(BURST, 600)
        self.figures |= {"burst": whole, "burst p50": each}
        self.figures |= {name: now - before[name] for name, now in self._cpu().items()}
        self._settled()
        self.figures["conflicts"] = self._conflicts()

    def unchanged(self):
        shoot = self._shoot()
        shoot.deploy(spec={"providerConfig": configuration(**FLAGS)})
        shoot.await_ready()
        self._settled()
        before = self._writes(), *self._controller.reconciles()
        names = {self._secret(shoot)}
        for _ in range(REPEATED):
            shoot.ask()
            shoot.await_ready()
            names.add(self._secret(shoot))
        self._settled()
        writes, seconds, passes = self._writes(), *self._controller.reconciles()
        self.figures["writes"] = writes - before[0] - REPEATED * OWN_WRITES
        self.figures["names"] = len(names)
        self.figures["unchanged"] = (seconds - before[1]) / (passes - before[2])

    def memory(self):
        self._at_once(2 * BURST - len(self._seen.succeeded), 600)
        self._settled()
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        [kilobytes] = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
        self.figures["memory"] = int(kilobytes) / 1000

    def idle(self):
        before = self._writes()
        threading.Event().wait(60)
        self.figures["idle"] = self._writes() - before

    def last(self):
        whole, after = [], []
        shoot = self._shoot()
        with self._cluster.resource_manager([shoot.namespace]):
            for number in range(LAST):
                pool, key = f"l{number}", (shoot.namespace, f"gvisor-l{number}")
                shoot.deploy(pool)
                shoot.await_ready(pool)
                eventually(lambda pool=pool: self._applied(shoot, pool))
                self._settled()
                begun = time.monotonic()
                shoot.delete(pool)
                eventually(lambda key=key: key in self._seen.gone, 180)
                eventually(lambda begun=begun: self._seen.gone.get((shoot.namespace, SMR), 0) > begun)
                whole.append(self._seen.gone[key] - begun)
                after.append(self._seen.gone[key] - self._seen.gone[shoot.namespace, SMR])
        self.figures |= {"last": statistics.median(after), "last whole": statistics.median(whole)}

    def large(self):
        self.figures["large"], _ = self._at_once(LARGE, 3600)

    def _at_once(self, objects, deadline):
        """Create so many objects, a namespace for each few; return the seconds of all, and the median of one's."""
        pools = [f"p{number}" for number in range(objects)]
        wanted = [(self._shoot(), pool) for group in batched(pools, IN_NAMESPACE) for pool in group[:1]]
        shoots = [shoot for shoot, _ in wanted]
        pairs = [
            (shoot, pool) for shoot, group in zip(shoots, batched(pools, IN_NAMESPACE), strict=True) for pool in group
        ]
        created = {}

        def create(pair):
            shoot, pool = pair
            created[shoot.namespace, f"gvisor-{pool}"] = time.monotonic()
            shoot.deploy(pool)

        begun = time.monotonic()
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(create, pairs))
        ended = self._succeeded(created, deadline)
        return ended - begun, statistics.median(self._seen.succeeded[key] - at for key, at in created.items())

    def _shoot(self):
        return Shoot(self._client, self._target, f"shoot--bench--{next(self._numbers)}", self._cluster).prepare()

    def _succeeded(self, keys, deadline):
        """Wait until all have succeeded once; return when the last did."""
        seen = self._seen.succeeded
        eventually(lambda: all(key in seen for key in keys), deadline, lambda: f"{len(seen)} have succeeded")
        return max(seen[key] for key in keys)

    def _secret(self, shoot):
        [reference] = shoot.resource(pmr("a"))["spec"]["secretRefs"]
        return reference["name"]

    def _applied(self, shoot, pool):
        resources = [shoot.resource(name) or {} for name in (SMR, pmr(pool))]
        found = [one.get("status", {}).get("conditions", ()) for one in resources]
        return all(
            any(each["type"] == "ResourcesApplied" and each["status"] == "True" for each in one) for one in found
        )

    def _settled(self):
        """Wait until no request has been sent for a second."""
        last, since = None, time.monotonic()

        def still():
            nonlocal last, since
            now = self._controller.requests()
            if now != last:
                last, since = now, time.monotonic()
            return time.monotonic() - since > 1

        eventually(still, 120, lambda: last)

    def _cpu(self):
        """Seconds of CPU time that were taken, by the controller and by everything here."""
        controller = cpu(self._process.pid)
        others = (int(one.name) for one in Path("/proc").iterdir() if one.name.isdecimal())
        of_cluster = sum(cpu(pid) for pid in others if self._directory in arguments(pid) and pid != self._process.pid)
        return {"burst cpu": controller, "burst cpu all": controller + of_cluster + time.process_time()}

    def _writes(self):
        return sum(count for (verb, _), count in self._controller.requests().items() if verb in WRITES)

    def _conflicts(self):
        return sum(count for (_, code), count in self._controller.requests().items() if code == CONFLICT)


def cpu(pid):
    """Seconds of CPU time of a process, 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def arguments(pid):
    """The command line of a process, empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


@contextmanager
def watched(client, *resources):
    """What is seen of these kinds while the block lasts."""
    seen = Seen()
    reflectors = [Reflector(client, resource, handlers=[seen]) for resource in resources]
    for one in reflectors:
        threading.Thread(target=one.run, daemon=True).start()
    assert all(one.wait_synced(60) for one in reflectors)
    try:
        yield seen
    finally:
        for one in reflectors:
            one.stop()


def measure(make, tell, *, large):
    """The figures of one controller, on a seed of its own."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gvisor-nodes-bench-")))
        cluster = stack.enter_context(Cluster(directory / "cluster"))
        client = stack.enter_context(Client(from_file(cluster.seed.kubeconfig_file)))
        target = stack.enter_context(Client(from_file(cluster.shoot.kubeconfig_file)))
        seen = stack.enter_context(watched(client, CONTAINER_RUNTIMES, MANAGED_RESOURCES))
        controller = make(directory, cluster.seed.kubeconfig_file)
        process = controller.start()
        stack.callback(process.wait, 60)
        stack.callback(process.terminate)
        bench = Bench(directory, cluster, client, target, controller, process, seen)
        bench.run(tell, large=large)
        return bench.figures


def table(ours, upstream):
    """The figures beside their aims."""
    found = Table(box=None, pad_edge=False)
    for column in ("what", "aim", "measured", "", "upstream here", "published", "ratio"):
        found.add_column(column, justify="left" if column in {"what", ""} else "right", overflow="fold")
    for name, row in ROWS.items():
        if name in ours:
            value = ours[name]
            base = upstream.get(name, row.published)
            found.add_row(
                row.what,
                f"{row.aim:g} {row.unit}" if row.aim is not None else "-",
                shown(value, row),
                verdict(value, row.aim),
                shown(upstream[name], row) if name in upstream else "not measured",
                shown(row.published, row) if row.published is not None else "-",
                f"{value / base:.2g}" if base else "-",
            )
    return found


def verdict(value, aim):
    """Whether an aim is met."""
    if aim is None:
        return ""
    return "ok" if value <= aim else "missed"


def shown(value, row):
    """A figure as people read it."""
    return f"{value:.3g} s" if row.unit == "s" else f"{value:.0f} {row.unit}".rstrip()


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure the controller on a seed of real parts.")
    parser.add_argument("--large", action="store_true", help=f"also {LARGE} objects at once")
    large = parser.parse_args().large
    out, progress = Console(width=160), Console(stderr=True, highlight=False)
    begun = time.monotonic()

    def tell(what):
        progress.print(f"{time.monotonic() - begun:6.1f} s  {what}")

    program = os.environ.get("UPSTREAM_CONTROLLER", "")
    try:
        ours = measure(Ours, tell, large=large)
        upstream = {}
        if program:
            tell(f"the same of {program}")
            upstream = measure(lambda *places: Upstream(*places, program), tell, large=False)
    except GvisorNodesError as error:
        progress.print(str(error))
        return error.exit_code
    out.print(table(ours, upstream))
    out.print("The ratio is to what was measured here of upstream, else to what is published of it.")
    out.print(
        f"{IN_NAMESPACE} objects a namespace. No leader election, no heartbeat. The resource manager runs only where"
        f" deletions are measured. {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f} at the end, for everything."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
