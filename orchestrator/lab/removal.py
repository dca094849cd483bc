"""The end of a lab: what up made is found by its labels and its directory, also what an interrupted up left behind."""

from __future__ import annotations

import shutil

from orchestrator.lab import background
from orchestrator.lab.cluster_nodes import remove_orphans
from orchestrator.lab.engine import LABEL, STATE_LABEL, Engine, find_engine
from orchestrator.lab.lock import held
from orchestrator.lab.paths import (
    cache_directory,
    cluster_names,
    clusters_directory,
    lab_directory,
    lab_lock,
    lab_names,
    labs_directory,
)
from orchestrator.lab.program import Progress, silent

_LOCK_SECONDS = 3600.0


def down(name: str, on_progress: Progress = silent) -> bool:
    """Remove the lab's containers with their volumes, its network and its state; tell whether there was anything."""
    state = lab_directory(name)
    engine = find_engine()
    lock = lab_lock(name)
    with held(lock, what=f"lab {name}", timeout=_LOCK_SECONDS, progress=on_progress):
        containers = [container.name for container in engine.containers(name)]
        networks = engine.networks(name)
        if containers:
            on_progress(f"remove {', '.join(containers)}")
        engine.remove_containers(containers)
        for network in networks:
            engine.remove_network(network)
        there = bool(containers or networks or state.exists())
        shutil.rmtree(state, ignore_errors=True)
        lock.unlink()
    return there


def left_overs(engine: Engine | None = None) -> list[str]:
    """Return the names of all labs of this user's state directory, and of nodes that were made from there."""
    engine = engine or find_engine()
    mine = str(labs_directory())
    of_containers = {
        container.labels[LABEL] for container in engine.containers() if container.labels.get(STATE_LABEL) == mine
    }
    return sorted({*lab_names(), *of_containers})


def clean(progress: Progress = silent) -> None:
    """Remove every cluster, every lab, every node image, what an interrupted build left, and the lab's cache."""
    for name in cluster_names():  # first: they need no engine
        background.down(name, progress)
    engine = find_engine()
    for node in remove_orphans(engine):
        progress(f"removed {node}, whose cluster is gone")
    for name in left_overs(engine):
        down(name, progress)
    engine.remove_builds()
    _remove_images(engine, progress)
    progress(f"remove {cache_directory()}")
    shutil.rmtree(cache_directory(), ignore_errors=True)
    for directory in (labs_directory(), clusters_directory()):
        if directory.is_dir() and not any(directory.iterdir()):
            directory.rmdir()


def _remove_images(engine: Engine, progress: Progress) -> None:
    """Remove node images in rounds: one that another is made of can only go after that one."""
    images = engine.images()
    while removed := [image for image in images if engine.remove_image(image)]:
        for image in removed:
            progress(f"removed image {image}")
        images = [image for image in engine.images() if image not in removed]
    for image in images:
        progress(f"image {image} stays: a lab of another state directory uses it")
