"""Where files of a host are, and how its programs are run: on the host itself, from a pod on it, on a plain directory."""

from __future__ import annotations

import pytest
from ansible.module_utils.gvisor_journal import NodeError
from ansible.module_utils.gvisor_root import Root


def test_on_the_host_paths_and_programs_are_its_own():
    root = Root("/")

    assert root.is_live
    assert ("/etc", "/etc", [], []) == (root.real("/etc"), root.seen("/etc"), root.enter, root.jail)
    assert (0, "hello\n", "") == root.run(["echo", "hello"])
    root.check()


def test_in_a_pod_files_are_below_the_root_and_programs_see_the_hosts_paths():
    root = Root("/host", live=True)

    assert root.is_live
    assert ("/host/etc", "/etc", []) == (root.real("/etc"), root.seen("/etc"), root.jail)
    assert "nsenter" == root.enter[0]


def test_of_a_plain_directory_nothing_runs_but_what_is_put_into_it(tmp_path):
    root = Root(str(tmp_path))

    assert not root.is_live
    assert root.real("/etc") == root.seen("/etc") == f"{tmp_path}/etc"
    assert ([], ["chroot", str(tmp_path)]) == (root.enter, root.jail)
    root.check()


def test_a_root_that_is_not_that_of_process_1_is_refused_with_what_the_pod_lacks(tmp_path):
    with pytest.raises(NodeError) as error:
        Root(str(tmp_path), live=True).check()

    assert error.value.answer["refused"]
    assert "is not the root of the running host" in error.value.answer["what"]
    assert "hostPID: true" in error.value.answer["remedy"]


def test_a_root_that_is_no_directory_is_refused(tmp_path):
    with pytest.raises(NodeError, match="is not a directory"):
        Root(str(tmp_path / "host")).check()


def test_a_program_that_is_missing_or_does_not_end_is_an_answer():
    root = Root("/")

    assert 127 == root.run(["no-such-program"])[0]
    assert 124 == root.run(["sleep", "60"], timeout=0.1)[0]
