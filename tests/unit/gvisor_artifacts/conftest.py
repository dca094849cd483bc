"""Fixtures of the artifact tests; what they hand out is in ``release_world.py``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode finds no sibling modules by itself

from release_world import PROGRAM, Bucket, World


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    """The compiled program, static and dynamic."""
    where = tmp_path_factory.mktemp("programs")
    (where / "main.c").write_text(PROGRAM)
    for name, flags in (("static", ["-static", "-nostdlib", "-fno-stack-protector"]), ("dynamic", ["-DDYNAMIC"])):
        subprocess.run(["gcc", "-O1", *flags, "-o", str(where / name), str(where / "main.c")], check=True)
    return (where / "static").read_bytes(), (where / "dynamic").read_bytes()


@pytest.fixture(scope="session")
def go_cache():
    """The user's build cache with the compiled standard library, asked for before a test moves XDG_CACHE_HOME."""
    return subprocess.run(["go", "env", "GOCACHE"], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def bucket():
    server = Bucket()
    yield server
    server.close()


@pytest.fixture
def world(tmp_path, programs, bucket, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg-cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return World(tmp_path, *programs, bucket)
