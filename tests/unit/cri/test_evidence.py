"""Which spellings of a flag are the same flag."""

import pytest

from orchestrator.cri.evidence import lacking


@pytest.mark.parametrize(
    ("wanted", "carried"),
    [
        ("--debug=true", "--debug=true"),
        ("--debug", "--debug=true"),
        ("-debug=1", "--debug=true"),
        ("--debug=F", "--debug=false"),
        ("--watchdog-action=panic", "--watchdog-action=Panic"),
        ("--timeout=60s", "--timeout=1m0s"),
        ("--timeout=1500ms", "--timeout=1.5s"),
        ("--host-uds=", "--host-uds=none"),
        ("--debug-log=/var/log/%ID%/%COMMAND%.log", "--debug-log=/var/log/3fa8/%COMMAND%.log"),
    ],
)
def test_a_flag_that_runsc_spells_in_its_own_way_is_carried(wanted, carried):
    assert lacking((wanted,), ["runsc-sandbox", carried, "boot"]) == []


@pytest.mark.parametrize(
    ("wanted", "carried"),
    [
        ("--debug=true", "--debug=false"),
        ("--platform=kvm", "--platform=systrap"),
        ("--timeout=60s", "--timeout=61s"),
        ("--num-network-channels=1", "--num-network-channels=true2"),
        ("--debug-log=/var/log/%ID%/x", "--debug-log=/tmp/3fa8/x"),
        ("--debug-log=/a.log", "--debug-log=/aXlog"),
    ],
)
def test_a_flag_with_another_value_is_lacking(wanted, carried):
    faults = lacking((wanted,), ["runsc-sandbox", carried, "boot"])

    assert len(faults) == 1
    assert faults[0].startswith(wanted)


def test_arguments_of_the_subcommand_are_no_flags_of_runsc():
    assert lacking(("--cpu-num=2",), ["runsc-sandbox", "boot", "--cpu-num=2"]) == ["--cpu-num=2 (is not there)"]
