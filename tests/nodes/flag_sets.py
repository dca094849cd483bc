"""Random flag sets, drawn from the catalogue: right values for every grammar, and wrong ones."""

from __future__ import annotations

from hypothesis import strategies as st

from orchestrator.gvisor import flag_values
from orchestrator.gvisor.flag_catalogue import known_flags
from orchestrator.gvisor.flag_policy import SPELLING_ONLY
from orchestrator.gvisor.flags import Flag, Kind, judge

SETTABLE = [name for name, flag in known_flags().items() if flag.settable]
_WORDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,12}", fullmatch=True)
_PATHS = st.lists(st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,8}|%ID%", fullmatch=True), min_size=1, max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)
_SIZES = st.tuples(st.integers(1, 4096), st.sampled_from(["", "k", "m", "g"])).map(lambda s: f",size={s[0]}{s[1]}")


def _whole(grammar):
    numbers = st.integers(grammar.lowest, grammar.highest)
    return numbers | numbers.map(str) | st.sampled_from([grammar.lowest, grammar.highest])


def _durations(grammar):
    seconds = st.integers(grammar.lowest, grammar.highest)
    return seconds.map(lambda n: f"{n}s") | seconds.map(lambda n: f"{n * 1000}ms") | st.just("1m")


def _lists(grammar):
    words = st.sampled_from(grammar.values) if grammar.values else _WORDS
    return st.lists(words, min_size=1, max_size=4).map(",".join)


_MEDIA = st.sampled_from(["memory", "self"]) | _PATHS.map("dir={}".format)
_OVERLAYS = st.just("none") | st.tuples(st.sampled_from(["root", "all"]), _MEDIA, st.just("") | _SIZES).map(
    lambda parts: f"{parts[0]}:{parts[1]}{parts[2]}"
)

RIGHT = {
    flag_values.Boolean: lambda _: st.sampled_from(["true", "false", True, False]),
    flag_values.Signal: lambda _: st.integers(1, 64) | st.just(-1) | st.integers(1, 64).map(str),
    flag_values.Whole: _whole,
    flag_values.Duration: _durations,
    flag_values.OneOf: lambda grammar: st.sampled_from(grammar.values),
    flag_values.Words: _lists,
    flag_values.Path: lambda grammar: _PATHS | st.just("-") if grammar.or_dash else _PATHS,
    flag_values.DriverVersion: lambda _: st.sampled_from(["latest", "535.129.03", "570.172.08", "580.65.06"]),
    flag_values.Overlay: lambda _: _OVERLAYS,
    flag_values.Namespace: lambda _: st.sampled_from(["null", "new", "host"]) | _PATHS,
    flag_values.Xdp: lambda _: st.sampled_from(["off", "ns", "redirect:eth0", "tunnel:bond0.7"]),
}
"""Values that a grammar takes, as people may write them."""

_RIGHT = {name: RIGHT[type(known_flags()[name].grammar)](known_flags()[name].grammar) for name in SETTABLE}
_WRONG = (
    st.text(max_size=12)
    | st.integers()
    | st.floats(allow_nan=False)
    | st.none()
    | st.sampled_from(
        ["", "yes", "0x10", "010", "TRUE", "none,", "root:", "/..", "{{ 7 }}", "$(id)", "a b", "1e3", "-0"]
    )
)


@st.composite
def flag_sets(draw, wrong=False):
    """Mappings of flags to values; with ``wrong`` some of the values, and now and then a name, are not right."""
    names = draw(st.lists(st.sampled_from(SETTABLE), unique=True, max_size=12))
    values = {}
    for name in names:
        choice = _RIGHT[name]
        values[name] = draw(choice | _WRONG if wrong else choice)
    if wrong and draw(st.booleans()):
        values[draw(st.text(max_size=8) | st.sampled_from(sorted(known_flags())))] = draw(_WRONG)
    return values


def accepted(values, release, policy=SPELLING_ONLY):
    """The flags of a set that are accepted for a release, without those that stand in a conflict."""
    values = dict(values)
    while True:
        verdicts = judge(values, release, policy)
        conflicts = {verdict.name for verdict in verdicts if verdict.kind is Kind.CONFLICT}
        if not conflicts:
            return tuple(verdict.flag for verdict in verdicts if isinstance(verdict.flag, Flag))
        for name in conflicts:
            del values[name]
