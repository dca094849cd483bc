"""The flag catalogue against the binaries of every release that can be built: what we accept, runsc accepts."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from flag_sets import SETTABLE, accepted, flag_sets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import InvalidInputError
from orchestrator.gvisor import flag_catalogue, flag_values
from orchestrator.gvisor.artifact_set import ArtifactSet
from orchestrator.gvisor.elf import host_architecture
from orchestrator.gvisor.flag_binaries import facts, printed, refusal, require_accepted
from orchestrator.gvisor.flag_catalogue import FlagClass, known_flags, known_releases
from orchestrator.gvisor.flag_policy import ANY, SPELLING_ONLY, read_policy
from orchestrator.gvisor.flags import Kind, judge
from orchestrator.lab import capabilities
from orchestrator.lab.artifacts import LabReleases

RELEASES = known_releases()
SETS = [pytest.param(200, id="200"), pytest.param(10_000, id="10,000", marks=pytest.mark.exhaustive)]
TOGETHER = 40  # sets in one example, so that every core has work while Hypothesis waits
QUICK = settings(
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="session")
def binaries(tmp_path_factory):
    """Path of ``runsc`` by release, each in a directory of its own; built into the lab's cache where it is not there.

    Copies, because another checkout that builds in another way replaces what is in the cache.
    """
    lab = LabReleases.of(patched=not capabilities.probe().lowers_oom_score)
    place = tmp_path_factory.mktemp("runsc")
    found = {}
    for release in sorted(lab.modules()):
        (place / release).mkdir()
        found[release] = shutil.copy2(lab.ensure(release) / "runsc", place / release / "runsc")
    yield found
    shutil.rmtree(place)


@pytest.fixture(scope="session")
def pool():
    with ThreadPoolExecutor(os.cpu_count()) as executor:
        yield executor


def texts(flags):
    return [str(flag) for flag in flags]


@pytest.mark.feature("F3")
def test_the_catalogue_is_what_the_binaries_say(binaries):
    found = flag_catalogue.dump(facts(binaries))

    assert json.loads(flag_catalogue.DATA.read_text(encoding="utf-8")) == json.loads(found)
    assert flag_catalogue.DATA.read_text(encoding="utf-8") == found


@pytest.mark.feature("F1")
@pytest.mark.feature("F2")
@pytest.mark.feature("F4")
@pytest.mark.timeout(3600)  # ten thousand: four minutes on two cores that have nothing else to do
@pytest.mark.parametrize("number", SETS)
def test_of_random_flag_sets_runsc_accepts_what_we_accept(binaries, pool, number):
    asked = []

    def ask(case):
        release, values = case
        flags = texts(accepted(values, release))
        asked.append(release)
        return flags, release, refusal(binaries[release], flags)

    @settings(QUICK, max_examples=number // TOGETHER)
    @given(st.lists(st.tuples(st.sampled_from(RELEASES), flag_sets()), min_size=TOGETHER, max_size=TOGETHER))
    def holds(cases):
        assert [] == [answer for answer in pool.map(ask, cases) if answer[2]]

    holds()

    assert len(asked) >= number
    assert set(RELEASES) == set(asked)


def words(flag, release):
    """Values of a flag that can all be tried: every word, both booleans, bounds, what is plain, the default."""
    match flag.grammar:
        case flag_values.OneOf(values) | flag_values.Words(values):
            found = values
        case flag_values.Boolean():
            found = ("true", "false")
        case flag_values.Whole(lowest, highest):
            found = (str(lowest), str(highest))
        case flag_values.Overlay():
            found = ("all:dir=/x/y", "root:self,size=1g", "all:memory")
        case flag_values.Namespace():
            found = ("host", "/x")
        case _:
            found = ()
    return sorted({*found, *flag.plain, *([flag.default(release)] if flag.default(release) else [])})


def works(runsc, name, flags):
    """Whether a binary takes flags, and takes the one of this name also in the form in which it hands it on."""
    if refusal(runsc, flags):
        return False
    handed_on = printed(runsc, flags).get(name)
    return handed_on is None or not refusal(runsc, [*flags, f"--{name}={handed_on}"])


@pytest.mark.feature("F2")
@pytest.mark.parametrize("release", RELEASES)
def test_every_word_of_the_schema_is_one_that_the_binary_takes_and_hands_on(binaries, pool, release):
    shown_otherwise = {"EXPERIMENTAL-xdp", "debug-log-format"}
    singles = [
        (name, flags)
        for name, flag in known_flags().items()
        if flag.settable and name not in shown_otherwise
        for value in words(flag, release)
        if (flags := texts(accepted({name: value}, release)))
    ]

    assert len(singles) > 100
    answers = pool.map(lambda single: works(binaries[release], *single), singles)
    assert [] == [single for single, answer in zip(singles, answers, strict=True) if not answer]


@pytest.mark.feature("F2")
@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("name", ["EXPERIMENTAL-xdp", "debug-log-format"])
def test_words_that_the_log_shows_in_its_own_way_are_taken(binaries, release, name):
    for value in words(known_flags()[name], release):
        assert "" == refusal(binaries[release], [f"--{name}={value}"])


@pytest.mark.feature("F3")
@pytest.mark.parametrize(
    ("name", "part"), [(name, part) for name, flag in known_flags().items() for part in flag.later]
)
def test_a_part_that_came_later_does_not_work_in_the_release_before_and_does_in_its_first(binaries, name, part):
    companions = ["--qdisc-tbf-rate=1", "--qdisc-tbf-burst=1"] if part == "tbf" else []
    flag = f"--{name}=root:self,size=1m" if part == "size" else f"--{name}={part}"
    first = known_flags()[name].later[part]
    before = RELEASES[RELEASES.index(first) - 1]

    assert works(binaries[first], name, [flag, *companions])
    assert not works(binaries[before], name, [flag])


@pytest.mark.feature("F4")
@pytest.mark.parametrize("release", RELEASES)
def test_what_the_rules_between_flags_refuse_the_binary_refuses_too(binaries, release):
    cases = [
        {"file-access": "shared"},
        {"pause-external-networking": "true", "network": "none"},
        {"qdisc": "tbf", "qdisc-tbf-rate": "1"},
        {"qdisc": "tbf", "qdisc-tbf-burst": "1"},
        {"profile-cpu": "/nonexistent/x"},
        {"profile-heap": "/nonexistent/x"},
        {"profile-block": "/nonexistent/x"},
        {"profile-mutex": "/nonexistent/x"},
        {"profiling-metrics": "/fs/opens"},
    ]
    for values in cases:
        assert {Kind.CONFLICT, Kind.ABSENT} & {verdict.kind for verdict in judge(values, release, SPELLING_ONLY)}, (
            values
        )
        assert refusal(binaries[release], [f"--{name}={value}" for name, value in values.items()]), values


@pytest.mark.feature("F2")
@pytest.mark.feature("F5")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", SETS)
def test_what_runsc_refuses_we_refuse(binaries, pool, number):
    """Sets with wrong values and names: taken by us as a whole only where the binary takes them."""

    def ask(case):
        release, values = case
        verdicts = judge(values, release, SPELLING_ONLY)
        if any(verdict.flag is None for verdict in verdicts):
            return ""
        return refusal(binaries[release], [str(verdict.flag) for verdict in verdicts])

    @settings(QUICK, max_examples=number // TOGETHER)
    @given(st.lists(st.tuples(st.sampled_from(RELEASES), flag_sets(wrong=True)), min_size=TOGETHER, max_size=TOGETHER))
    def holds(cases):
        assert [] == [reason for reason in pool.map(ask, cases) if reason]

    holds()


def policies():
    named = st.dictionaries(st.sampled_from(SETTABLE), st.just(ANY) | st.just([]), max_size=20)
    return st.fixed_dictionaries({"base": st.sampled_from(["default", "none"]), "allow": named})


@pytest.mark.feature("F2")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("number", SETS)
def test_of_random_flag_sets_nothing_passes_that_policy_forbids(number):
    together = st.lists(flag_sets(wrong=True), min_size=TOGETHER, max_size=TOGETHER)

    @settings(QUICK, max_examples=number // TOGETHER)
    @given(policies(), together, st.sampled_from(["", *RELEASES]))
    def holds(policy, sets, release):
        for verdict in (verdict for values in sets for verdict in judge(values, release, read_policy(policy))):
            if verdict.flag is None:
                assert verdict.what
                assert verdict.why
                assert "nothing was changed" in verdict.remedy
                continue
            known = known_flags()[verdict.name]
            assert known.risk in {FlagClass.PLAIN, FlagClass.CARE, FlagClass.WEAKENS}
            if verdict.name in policy["allow"]:
                assert ANY == policy["allow"][verdict.name]
            else:
                assert "default" == policy["base"]
                assert known.risk is FlagClass.PLAIN or verdict.flag.value in known.plain

    holds()


@pytest.mark.feature("F3")
@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--debug=true", "--bogus=1"], "flag provided but not defined: -bogus"),
        (["--network=moon"], "invalid network type"),
        (["--file-access=shared"], "incompatible with shared file access"),
    ],
)
def test_the_binary_on_the_controller_refuses_with_the_flags_and_its_own_reason(binaries, release, flags, reason):
    artifacts = ArtifactSet(release, host_architecture(), binaries[release].parent, (), "the lab", ())

    with pytest.raises(InvalidInputError, match=reason) as caught:
        require_accepted(artifacts, flags)

    assert f"runsc {release} refuses the flags {' '.join(flags)}" == caught.value.what
    assert require_accepted(artifacts, ["--net-raw=true"])


def test_a_binary_that_cannot_run_here_leaves_the_judgement_to_the_node(binaries, tmp_path):
    other = {"x86_64": "aarch64", "aarch64": "x86_64"}[host_architecture()]
    (tmp_path / "runsc").write_bytes(b"\x7fELF, but not quite")
    (tmp_path / "runsc").chmod(0o755)

    assert not require_accepted(ArtifactSet(RELEASES[-1], other, tmp_path, (), "", ()), ["--bogus=1"])
    assert not require_accepted(ArtifactSet(RELEASES[-1], host_architecture(), tmp_path, (), "", ()), ["--bogus=1"])
