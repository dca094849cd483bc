import json

import pytest

from orchestrator.errors import MissingComponentError
from orchestrator.lab import control_plane, gardener
from orchestrator.lab.etcd import etcd
from orchestrator.lab.kubernetes import controller_manager, kubernetes

BUILDS = control_plane.builds()


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.name)
def test_what_is_not_built_is_told_with_the_command_that_builds_it(build, tmp_path):
    with pytest.raises(MissingComponentError) as caught:
        build.find("make it", cache=tmp_path)

    assert caught.value.remedy == "make it"
    assert build.module.label in caught.value.what
    assert build.names[0] in caught.value.what


def test_what_another_recipe_built_does_not_count(tmp_path):
    target = tmp_path / "etcd" / etcd().module.version.removeprefix("v") / etcd().architecture
    target.mkdir(parents=True)
    (target / "etcd").touch()
    target.with_name(f"{target.name}.key").write_text(json.dumps("another"))

    with pytest.raises(MissingComponentError):
        etcd().find("make it", cache=tmp_path)


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.name)
def test_every_module_that_is_pinned_beside_the_main_one_has_both_sums(build):
    pinned = [line.split() for line in build.module.sums.splitlines()]

    paths = {path for path, version, _ in pinned if not version.endswith("/go.mod")}
    assert all(sum_.startswith("h1:") for _, _, sum_ in pinned)
    assert set(build.module.replacements) <= paths


def test_kubernetes_takes_the_place_of_its_staging_directories():
    replacements = kubernetes().module.replacements

    assert replacements["k8s.io/apiserver"] == "v0.37.2"
    assert len(replacements) == 25


def test_each_is_kept_under_a_name_of_its_own():
    assert len({build.name for build in BUILDS}) == len(BUILDS)


def test_the_definitions_and_the_resource_manager_are_of_the_same_module():
    files, program = gardener.definitions().module, gardener.resource_manager().module

    assert (files.path, files.version, files.sum) == (program.path, program.version, program.sum)


def test_the_controller_manager_is_of_the_same_parts_as_the_api_server_and_two_more():
    ours, theirs = controller_manager().module, kubernetes().module

    assert (ours.path, ours.version, ours.sum) == (theirs.path, theirs.version, theirs.sum)
    assert set(ours.replacements) - set(theirs.replacements) == {"k8s.io/cri-api", "k8s.io/cri-client"}


@pytest.mark.parametrize("there", ["etcd", "none"])
def test_what_envtest_brought_is_taken_and_what_it_lacks_is_our_own(monkeypatch, tmp_path, there):
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / there).touch()

    if there == "etcd":
        assert control_plane.program(etcd()) == tmp_path / "etcd"
    else:
        with pytest.raises(MissingComponentError) as caught:
            control_plane.program(etcd())
        assert caught.value.remedy == "make control-plane"
