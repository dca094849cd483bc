"""NVIDIA drivers: what the host's texts say, and what runsc's list says to them."""

from __future__ import annotations

import pytest

from orchestrator.gvisor.drivers import (
    KNOWN_UNSUPPORTED,
    judge,
    loaded_version,
    module_version,
    parse_supported,
    parse_version,
)

LIST_20260817 = """\
535.129.03
535.183.06
535.247.01
535.261.03
535.274.02
535.288.01
535.309.01
550.90.12
570.124.06
570.133.20
570.172.08
570.195.03
580.65.06
580.105.08
580.126.09
580.126.20
580.159.03
580.159.04
580.173.02
590.48.01
610.57.04
615.15.00
615.62.00
620.06.00
"""

GCC = "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n"


def closed(version, build="Thu Oct 19 18:56:32 UTC 2023", architecture="x86_64"):
    return f"NVRM version: NVIDIA UNIX {architecture} Kernel Module  {version}  {build}\n{GCC}"


def opened(version, architecture="x86_64"):
    return (
        f"NVRM version: NVIDIA UNIX Open Kernel Module for {architecture}  {version}  Release Build  "
        f"(dvs-builder@U16-I3-B03-4-3)  Thu Feb 22 01:25:25 UTC 2024\n{GCC}"
    )


# As read on a machine with an H100.
H100 = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build  (nixbld@)  \n"
    "GCC version:  gcc version 15.3.0 (GCC) \n"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (H100, "580.159.04"),
        (closed("535.129.03"), "535.129.03"),
        (closed("535.183.06", "Wed Jun 26 06:46:07 UTC 2024"), "535.183.06"),
        (closed("390.157", "Wed Oct 12 09:19:07 UTC 2022"), "390.157"),
        (closed("470.223.02", "Sat Oct  7 15:39:11 UTC 2023"), "470.223.02"),
        (closed("450.51.05"), "450.51.05"),
        (closed("535.129.03", architecture="aarch64"), "535.129.03"),
        (closed("580.9"), "580.9"),
        (closed("1010.20.30"), "1010.20.30"),
        (opened("550.54.14"), "550.54.14"),
        (opened("560.35.03"), "560.35.03"),
        (opened("570.86.15", "aarch64"), "570.86.15"),
        (opened("540.4.0", "aarch64"), "540.4.0"),
        (opened("620.06"), "620.06"),
        (opened("550.54.14").replace("\n", "\r\n"), "550.54.14"),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03", "535.129.03"),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module\t535.129.03\n", "535.129.03"),
        (f"{GCC}NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  x\n", "535.129.03"),
        (GCC, ""),
        ("", ""),
        (None, ""),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module\n", ""),
        ("NVRM version: nouveau 1.4.0\n", ""),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03-rc1  x\n", ""),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535  x\n", ""),
        ("module 535.129.03\n", ""),
        (closed("304.137", "Thu Sep 14 13:44:37 PDT 2017"), "304.137"),
        (closed("340.108"), "340.108"),
        (closed("418.226.00"), "418.226.00"),
        (closed("450.80.02", architecture="ppc64le"), "450.80.02"),
        (closed("525.60.13"), "525.60.13"),
        (closed("535.161.05", "Fri Feb 23 12:58:42 UTC 2024"), "535.161.05"),
        (opened("515.43.04"), "515.43.04"),
        (opened("545.23.06"), "545.23.06"),
        (opened("555.42.02"), "555.42.02"),
        (opened("565.57.01").replace("dvs-builder@U16-I3-B03-4-3", "archlinux-builder@"), "565.57.01"),
        (opened("570.124.06").replace("Release Build", "Debug Build"), "570.124.06"),
        (opened("580.126.20"), "580.126.20"),
        (opened("590.48.01"), "590.48.01"),
        (opened("615.62.00", "aarch64"), "615.62.00"),
        (opened("9999.99.99"), "9999.99.99"),
        (closed("535.129.03.1"), ""),
        (closed("550.54.14-0ubuntu1"), ""),
        (closed("555.42.02beta"), ""),
        (closed("0535.129.03"), ""),
        (closed("53.5"), ""),
        (closed("10100.20.30"), ""),
        (closed("535.129.03\x00"), ""),
        (closed("535,129,03"), ""),
        (closed("535.129.03").lower(), ""),
        ("\x00\xff\n", ""),
    ],
)
def test_the_version_of_a_loaded_driver_is_read_from_every_form_of_the_text(text, expected):
    assert expected == loaded_version(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("535.129.03\n", "535.129.03"),
        ("390.157\n", "390.157"),
        ("  550.54.14  \n", "550.54.14"),
        ("620.06.00", "620.06.00"),
        ("", ""),
        (None, ""),
        ("535\n", ""),
        ("535.129.03.1\n", ""),
        ("535.129.03 535.129.04\n", ""),
        ("v535.129.03\n", ""),
        ("garbage\n", ""),
    ],
)
def test_the_modules_version_is_a_version_or_nothing(text, expected):
    assert expected == module_version(text)


