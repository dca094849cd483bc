"""What is in an image is told by what is installed, in the same bytes for the same parts."""

from __future__ import annotations

import json
import sysconfig
from pathlib import Path

from orchestrator.lab import sbom

SITE = Path(sysconfig.get_paths()["purelib"])
DEBIAN = "libc6\t2.41-12\tamd64\nlibstdc++6\t14.2.0-19\tamd64\n"


def document():
    return sbom.document("1.2.3", sbom.components(python=[SITE], debian=DEBIAN))


def test_python_and_debian_packages_are_named_by_their_package_urls():
    found = {part["name"]: part for part in json.loads(document())["components"]}

    assert found["ansible-core"]["purl"].startswith("pkg:pypi/ansible-core@2.")
    assert "pkg:deb/debian/libc6@2.41-12?arch=amd64" == found["libc6"]["purl"]
    assert "pkg:deb/debian/libstdc%2B%2B6@14.2.0-19?arch=amd64" == found["libstdc++6"]["purl"]


def test_the_same_parts_are_the_same_bytes_and_every_reference_is_there_once():
    text = document()
    references = [part["bom-ref"] for part in json.loads(text)["components"]]

    assert text == document()
    assert sorted(set(references)) == references
