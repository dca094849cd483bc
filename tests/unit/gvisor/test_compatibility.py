"""Which releases run on which containerd: the matrix that was run with real binaries, and the pairs that are reported."""

from __future__ import annotations

import pytest

from orchestrator.gvisor.catalogue import Catalogue
from orchestrator.gvisor.compatibility import RULES, judge, parse_version, predicted_library
from orchestrator.gvisor.releases import ARCHITECTURES

TRIED = ("1.6.20~ds1", "1.7.24~ds1", "2.0.14", "2.1.9", "2.2.9", "2.3.4", "2.4.2")
OLD, MIDDLE, NEW = "20250205.0", "20260224.0", "20260905.0"
KNOWN = (OLD, "20260209.1", MIDDLE, "20260817.0", NEW)


def refusals(containerd, release, **more):
    return [finding for finding in judge(containerd, release, **more) if finding.effect == "refuse"]


def warnings(containerd, release, **more):
    return [finding.what for finding in judge(containerd, release, **more) if finding.effect == "warn"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.6.20~ds1", (1, 6, 20)),
        ("1.7.24~ds1", (1, 7, 24)),
        ("v2.4.2", (2, 4, 2)),
        ("2.1.5+unknown", (2, 1, 5)),
        ("1.6.36+unknown", (1, 6, 36)),
        ("2.0.0-rc.1", (2, 0, 0)),
        ("1.7.0-1ubuntu3", (1, 7, 0)),
        ("2.3", (2, 3, 0)),
        ("v1.7.24-k3s1", (1, 7, 24)),
        (" 1.7.24\n", (1, 7, 24)),
        ("", None),
        ("1", None),
        ("unknown", None),
        ("1.7.24.5", None),
    ],
)
def test_a_version_is_read_however_a_distribution_writes_it(text, expected):
    assert expected == parse_version(text)


@pytest.mark.feature("E5")
@pytest.mark.parametrize("containerd", TRIED)
@pytest.mark.parametrize(("release", "shim"), [(OLD, "1.6.36+unknown"), (MIDDLE, "1.6.36+unknown"), (NEW, "2.1.5")])
def test_what_ran_is_not_refused_and_what_failed_is_by_prediction_and_by_the_binary(containerd, release, shim):
    failed = containerd.startswith("1.6") and release == NEW

    assert failed == bool(refusals(containerd, release))
    assert failed == bool(refusals(containerd, release, shim=shim))


@pytest.mark.feature("E5")
def test_a_refusal_names_the_newest_known_release_that_works_there():
    (found,) = refusals("1.6.20~ds1", NEW, known=KNOWN)

    assert "gVisor 20260905.0 does not run on containerd 1.6.20~ds1" == found.what
    assert "2.1 (predicted from the release's day)" in found.why
    assert "choose gVisor 20260224.0 (--release 20260224.0, or runsc_release)" in found.remedy
    assert "upgrade containerd to 1.7 or newer" in found.remedy


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_built_in_catalogue_has_a_release_that_works_on_containerd_1_6(architecture):
    known = [entry.release for _, entry in Catalogue.load().entries() if entry.architecture == architecture]

    assert "choose gVisor 20260224.0" in refusals("1.6.20", NEW, known=known)[0].remedy


def test_without_a_known_release_that_works_the_other_way_out_is_named():
    (found,) = refusals("1.6.20", NEW, known=[NEW, "20261005.0", "no release"])

    assert "upgrade containerd to 1.7 or newer" == found.remedy


@pytest.mark.parametrize(
    ("release", "shim", "refused"),
    [
        (MIDDLE, "2.1.5+unknown", True),  # built by somebody on another library than its day says
        (NEW, "1.6.36+unknown", False),
        (NEW, "", True),
        (NEW, "no version", True),
        (MIDDLE, "", False),
    ],
)
def test_the_binary_decides_over_the_day(release, shim, refused):
    found = refusals("1.6.20~ds1", release, shim=shim)

    assert refused == bool(found)
    assert all(("the binary says so" in finding.why) == (shim.startswith("2.")) for finding in found)


@pytest.mark.parametrize(
    ("release", "library"),
    [
        ("20231009.0", (1, 4)),
        ("20250205.0", (1, 6)),
        ("20260224.0", (1, 6)),
        ("20260519.0", (1, 6)),
        ("20260520.0", (2, 1)),
        ("20261005.0", (2, 1)),
    ],
)
def test_the_day_predicts_the_library_of_the_shim(release, library):
    assert library == predicted_library(release)


@pytest.mark.parametrize(
    ("containerd", "stuck"),
    [
        ("2.0.0", True),
        ("2.0.0-rc.1", True),
        ("2.0.5", True),
        ("2.0.6", False),
        ("2.1.0", True),
        ("2.1.1", False),
        ("1.7.24", False),
        ("2.4.2", False),
    ],
)
def test_pods_that_stay_in_terminating_are_warned_of_with_older_shims_only(containerd, stuck):
    assert stuck == any("stay in Terminating" in what for what in warnings(containerd, MIDDLE))
    assert not any("stay in Terminating" in what for what in warnings(containerd, NEW))


@pytest.mark.parametrize(("release", "warned"), [("20260817.0", True), ("20260831.0", False), (NEW, False)])
def test_a_teardown_that_can_hang_is_warned_of_until_the_release_that_repaired_it(release, warned):
    assert warned == any("hang in rare cases" in what for what in warnings("1.7.24", release))


def test_a_warning_says_where_there_is_no_way_out():
    (found,) = judge("1.6.20", MIDDLE, known=KNOWN)

    assert "warn" == found.effect
    assert "no other known release is free of it" in found.remedy


def test_a_containerd_that_nobody_tried_is_warned_of():
    assert ["containerd 2.5.0 is newer than every one that gVisor was tried on here"] == warnings("2.5.0", NEW)
    assert [] == warnings("2.4.9", NEW)


@pytest.mark.parametrize("text", ["", "unknown", "containerd"])
def test_a_containerd_without_a_version_has_no_findings(text):
    assert () == judge(text, NEW)


def test_every_rule_has_a_name_of_its_own_and_its_evidence():
    assert len(RULES) == len({rule.name for rule in RULES})
    for rule in RULES:
        assert len(rule.evidence) > 20, rule.name