@pytest.mark.parametrize(
    ("one", "other"),
    [("570.09.05", "570.9.5"), ("535.129.03", "535.129.3"), ("620.06.00", "620.6.0"), ("570.09", "570.9")],
)
def test_padding_makes_no_other_version(one, other):
    assert parse_version(one) == parse_version(other) is not None


def test_lines_of_the_list_that_are_no_version_are_left_out():
    listing = "W0905 warning: something\n\n570.172.08\r\n  580.65.06\nunknown command\n"

    assert parse_supported(listing) == {(570, 172, 8): "570.172.08", (580, 65, 6): "580.65.06"}


@pytest.mark.feature("E6")
@pytest.mark.parametrize(
    ("proc", "module", "kind", "driver", "nearest"),
    [
        (closed("535.129.03"), "535.129.03\n", "supported", "535.129.03", "535.129.03"),
        (opened("570.172.08"), "570.172.08\n", "supported", "570.172.08", "570.172.08"),
        (opened("620.6.0"), "620.06.00\n", "supported", "620.6.0", "620.6.0"),
        (opened("620.06"), "620.06\n", "supported", "620.06", "620.06"),
        (opened("620.06"), "620.06.00\n", "supported", "620.06", "620.06"),
        (closed("580.159.04"), None, "supported", "580.159.04", "580.159.04"),
        (H100, "580.159.04\n", "supported", "580.159.04", "580.159.04"),
        (None, "590.48.01\n", "supported", "590.48.01", "590.48.01"),
        ("unreadable\n", "590.48.01\n", "supported", "590.48.01", "590.48.01"),
        (closed("535.104.05"), "535.104.05\n", "known-unsupported", "535.104.05", "535.129.03"),
        (opened("550.54.14"), "550.54.14\n", "known-unsupported", "550.54.14", "550.90.12"),
        (opened("565.57.01"), "565.57.01\n", "known-unsupported", "565.57.01", "570.124.06"),
        (opened("595.71.05"), "595.71.05\n", "known-unsupported", "595.71.05", "590.48.01"),
        (closed("470.223.02"), "470.223.02\n", "unknown", "470.223.02", "535.247.01"),
        (closed("390.157"), "390.157\n", "unknown", "390.157", "535.183.06"),
        (opened("570.172.09"), "570.172.09\n", "unknown", "570.172.09", "570.172.08"),
        (opened("580.126.15"), "580.126.15\n", "unknown", "580.126.15", "580.126.20"),
        (opened("700.10.01"), "700.10.01\n", "unknown", "700.10.01", "620.06.00"),
        (closed("535.129.03"), "535.183.06\n", "reboot-pending", "535.129.03", ""),
        (opened("570.172.08"), "580.65.06\n", "reboot-pending", "570.172.08", ""),
        (None, None, "no-gpu", "", ""),
        ("", "", "no-gpu", "", ""),
        ("nonsense\n", None, "unknown", "", ""),
        (None, "nonsense\n", "unknown", "", ""),
    ],
)
def test_the_verdict_on_a_driver(proc, module, kind, driver, nearest):
    verdict = judge(proc=proc, module=module, supported=LIST_20260817, release="20260817.0")

    assert (kind, driver, nearest) == (verdict.kind, verdict.driver, verdict.nearest)
    assert driver in verdict.message
    assert (kind in {"supported", "no-gpu"}) == (not verdict.remedy)


