"""A cluster that goes on after the command that started it: for a controller that is developed, and tried by hand.

Which processes are its own is written beside their logs (:mod:`orchestrator.lab.process`), so another command finds
them, starts those that have ended, or ends them all.
"""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator.errors import RefusedError
from orchestrator.lab import capabilities, control_plane, kubernetes
from orchestrator.lab.cluster import Cluster
from orchestrator.lab.kinds import chosen_kinds
from orchestrator.lab.lock import held
from orchestrator.lab.paths import cluster_directory, cluster_lock, replace_file
from orchestrator.lab.program import Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NAMESPACE: Final = "shoot--foo--bar"
"""The Shoot's namespace in the seed: the one that Gardener's own examples have."""

_LOCK_SECONDS: Final = 3600.0  # as long as the longest build
_WRITTEN: Final = "kubeconfigs.json"


@dataclass(frozen=True, slots=True)
class Background:
    """A cluster that is up.

    Attributes:
        seed: path of the seed's kubeconfig.
        shoot: path of the shoot's.
        started: whether anything had to be started; else all of it ran already.
        nodes: how many nodes the shoot has.
    """

    seed: Path
    shoot: Path
    started: bool
    nodes: int


def up(
    name: str, output: Path, on_progress: Progress = silent, *, nodes: int = 0, kinds: Sequence[str] = ()
) -> Background:
    """Make sure that the cluster runs and has a Shoot ``foo/bar``; what runs is left as it is.

    Builds what is missing into the cache. Returns when everything is ready.

    Args:
        name: of the cluster.
        output: directory for the two kubeconfigs; it is made.
        on_progress: told what is done.
        nodes: how many nodes the shoot has at least; those that it has stay.
        kinds: given in turn to the nodes that are made, by their numbers.

    Raises:
        InvalidInputError: no such name or kind.
        RefusedError: there are kubeconfigs of others, or another process is at work on the same cluster; or nodes are
            wanted, and it was started without, or this machine cannot have them.
        MissingComponentError: a program is missing.
        GvisorNodesError: a build failed, or a program does not start. Nothing of it runs then, its logs stay; a cluster
            that ran before goes on if it is only a node that does not start.
    """
    directory = cluster_directory(name)
    chosen = chosen_kinds(None, kinds)
    targets = output.absolute() / "kubeconfig", output.absolute() / "shoot-kubeconfig"
    with held(cluster_lock(name), what=f"cluster {name}", timeout=_LOCK_SECONDS, progress=on_progress):
        _refuse_others(targets, _written(directory))
        before = Cluster(directory) if directory.exists() else None
        if nodes:
            _require_place(before, name, nodes)
        with_nodes = bool(nodes) or (before is not None and before.takes_nodes)
        control_plane.ensure(on_progress, nodes=with_nodes)
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
        cluster = Cluster(directory, nodes=with_nodes, name=name)
        started = True
        try:
            started = _start(cluster, on_progress)
            joined = with_nodes and _start_nodes(cluster, nodes, chosen, on_progress)
        except BaseException:
            if started:  # else a node is missing in a cluster that ran before, and that goes on
                cluster.stop()
            raise
        replace_file(directory / _WRITTEN, json.dumps(sorted({*_written(directory), *map(str, targets)})) + "\n")
        output.mkdir(parents=True, exist_ok=True)
        for server, target in zip((cluster.seed, cluster.shoot), targets, strict=True):
            replace_file(target, server.kubeconfig_file.read_text(encoding="utf-8"), mode=0o600)
        return Background(*targets, started or joined, len(cluster.node_kinds()))


def down(name: str, on_progress: Progress = silent) -> bool:
    """End the cluster's processes, and remove its directory and the kubeconfigs that up wrote.

    Returns:
        Whether there was anything.

    Raises:
        InvalidInputError: no such name.
        RefusedError: another process is at work on the same cluster.
        GvisorNodesError: a process does not end.
    """
    directory = cluster_directory(name)
    lock = cluster_lock(name)
    with held(lock, what=f"cluster {name}", timeout=_LOCK_SECONDS, progress=on_progress):
        there = directory.exists()
        if there:
            cluster = Cluster(directory)
            cluster.resource_manager([NAMESPACE])
            if cluster.stop():
                on_progress(
                    "nodes, resource manager, controllers, API servers and etcd have ended"
                    if cluster.takes_nodes
                    else "resource manager, controllers, API servers and etcd have ended"
                )
            _remove(_written(directory), [cluster.seed.kubeconfig_file, cluster.shoot.kubeconfig_file])
            shutil.rmtree(directory)
        lock.unlink()
    return there


def _start(cluster: Cluster, progress: Progress) -> bool:
    from orchestrator.lab.seed_objects import make_shoot  # noqa: PLC0415 - a second, which down needs not

    started = cluster.start(progress)
    make_shoot(cluster.seed.kubeconfig_file, NAMESPACE, cluster.shoot.kubeconfig(), kubernetes.VERSION)
    manager = cluster.resource_manager([NAMESPACE])
    started = manager.launch() or started
    manager.await_ready()
    progress(f"the resource manager looks after {NAMESPACE}")
    return started


def _start_nodes(cluster: Cluster, nodes: int, kinds: Sequence[str], progress: Progress) -> bool:
    started = cluster.mend_nodes(progress)
    there = cluster.node_kinds()
    missing = [number for number in range(1, nodes + 1) if number not in there]
    with ThreadPoolExecutor(max_workers=8, thread_name_prefix="node") as pool:
        joining = [
            pool.submit(cluster.add_node, number=number, kind=kinds[(number - 1) % len(kinds)], progress=progress)
            for number in missing
        ]
        for each in joining:
            each.result()
    return started or bool(missing)


def _require_place(cluster: Cluster | None, name: str, nodes: int) -> None:
    """Refuse what could not end well, before anything is built or started."""
    if cluster is not None and not cluster.takes_nodes and cluster.shoot.authority_file.exists():
        raise RefusedError(
            f"The cluster {name} takes no nodes",
            why="it was started without: its API servers listen where nodes do not reach them",
            remedy=f"gvisor-nodes lab cluster down --name {name}, then up again",
        )
    capabilities.require_privileges(capabilities.probe())
    there = cluster.node_kinds() if cluster else {}
    missing = sum(number not in there for number in range(1, nodes + 1))
    capabilities.require_inotify(missing, each=capabilities.INOTIFY_OF_A_CLUSTERS_NODE)


def _written(directory: Path) -> list[str]:
    """The paths of the kubeconfigs that were written."""
    try:
        return [str(path) for path in json.loads((directory / _WRITTEN).read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []


def _refuse_others(targets: Iterable[Path], own: Iterable[str]) -> None:
    others = [str(target) for target in targets if target.exists() and str(target) not in own]
    if others:
        raise RefusedError(
            f"{', '.join(others)} would be overwritten",
            why="the file is there, and this cluster did not write it",
            remedy="remove it, or choose another --output",
        )


def _remove(paths: Iterable[str], originals: Iterable[Path]) -> None:
    """Remove kubeconfigs that are still what was written, and their directories if nothing else is in them."""
    contents = {original.read_bytes() for original in originals if original.exists()}
    for path in map(Path, paths):
        if path.is_file() and path.read_bytes() in contents:
            path.unlink()
            with suppress(OSError):
                path.parent.rmdir()
