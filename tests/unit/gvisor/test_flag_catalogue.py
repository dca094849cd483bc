"""The catalogue: both its files know the same flags, and it says of a release only what it can know."""

from __future__ import annotations

import json
import tomllib

import pytest

from orchestrator.gvisor import flag_catalogue, flag_values
from orchestrator.gvisor.flag_catalogue import FlagClass, Presence, known_flags, known_releases
from orchestrator.gvisor.releases import release_key

REVIEW = tomllib.loads(flag_catalogue.REVIEW.read_text(encoding="utf-8"))


def presence(name, release):
    return known_flags()[name].presence(release)


def test_the_review_knows_every_flag_of_the_binaries_and_no_other():
    facts = json.loads(flag_catalogue.DATA.read_text(encoding="utf-8"))["flags"]

    assert sorted(facts) == sorted(REVIEW)


def test_the_data_are_in_their_form_and_order():
    text = flag_catalogue.DATA.read_text(encoding="utf-8")

    assert flag_catalogue.dump(json.loads(text)) == text
    assert sorted(known_releases(), key=release_key) == list(known_releases())


@pytest.mark.parametrize("name", sorted(REVIEW))
def test_a_review_is_whole(name):
    review, flag = REVIEW[name], known_flags()[name]

    assert set(review) <= {
        "purpose", "class", "why", "plain", "grammar", "values", "lowest", "highest", "since", "until", "later", "default",
    }  # fmt: skip
    assert review["purpose"]
    assert (flag.risk is FlagClass.PLAIN) == ("why" not in review)
    if flag.settable:
        assert not isinstance(flag.grammar, flag_values.Nothing)
        assert all(flag.grammar.parse(value) == value for value in flag.plain)
        assert flag.default() == "" or flag.grammar.parse(flag.default()) is not None
        assert set(flag.later.values()) <= set(known_releases())
    else:
        assert set(review) <= {"purpose", "class", "why"}


def test_the_default_of_a_flag_that_is_not_plain_is_plain():
    flags = [f for f in known_flags().values() if f.settable and f.default()]

    assert [] == [f.name for f in flags if not f.is_plain(f.grammar.parse(f.default()) or "")]


@pytest.mark.feature("F3")
@pytest.mark.parametrize(
    ("name", "release", "expected"),
    [
        ("debug", "20250205.0", Presence.THERE),
        ("debug", "20260817.0", Presence.THERE),
        ("debug", "20240101.0", Presence.UNSURE),
        ("debug", "20270101.0", Presence.UNSURE),
        ("allow-suid", "20250205.0", Presence.ABSENT),
        ("allow-suid", "20240101.0", Presence.ABSENT),
        ("allow-suid", "20260905.0", Presence.THERE),
        ("TESTONLY-save-restore-netstack", "20250205.0", Presence.THERE),
        ("TESTONLY-save-restore-netstack", "20260905.0", Presence.ABSENT),
        ("TESTONLY-save-restore-netstack", "20270101.0", Presence.ABSENT),
        ("nvproxy-allow-unsupported-driver", "20260615.0", Presence.THERE),
        ("nvproxy-allow-unsupported-driver", "20260817.0", Presence.THERE),
        ("nvproxy-allow-unsupported-driver", "20260608.0", Presence.ABSENT),
        ("nvproxy-driver-version", "20240415.0", Presence.ABSENT),
        ("nvproxy-driver-version", "20240422.0", Presence.THERE),
        ("host-settings", "20241021.0", Presence.THERE),
    ],
)
def test_a_release_that_nobody_looked_at_is_left_to_its_binary(name, release, expected):
    assert expected is presence(name, release)


@pytest.mark.feature("F3")
def test_a_value_that_came_later_than_its_flag_is_known_as_such():
    qdisc, overlay = known_flags()["qdisc"], known_flags()["overlay2"]
    watchdog = known_flags()["watchdog-action"]

    assert Presence.ABSENT is watchdog.value_presence("log", "20250205.0")
    assert Presence.THERE is watchdog.value_presence("panic", "20250205.0")
    assert Presence.ABSENT is qdisc.value_presence("tbf", "20250205.0")
    assert Presence.THERE is qdisc.value_presence("tbf", "20260905.0")
    assert Presence.THERE is qdisc.value_presence("none", "20250205.0")
    assert Presence.ABSENT is overlay.value_presence("root:self,size=1g", "20250205.0")
    assert Presence.THERE is overlay.value_presence("root:self", "20250205.0")


def test_a_default_is_that_of_the_release():
    flag = known_flags()["cpu-num-from-quota"]

    assert ("false", "true", "true") == (flag.default("20250205.0"), flag.default("20260905.0"), flag.default())
