"""Whose kubeconfigs and whose processes a background cluster touches; that it works is for tests/cluster."""

import json

import pytest

from orchestrator.errors import InvalidInputError, RefusedError
from orchestrator.lab import background, paths


@pytest.fixture(autouse=True)
def state(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "state"


@pytest.fixture
def output(tmp_path):
    directory = tmp_path / "dev"
    directory.mkdir()
    return directory


def of_an_interrupted_up(name, *written):
    directory = paths.cluster_directory(name)
    (directory / "seed").mkdir(parents=True)
    (directory / "seed" / "kubeconfig").write_text("ours")
    (directory / "kubeconfigs.json").write_text(json.dumps([str(path) for path in written]))
    return directory


def test_a_kubeconfig_of_somebody_else_is_not_overwritten_and_nothing_is_started(output):
    (output / "kubeconfig").write_text("theirs")

    with pytest.raises(RefusedError) as caught:
        background.up("a", output)

    assert "--output" in caught.value.remedy
    assert (output / "kubeconfig").read_text() == "theirs"
    assert not paths.cluster_directory("a").exists()


def test_a_cluster_whose_api_servers_no_node_reaches_takes_none(output):
    directory = of_an_interrupted_up("a")
    (directory / "shoot" / "serving").mkdir(parents=True)
    (directory / "shoot" / "serving" / "apiserver.crt").write_text("of loopback")

    with pytest.raises(RefusedError, match="takes no nodes") as caught:
        background.up("a", output, nodes=1)

    assert "lab cluster down --name a" in caught.value.remedy


def test_a_kind_of_node_that_there_is_not_is_told_before_anything_is_made(output):
    with pytest.raises(InvalidInputError, match="nosuch"):
        background.up("a", output, nodes=1, kinds=["nosuch"])

    assert not paths.cluster_directory("a").exists()


def test_down_removes_what_up_wrote_with_the_directory_and_all_of_the_state(output):
    (output / "kubeconfig").write_text("ours")
    directory = of_an_interrupted_up("a", output / "kubeconfig", output / "shoot-kubeconfig")

    assert background.down("a")

    assert not output.exists()
    assert not directory.exists()
    assert not paths.cluster_lock("a").exists()


def test_a_kubeconfig_that_somebody_changed_stays(output):
    (output / "kubeconfig").write_text("ours and more")
    of_an_interrupted_up("a", output / "kubeconfig")

    background.down("a")

    assert (output / "kubeconfig").read_text() == "ours and more"


def test_a_directory_with_something_else_in_it_stays(output):
    (output / "kubeconfig").write_text("ours")
    (output / "notes").touch()
    of_an_interrupted_up("a", output / "kubeconfig")

    background.down("a")

    assert [path.name for path in output.iterdir()] == ["notes"]


def test_where_there_is_no_cluster_down_says_so_and_leaves_nothing(state):
    assert not background.down("a")
    assert paths.cluster_names() == []
    assert list((state / "gvisor-nodes" / "clusters").iterdir()) == []


def test_a_name_that_is_a_path_is_refused(output):
    for call in (background.down, lambda name: background.up(name, output)):
        with pytest.raises(InvalidInputError):
            call("../a")


def test_a_lab_and_a_cluster_of_the_same_name_share_nothing():
    paths.cluster_directory("a").mkdir(parents=True)

    assert paths.lab_names() == []
    assert paths.cluster_names() == ["a"]
    assert paths.cluster_lock("a") != paths.lab_lock("a")
