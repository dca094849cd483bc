import json

import pytest

from orchestrator.errors import MissingComponentError
from orchestrator.lab.etcd import etcd
from orchestrator.lab.kubernetes import kubernetes


@pytest.mark.parametrize("build", [etcd, kubernetes])
def test_what_is_not_built_is_told_with_the_command_that_builds_it(build, tmp_path):
    with pytest.raises(MissingComponentError) as caught:
        build().find("make it", cache=tmp_path)

    assert caught.value.remedy == "make it"
    assert build().module.label in caught.value.what


def test_what_another_recipe_built_does_not_count(tmp_path):
    target = tmp_path / "etcd" / etcd().module.version.removeprefix("v") / etcd().architecture
    target.mkdir(parents=True)
    (target / "etcd").touch()
    target.with_name(f"{target.name}.key").write_text(json.dumps("another"))

    with pytest.raises(MissingComponentError):
        etcd().find("make it", cache=tmp_path)


@pytest.mark.parametrize("build", [etcd, kubernetes])
def test_every_module_that_is_pinned_beside_the_main_one_has_both_sums(build):
    pinned = [line.split() for line in build().module.sums.splitlines()]

    paths = {path for path, version, _ in pinned if not version.endswith("/go.mod")}
    assert all(sum_.startswith("h1:") for _, _, sum_ in pinned)
    assert set(build().module.replacements) <= paths


def test_kubernetes_takes_the_place_of_its_staging_directories():
    replacements = kubernetes().module.replacements

    assert replacements["k8s.io/apiserver"] == "v0.37.2"
    assert len(replacements) == 25
