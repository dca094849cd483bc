"""Rules of a login that only the run itself knows."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from orchestrator.errors import InvalidInputError, MissingComponentError
from orchestrator.execution import runner
from orchestrator.execution.login import Login, file_text
from orchestrator.execution.runner import Options, run

KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\n"
OTHER = KEY.replace("MIIE", "MIIF")
KNOWN = Path("/dev/shm/known_hosts")


def test_the_keys_are_tried_in_their_order_and_nothing_else_is():
    words = shlex.split(Login((KEY, OTHER), KNOWN).arguments(["/one", "/two"]))
    options = words[3::2]

    assert ["-F", "none", "-o"] == words[:3]
    assert ["IdentityFile=/one", "IdentityFile=/two"] == [one for one in options if one.startswith("IdentityFile")]
    assert {"BatchMode=yes", "IdentitiesOnly=yes", "IdentityAgent=none", "ForwardAgent=no"} <= set(options)


@pytest.mark.parametrize(("learns", "word"), [(False, "yes"), (True, "accept-new")])
def test_host_keys_are_always_checked(learns, word):
    words = shlex.split(Login((KEY,), KNOWN, learns=learns).arguments(["/one"]))

    assert f"StrictHostKeyChecking={word}" in words
    assert {f"UserKnownHostsFile={KNOWN}", "GlobalKnownHostsFile=/dev/null"} <= set(words)


@pytest.mark.parametrize(
    "key", ["", "secret", "-----BEGIN RSA PRIVATE KEY-----\nMIIE", KEY.replace("PRIVATE", "PUBLIC")]
)
def test_what_is_no_private_key_is_refused_and_not_shown(key):
    with pytest.raises(InvalidInputError) as refused:
        Login((key,), KNOWN)
    assert "secret" not in str(refused.value)
    assert "MIIE" not in str(refused.value)


def test_no_key_and_a_path_that_ssh_would_split_are_refused():
    with pytest.raises(InvalidInputError):
        Login((), KNOWN)
    with pytest.raises(InvalidInputError):
        Login((KEY,), Path("/tmp/known hosts"))


def test_a_key_is_not_shown_with_its_options():
    assert "MIIE" not in repr(Options(login=Login((KEY,), KNOWN)))


def test_a_key_is_written_as_ssh_reads_it():
    assert "a\nb\n" == file_text("a\r\nb")


def test_keys_are_in_memory_for_the_time_of_the_run_and_only_their_owner_may_read_them(make_content):
    content = make_content(quick=[{"name": "Look", "answer": {"step": "look", "status": "ok"}}])
    hosts = {"all": {"hosts": {"h": {"ansible_connection": "local"}}}}
    seen = {}

    def look(_event):
        for path in Path("/dev/shm").glob(f"gvn-{os.getpid()}-*/identity-*"):
            seen[path.name] = (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777, path.read_text())

    result = run("quick", hosts, content=content, on_event=look, options=Options(login=Login((KEY, OTHER), KNOWN)))

    assert "ok" == result.hosts["h"].outcome
    assert {"identity-0": (0o600, 0o700, KEY), "identity-1": (0o600, 0o700, OTHER)} == seen
    assert [] == list(Path("/dev/shm").glob(f"gvn-{os.getpid()}-*"))


def test_without_a_place_in_memory_a_key_is_not_written_anywhere(make_content, monkeypatch, tmp_path):
    monkeypatch.setattr(runner, "_TMPFS", tmp_path)
    content = make_content(quick=[])
    with pytest.raises(MissingComponentError, match="never written to a disk"):
        run("quick", "localhost,", content=content, options=Options(login=Login((KEY,), KNOWN)))