@pytest.mark.feature("E6")
@pytest.mark.parametrize("driver", ["570.172.09", "565.57.01"])
def test_what_fails_with_an_unsupported_driver_depends_on_the_flag(driver):
    def message(*flags):
        return judge(
            proc=opened(driver), module=None, supported=LIST_20260817, release="20260817.0", flags=flags
        ).message

    assert "every GPU container would fail" in message()
    assert "every GPU container would fail" in message("--nvproxy=false")
    assert "with nvproxy no sandbox would start" in message("--nvproxy=true")


@pytest.mark.feature("E6")
def test_a_refused_driver_is_told_the_nearest_one_and_the_release():
    verdict = judge(proc=opened("570.172.09"), module=None, supported=LIST_20260817, release="20260817.0")

    assert "20260817.0" in verdict.message
    assert "install driver 570.172.08" in verdict.remedy


@pytest.mark.feature("E6")
def test_the_remedy_names_releases_that_list_the_driver_the_best_first():
    releases = ("20250811.0", "20250804.0", "20250728.0", "20250721.0")

    verdict = judge(
        proc=opened("550.127.05"), module=None, supported=LIST_20260817, release="20260817.0", releases=releases
    )

    assert "supports 550.127.05 (20250811.0, 20250804.0, 20250728.0)" in verdict.remedy


@pytest.mark.parametrize(
    ("release", "flags", "kind"),
    [
        ("20260817.0", (), "known-unsupported"),
        ("20260817.0", ("--nvproxy-allow-unsupported-driver=true",), "allowed"),
        ("20260817.0", ("--nvproxy-allow-unsupported-driver=false",), "known-unsupported"),
        ("20260608.0", ("--nvproxy-allow-unsupported-driver=true",), "known-unsupported"),
        ("20260608.0", ("--nvproxy-driver-version=latest",), "allowed"),
        ("20260817.0", ("--nvproxy-driver-version=570.172.08",), "allowed"),
        ("20260817.0", ("--nvproxy-driver-version=570.172.8",), "allowed"),
        ("20260817.0", ("--nvproxy-driver-version=999.1.1",), "known-unsupported"),
    ],
)
def test_a_known_driver_can_be_allowed_by_the_flags_of_runsc(release, flags, kind):
    verdict = judge(proc=opened("565.57.01"), module=None, supported=LIST_20260817, release=release, flags=flags)

    assert kind == verdict.kind
    allow = "allow it with the flag nvproxy-allow-unsupported-driver"
    assert (kind != "allowed" and release >= "20260615.0") == (allow in verdict.remedy)


def test_an_unknown_driver_is_not_allowed_by_the_flag_that_allows_known_ones():
    flags = ("--nvproxy-allow-unsupported-driver=true",)

    assert (
        "unknown"
        == judge(
            proc=opened("570.172.09"), module=None, supported=LIST_20260817, release="20260817.0", flags=flags
        ).kind
    )


@pytest.mark.parametrize("listing", ["", "unknown command nvproxy\n"])
def test_without_a_list_no_driver_is_judged(listing):
    verdict = judge(proc=closed("535.129.03"), module="535.129.03\n", supported=listing, release="20231009.0")

    assert (verdict.kind, verdict.driver, verdict.nearest) == ("unknown", "535.129.03", "")
    assert "cannot be judged" in verdict.message


def test_a_list_that_supports_a_driver_wins_over_the_table_of_unsupported_ones():
    version = min(KNOWN_UNSUPPORTED)
    text = "{}.{}.{:02}".format(*version)

    verdict = judge(proc=closed(text), module=None, supported=f"{text}\n", release="20240101.0")

    assert verdict.kind == "supported"
