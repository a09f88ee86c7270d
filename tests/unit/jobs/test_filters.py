"""The filter of a list: what it means, and what is said of one that means nothing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ims_gateway.errors import InvalidRequest
from ims_gateway.jobs.comparisons import MOST_COMPARISONS
from ims_gateway.jobs.filters import ALGORITHMS, EPOCH, MICROSECOND, Filter, parse
from ims_gateway.jobs.states import State

FAILED = frozenset({State.FAILED})
MIDNIGHT = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
LATEST = datetime(9999, 12, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("", Filter()),
        (" \t\n", Filter()),
        ("state = FAILED", Filter(states=FAILED)),
        ("state=FAILED", Filter(states=FAILED)),
        ("state = STATE_FAILED", Filter(states=FAILED)),
        ("state = 'FAILED'", Filter(states=FAILED)),
        ("state != FAILED", Filter(states=frozenset(State) - FAILED)),
        ("state = FAILED AND state != FAILED", Filter(states=frozenset())),
        (
            "state != FAILED AND state != SUCCEEDED",
            Filter(states=frozenset(State) - FAILED - {State.SUCCEEDED}),
        ),
        ('algorithm = "cover"', Filter(algorithms=frozenset({"cover"}))),
        ("algorithm = cover", Filter(algorithms=frozenset({"cover"}))),
        ("algorithm != cover", Filter(algorithms=ALGORITHMS - {"cover"})),
        ("labels.team = x", Filter(labels=frozenset({("team", "x")}))),
        ("labels.team = ''", Filter(labels=frozenset({("team", "")}))),
        (
            "labels.app.example.com/team-x = x AND labels.b = y",
            Filter(labels=frozenset({("app.example.com/team-x", "x"), ("b", "y")})),
        ),
        (r'labels.a = "say \"AND\" \\ or"', Filter(labels=frozenset({("a", 'say "AND" \\ or')}))),
        ('labels.a = "it\'s"', Filter(labels=frozenset({("a", "it's")}))),
        ("labels.a = 标签", Filter(labels=frozenset({("a", "标签")}))),
        (
            'state=FAILED AND labels.a=x AND create_time>="2026-01-01T00:00:00Z"',
            Filter(FAILED, None, MIDNIGHT, None, frozenset({("a", "x")})),
        ),
    ],
)
def test_filter_means_what_it_says(text, meaning):
    """Also with other spaces and quotes."""
    assert parse(text) == meaning


@pytest.mark.parametrize(
    ("comparison", "since", "before"),
    [
        ('>= "2026-01-01T00:00:00Z"', 0, None),
        ('> "2026-01-01T00:00:00Z"', 1, None),
        ('< "2026-01-01T00:00:00Z"', None, 0),
        ('<= "2026-01-01T00:00:00Z"', None, 1),
        ('>= "2026-01-01T00:00:00.000002Z"', 2, None),
        ('>= "2026-01-01T00:00:00.0000025Z"', 3, None),
        ('> "2026-01-01T00:00:00.0000025Z"', 3, None),
        ('< "2026-01-01T00:00:00.0000025Z"', None, 3),
        ('<= "2026-01-01T00:00:00.0000025Z"', None, 3),
        ('>= "2026-01-01T08:00:00+08:00"', 0, None),
        ('>= "2025-12-31t18:30:00.0-05:30"', 0, None),
    ],
)
def test_times_are_exact_to_the_microsecond_whatever_their_zone(comparison, since, before):
    """What lies between two microseconds is rounded to the side that keeps the meaning."""
    bounds = (None if each is None else MIDNIGHT + each for each in (since, before))
    assert parse(f"create_time {comparison}") == Filter(None, None, *bounds)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("<>"), st.datetimes(timezones=st.just(UTC))), max_size=9))
def test_several_times_narrow_each_other(bounds):
    """The latest start and the earliest end count."""
    text = " AND ".join(f'create_time {sign} "{time.isoformat()}"' for sign, time in bounds)
    after = [(time - EPOCH) // MICROSECOND for sign, time in bounds if sign == ">"]
    before = [(time - EPOCH) // MICROSECOND for sign, time in bounds if sign == "<"]
    since = max(after) + 1 if after else None
    assert parse(text) == Filter(since=since, before=min(before, default=None))


@pytest.mark.parametrize(
    ("text", "description"),
    [
        ("FAILED", "character 7: expected an operator such as ="),
        ("state", "character 6: expected an operator such as ="),
        ("state =", "character 8: expected a value"),
        ("state = AND", "character 9: expected a value"),
        ("= FAILED", "character 1: expected a field"),
        ('"state" = FAILED', "character 1: expected a field"),
        ("AND", "character 1: expected a field"),
        ("state = FAILED AND", "character 19: expected a field"),
        ("state = FAILED and state = QUEUED", "character 16: expected AND"),
        ("state = FAILED OR state = QUEUED", "character 16: expected AND"),
        ("state = FAILED state = QUEUED", "character 16: expected AND"),
        ("NOT state = FAILED", "character 5: expected an operator"),
        ("(state = FAILED)", "character 1: parentheses are not supported"),
        ('algorithm = "cover', "character 13: a quote that is not closed"),
        ("state ! FAILED", "character 7: expected comparisons such as state = FAILED"),
        ("state : FAILED", "character 7: expected one of =, !="),
        ("state > FAILED", "character 7: expected one of =, !="),
        ("state = Failed", "character 9: unknown state: states are SUBMITTING, QUEUED"),
        ("state = STATE_UNSPECIFIED", "character 9: unknown state"),
        ("algorithm = Cover", "character 13: unknown algorithm"),
        ("algorithm >= cover", "character 11: expected one of =, !="),
        ("tenant = globex", "character 1: unknown field: fields are state, algorithm, create_time"),
        ("labels = x", "character 1: unknown field"),
        ("labels. = x", "character 1: a label's key has 1 to 63"),
        ("labels.Team = x", "character 1: a label's key has 1 to 63"),
        (f"labels.{'k' * 64} = x", "character 1: a label's key has 1 to 63"),
        ("labels.team != x", "character 13: expected one of ="),
        (f"labels.team = {'v' * 64}", "character 15: a label's value has at most 63"),
        ("labels.team = '\x00'", "character 15: a label's value has at most 63 characters, and no"),
        ("create_time = '2026-01-01T00:00:00Z'", "character 13: expected one of <, <=, >, >="),
        ("create_time > 2026-01-01", "character 15: expected an RFC 3339 time in quotes"),
        ("create_time > '2026-01-01'", "character 15: expected an RFC 3339 time in quotes"),
        ("create_time > '2026-01-01T00:00:00'", "character 15: expected an RFC 3339 time"),
        ("create_time > '2026-02-30T00:00:00Z'", "character 15: expected an RFC 3339 time"),
        ("create_time > '2026-01-01T00:00:00+24:00'", "character 15: expected an RFC 3339 time"),
        ("create_time > '2026-01-01 00:00:00Z'", "character 15: expected an RFC 3339 time"),
        ("create_time > '0000-01-01T00:00:00Z'", "character 15: expected an RFC 3339 time"),
        (
            " AND ".join(["state = FAILED"] * (MOST_COMPARISONS + 1)),
            "character 381: a filter has at most 20 comparisons",
        ),
    ],
)
def test_fault_is_told_with_its_place(text, description):
    """The path is the request's field, the text says what is wrong and where."""
    with pytest.raises(InvalidRequest) as refused:
        parse(text)
    (violation,) = refused.value.violations
    assert violation.path == "filter"
    assert violation.description.startswith(description)


