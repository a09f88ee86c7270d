"""How soon a job is asked about again, an account's budget, and its pauses."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ims_gateway.jobs.pace import (
    LONGEST_BACKOFF_SECONDS,
    LONGEST_PAUSE_SECONDS,
    Backoff,
    Budget,
    Pace,
)
from tests.unit.jobs.world import NOON, SECOND

RATES = st.floats(0.01, 1_000)


def exactly(low, high):
    """Stand in for chance: always the middle."""
    return (low + high) / 2


def least(low, _):
    """Stand in for chance: always the lower bound."""
    return low


@settings(deadline=None)
@given(RATES, st.lists(st.integers(0, 3 * SECOND), max_size=60))
def test_budget_is_never_exceeded_over_any_stretch_of_time(rate, waits):
    """However the polls fall: a bucket of one second's polls, filled at the rate."""
    budget, now, tat, polls = Budget(rate), NOON, 0, []
    for wait in waits:
        now += wait
        count = budget.affordable(tat, now)
        tat = budget.begun(tat, now) + count * budget.interval
        polls.append((now, count))
    burst = max(1, int(rate))
    for first, (start, _) in enumerate(polls):
        made = 0
        for end, count in polls[first:]:
            made += count
            assert made <= burst + (end - start) / SECOND * rate + 1e-6


@settings(deadline=None)
@given(RATES, st.integers(0, 2**62))
def test_whole_budget_is_there_after_a_second_and_a_poll_at_last(rate, tat):
    """Also where the clock has stepped back: an arrival time from the future stops nothing."""
    budget = Budget(rate)
    begun = budget.begun(tat, NOON)
    later = begun + max(SECOND, budget.interval)
    assert begun <= NOON + budget.capacity
    assert budget.affordable(begun, later + budget.capacity) == max(1, int(rate))


@pytest.mark.parametrize(
    ("age_seconds", "pause"),
    [(0, 2), (20, 2), (100, 10), (599, 59.9), (3_600, 60), (86_400, 60), (86_401, 60)],
)
def test_old_job_is_asked_about_less_often(age_seconds, pause):
    """After a tenth of its age, but at least once a minute."""
    pace = Pace(interval_seconds=2, overdue_seconds=86_400, spread=exactly)
    assert pace.pause(age_seconds) == pytest.approx(pause * SECOND)


def test_overdue_job_has_the_longest_pause_whatever_the_limit():
    """Nobody expects news of it."""
    pace = Pace(interval_seconds=2, overdue_seconds=1, spread=exactly)
    assert pace.pause(1) == 2 * SECOND
    assert pace.pause(1.1) == pace.longest() == LONGEST_PAUSE_SECONDS * SECOND


def test_pauses_are_spread():
    """Jobs that were submitted at once are not asked about at once for ever."""
    pace = Pace(interval_seconds=2, overdue_seconds=86_400)
    pauses = {pace.pause() for _ in range(100)}
    assert len(pauses) > 50
    assert all(1.8 * SECOND <= pause <= 2.2 * SECOND for pause in pauses)


def test_failures_in_a_row_double_the_pause_up_to_a_minute():
    """And one answer ends the row."""
    backoff, now, pauses = Backoff(2, least), NOON, []
    for _ in range(20):
        until = backoff.fail(now, now, 0)
        pauses.append((until - now) / SECOND)
        now = until
    assert pauses == [2, 4, 8, 16, 32, *[LONGEST_PAUSE_SECONDS] * 15]
    backoff.succeed()
    assert backoff.fail(now, now, 0) == now + 2 * SECOND


def test_service_is_given_the_time_it_asks_for_within_reason():
    """It may ask for an hour; nobody wants to hear of a job an hour late."""
    for asked, pause in ((0.5, 2), (30, 30), (200, 200), (3_600, LONGEST_BACKOFF_SECONDS)):
        assert Backoff(2, least).fail(NOON, NOON, asked) == NOON + pause * SECOND
        assert Backoff(2, exactly).fail(NOON, NOON, asked) >= NOON + pause * SECOND


def test_calls_that_were_sent_together_are_one_failure():
    """Else a moment's outage would pause an account for a minute."""
    backoff = Backoff(2, least)
    assert backoff.fail(NOON, NOON + SECOND, 0) == NOON + 3 * SECOND
    for _ in range(31):
        assert backoff.fail(NOON, NOON + SECOND, 0) is None
    assert backoff.fail(NOON + 3 * SECOND, NOON + 3 * SECOND, 0) == NOON + 7 * SECOND
