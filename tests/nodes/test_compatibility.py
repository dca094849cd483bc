"""gVisor releases on the containerds they meet: what cannot run is refused before anything, what can is proved."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from datetime import UTC, datetime

import pytest
from command import gvisor_nodes, starts

from orchestrator.gvisor.catalogue_entry import CatalogueEntry, render
from orchestrator.gvisor.releases import RUNSC, SHIM
from orchestrator.lab import Lab
from orchestrator.lab.removal import down
from orchestrator.lab.tree import difference, snapshot

REFUSED = 4


@pytest.fixture(scope="module")
def old():
    """A node with Debian 12's containerd 1.6, and the release that runs there."""
    name = f"test-{secrets.token_hex(3)}-{os.environ.get('PYTEST_XDIST_WORKER', 'gw0')}-old"
    try:
        lab = Lab.up(name, nodes=1, kind="debian12")
        lab.ensure_release("20260224.0")
        yield lab
    finally:
        down(name)


@pytest.mark.feature("E5")
def test_20260905_on_containerd_1_6_is_refused_before_any_change_naming_a_release_that_works(old):
    (node,) = old.nodes
    look = "ls -lARc /run/gvisor-nodes /var/lib/gvisor-nodes 2>&1; :"
    before, started, written = snapshot(node), starts(node), node.run(look).stdout
    planned = gvisor_nodes("plan", "--release", "20260905.0", inventory=old.inventory)
    applied = gvisor_nodes("apply", "--release", "20260905.0", inventory=old.inventory)

    assert (REFUSED, REFUSED) == (planned.rc, applied.rc)
    assert planned.host(node)["refusals"][0]["what"] == applied.bad_step(node)["message"]
    bad = applied.bad_step(node)
    assert ("preflight", "refused") == (bad["step"], bad["status"])
    assert "gVisor 20260905.0 does not run on containerd 1.6.20" in bad["message"]
    assert "JSON" in bad["cause"]
    assert "--release 20260224.0" in bad["remedy"]
    assert [] == difference(before, snapshot(node))
    assert started == starts(node)
    assert written == node.run(look).stdout  # no journal and no lease, not even one that was given back


@pytest.mark.feature("E5")
def test_20260224_on_containerd_1_6_is_installed_proved_and_removed_without_a_trace(old):
    (node,) = old.nodes
    before, started = snapshot(node), starts(node)
    applied = gvisor_nodes("apply", "--release", "20260224.0", inventory=old.inventory)

    assert 0 == applied.rc, applied.stderr
    assert ("20260224.0", "proved", 1) == tuple(applied.host(node)[name] for name in ("release", "proof", "restarts"))
    assert any("can hang in rare cases" in text for text in applied.host(node)["warnings"])

    switched = gvisor_nodes("apply", "--release", "20260905.0", inventory=old.inventory)
    assert REFUSED == switched.rc
    assert "1" == node.read("/opt/gvisor-nodes/current").strip()

    removed = gvisor_nodes("remove", "--yes", inventory=old.inventory)
    assert 0 == removed.rc, removed.stderr
    assert [] == difference(before, snapshot(node))
    assert 2 == starts(node) - started


@pytest.mark.feature("E5")
def test_the_shims_own_word_counts_before_the_upload_whatever_the_releases_name_says(old, tmp_path):
    (node,) = old.nodes
    built, machine = old.releases.directory, old.releases.architecture
    place = tmp_path / "20260224.0" / machine
    place.mkdir(parents=True)
    shutil.copy(built / "20260224.0" / machine / RUNSC, place)
    shutil.copy(built / "20260905.0" / machine / SHIM, place)  # somebody built it on the 2.x library
    catalogue = tmp_path / "releases.json"
    entry = {
        "release": "20260224.0",
        "architecture": machine,
        "layout": "module",
        "source": "this test",
        "date": datetime.now(tz=UTC).date(),
        "files": {name: f"sha512:{hashlib.sha512((place / name).read_bytes()).hexdigest()}" for name in (RUNSC, SHIM)},
    }
    catalogue.write_text(render([CatalogueEntry.model_validate(entry)]))
    before, started = snapshot(node), starts(node)
    sources = ("--artifacts", tmp_path, "--releases-file", catalogue)
    planned = gvisor_nodes("plan", "--release", "20260224.0", *sources, inventory=old.inventory)
    applied = gvisor_nodes("apply", "--release", "20260224.0", *sources, inventory=old.inventory)

    assert (0, REFUSED) == (planned.rc, applied.rc)
    bad = applied.bad_step(node)
    assert ("release", "refused") == (bad["step"], bad["status"])
    assert "2.1.5" in bad["cause"]
    assert "the binary says so" in bad["cause"]
    assert [] == difference(before, snapshot(node))
    assert started == starts(node)