def test_all_comparisons_that_make_no_sense_are_told_at_once():
    """A caller need not find them one by one."""
    with pytest.raises(InvalidRequest) as refused:
        parse("state < FAILED AND algorithm = nothing AND state = FAILED AND x = 1")
    places = [violation.description.partition(":")[0] for violation in refused.value.violations]
    assert places == ["character 7", "character 32", "character 63"]


FIELDS = ("state", "algorithm", "create_time", "labels.a", "labels.", "tenant")
VALUES = (
    *(state.name for state in State),
    *ALGORITHMS,
    '"2026-01-01T00:00:00Z"',
    "'0001-01-01T00:00:00+23:59'",
    "'9999-12-31T23:59:59.999999999-23:59'",
    "'; DROP TABLE jobs; --'",
    "\"' OR '1' = '1\"",
)
PIECES = st.one_of(
    st.sampled_from((*FIELDS, *VALUES, "AND", "=", "!=", "<", "<=", ">", ">=", ":", "(", '"', " ")),
    st.text(max_size=8),
)


@settings(deadline=None)
@given(st.one_of(st.text(), st.lists(PIECES, max_size=30).map(" ".join)))
@example("\\")
@example("labels.a='\ud800'")
@example("state=FAILED\x00")
@example("create_time > '\uff12\uff10\uff12\uff16-01-01T00:00:00Z'")
def test_whatever_a_caller_writes_is_a_filter_or_a_refusal(text):
    """Nothing else comes out, and a filter holds nothing but states, algorithms, times, labels."""
    wanted, violations = _outcome(text)
    assert {violation.path for violation in violations} <= {"filter"}
    assert all(violation.description.startswith("character ") for violation in violations)
    assert wanted.states is None or wanted.states <= frozenset(State)
    assert wanted.algorithms is None or wanted.algorithms <= ALGORITHMS
    for time in (wanted.since, wanted.before):
        assert time is None or abs(time) < 2**63


