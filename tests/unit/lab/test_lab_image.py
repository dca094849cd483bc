from dataclasses import replace

import pytest

from orchestrator.errors import GvisorNodesError, InvalidInputError
from orchestrator.lab.image import NodeImage, _restrict_oom_score
from orchestrator.lab.kinds import KINDS, kind_named

DEBIAN = """\
version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
"""


@pytest.fixture
def image():
    return NodeImage(kind_named("debian13"), restrict_oom_score=False)


def test_the_tag_is_the_content(image):
    kind = image.kind
    changed = [
        replace(image, restrict_oom_score=True),
        replace(image, kind=replace(kind, packages=(*kind.packages, "vim"))),
        replace(image, kind=replace(kind, suite="sid")),
        replace(image, kind=replace(kind, files={**kind.files, "/etc/x": "y"})),
    ]

    assert image.tag == replace(image).tag
    assert len({image.tag, *(other.tag for other in changed)}) == 5


def test_an_unknown_kind_is_refused_with_the_kinds_there_are():
    with pytest.raises(InvalidInputError) as caught:
        kind_named("debian1")

    assert "debian13" in caught.value.why


def test_no_kind_writes_a_containerd_configuration_of_its_own():
    assert [path for kind in KINDS.values() for path in kind.files if path.startswith("/etc/containerd")] == []


def test_where_the_oom_score_cannot_be_lowered_one_line_is_added_and_the_rest_stays(tmp_path):
    config = tmp_path / "config.toml"
    config.write_text(DEBIAN)

    _restrict_oom_score(config)

    lines = config.read_text().splitlines()
    assert lines.pop(4) == "    restrict_oom_score_adj = true"
    assert DEBIAN.splitlines() == lines


def test_a_configuration_that_is_not_debians_is_not_edited(tmp_path):
    config = tmp_path / "config.toml"
    config.write_text("version = 3\n")

    with pytest.raises(GvisorNodesError):
        _restrict_oom_score(config)

    assert config.read_text() == "version = 3\n"