def _outcome(text):
    try:
        return parse(text), ()
    except InvalidRequest as refused:
        return Filter(), refused.violations


@settings(deadline=None)
@given(
    st.frozensets(st.sampled_from(State), max_size=3),
    st.frozensets(st.sampled_from(sorted(ALGORITHMS)), max_size=3),
    st.dictionaries(
        st.from_regex(r"[a-z0-9][a-z0-9_./-]{0,8}", fullmatch=True), st.text(max_size=5)
    ),
    st.randoms(),
)
def test_digest_is_that_of_the_meaning(states, algorithms, labels, random):
    """The same for every order and spelling, another one for every other meaning."""
    labels = {key: value.replace("\x00", "") for key, value in labels.items()}
    comparisons = [
        *(f"state != {state.name}" for state in states),
        *(f"algorithm!={name}" for name in algorithms),
        *(f"labels.{key} = '{_escaped(value)}'" for key, value in labels.items()),
    ][:MOST_COMPARISONS]
    first = parse(" AND ".join(comparisons))
    random.shuffle(comparisons)
    assert parse("  AND ".join(comparisons)).digest() == first.digest()
    others = (
        replace(first, since=0),
        replace(first, before=0),
        replace(first, labels=first.labels | {("another", "label")}),
    )
    assert first.digest() not in {other.digest() for other in others}


def _escaped(value):
    return value.replace("\\", "\\\\").replace("'", "\\'")


@pytest.mark.parametrize("time", [datetime.min.replace(tzinfo=UTC), EPOCH, LATEST])
@pytest.mark.parametrize("hours", [-23, 0, 23])
def test_every_time_of_rfc_3339_is_taken(time, hours):
    """Also where the year it names is not that of its moment."""
    text = f'create_time > "{time.strftime("%Y").zfill(4)}{time.strftime("-%m-%dT%H:%M:%S")}'
    text += f'{"-" if hours < 0 else "+"}{abs(hours):02}:00"'
    expected = (time - EPOCH - timedelta(hours=hours)) // MICROSECOND + 1
    assert parse(text).since == expected
